//! What is no whole backup is refused, whatever is wrong with it.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{Backup, BackupError, BackupRequest, OnBackup};
use crate::domain::callback::{Secret, SecretPurpose};
use crate::store::{
    LedgerSecret,
    tests::{Ledger, batch, ledger},
};

fn nothing() -> OnBackup {
    Arc::new(|_, _| ())
}

async fn backed_up() -> (Ledger, PathBuf) {
    let l = ledger().await;
    l.submit(batch("b"), 50).await;
    let file = l.path.with_file_name("b.tar");
    let secret = LedgerSecret { purpose: SecretPurpose::Webhook, number: 1, secret: Secret::new([7; 32]), made_at: 0 };
    let request = BackupRequest { file: file.clone(), replace: false, with_cache: true, secrets: vec![secret] };
    l.store.back_up(request, &nothing()).await.unwrap();
    (l, file)
}

async fn opened(content: &[u8], file: &Path) -> Result<Backup, BackupError> {
    fs::write(file, content).unwrap();
    Backup::open(file, file.parent().unwrap(), &nothing()).await
}

#[tokio::test]
async fn a_backup_that_is_cut_or_changed_anywhere_is_refused() {
    let (l, file) = backed_up().await;
    let whole = fs::read(&file).unwrap();
    let backup = opened(&whole, &file).await.unwrap();
    assert_eq!((backup.head().lines, backup.head().ledger.as_str()), (50, l.store.id()));
    assert_eq!(backup.secrets(), [(SecretPurpose::Webhook, Secret::new([7; 32]))]);
    backup.check().await.unwrap();
    drop(backup);
    let part = file.with_file_name("part.tar");
    // The end of an archive is two empty blocks; what is cut off there is nothing.
    let ends = whole.len() - 1024;
    for at in (0..40).map(|n| ends * n / 40).chain([ends - 1, ends - 512, ends - 513]) {
        let refused = opened(&whole[..at], &part).await.unwrap_err();
        let is_right =
            matches!(refused, BackupError::Cut(_)) || (at < 512 && matches!(refused, BackupError::NoBackup(_)));
        assert!(is_right && refused.hint().is_some(), "{at} of {}: {refused}", whole.len());
    }
    for at in (0..200).map(|n| ends * n / 200 + n % 7) {
        let mut changed = whole.clone();
        changed[at] ^= 0x20;
        match opened(&changed, &part).await {
            Err(BackupError::Changed { .. } | BackupError::NoBackup(_) | BackupError::Cut(_)) => {}
            // Owner, group and padding of a member mean nothing.
            Ok(backup) => assert!(backup.check().await.is_ok(), "{at}"),
            Err(other) => panic!("{at}: {other}"),
        }
    }
    let left: Vec<_> = fs::read_dir(file.parent().unwrap()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().starts_with(".wavebatch")), "{left:?}");
}

#[tokio::test]
async fn a_backup_of_a_newer_program_and_one_with_more_in_it_are_refused() {
    let (_l, file) = backed_up().await;
    let archive = |members: &[(&str, &[u8])]| {
        let mut tar = tar::Builder::new(Vec::new());
        for (name, content) in members {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(0o600);
            // As another program may write it: the name is not looked at.
            header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
            header.set_cksum();
            tar.append(&header, *content).unwrap();
        }
        tar.into_inner().unwrap()
    };
    let mut head: serde_json::Value = serde_json::to_value(super::read::head_of(&file).unwrap()).unwrap();
    let plain = serde_json::to_vec(&head).unwrap();
    for evil in ["../../evil", "/tmp/evil", "clips/../evil.pcm", "ledger.db/x"] {
        let made = archive(&[("backup.json", &plain), (evil, b"x"), ("checksums.json", b"[]")]);
        let refused = opened(&made, &file).await.unwrap_err();
        assert!(matches!(&refused, BackupError::Changed { what, .. } if what.contains(evil)), "{refused}");
    }
    let twice =
        archive(&[("backup.json", &plain), ("clips.jsonl", b""), ("clips.jsonl", b""), ("checksums.json", b"[]")]);
    assert!(matches!(opened(&twice, &file).await, Err(BackupError::Changed { .. })));
    head["schema"] = 99.into();
    let refused = opened(&archive(&[("backup.json", &serde_json::to_vec(&head).unwrap())]), &file).await.unwrap_err();
    assert!(refused.to_string().contains("its ledger has schema 99, this program knows 1"), "{refused}");
    let later = br#"{"format": 2, "program": "9.0.0", "all": "is different"}"#;
    let refused = opened(&archive(&[("backup.json", later)]), &file).await.unwrap_err();
    assert!(refused.to_string().contains("by wavebatch 9.0.0, which is newer: its format is 2"), "{refused}");
}
