//! Manifests of recordings and of texts in every format. The first byte says which; the rest is the file. Both readings
//! come to the same, keys are unique, and whatever is wrong is told.

use std::{collections::HashSet, path::Path};

use super::file;
use crate::{
    definition::{AdHoc, Definition, Manifest, ManifestRow, Overrides, ScanDepth},
    domain::{synthesis::Synthesis, transcription::Transcription},
};

const NAMES: [&str; 4] = ["m.csv", "m.tsv", "m.jsonl", "m.txt"];

/// One input.
///
/// # Panics
/// On a finding.
pub fn manifests(folder: &Path, input: &[u8]) {
    let Some((how, content)) = input.split_first() else { return };
    // A text's file could be any on this machine.
    if content.windows(4).any(|word| word.eq_ignore_ascii_case(b"file")) {
        return;
    }
    let name = NAMES[usize::from(how & 3)];
    file(folder, name, content);
    let synthesis = how & 4 != 0;
    let mut over = Overrides {
        working_dir: Some(folder.to_path_buf()),
        skip_bad_lines: how & 8 != 0,
        allow_empty: how & 16 != 0,
        limit: (how & 32 != 0).then_some(3),
        ..Overrides::default()
    };
    over.options = match synthesis {
        false => vec![("model", "pulse".to_owned()), ("language", "en".to_owned())],
        true => vec![("voice_id", "magnus".to_owned()), ("model", "lightning_v3.1".to_owned())],
    };
    let task = if synthesis { Synthesis::TASK } else { Transcription::TASK };
    let definition = Definition::ad_hoc(
        &AdHoc { task, sources: vec![name.to_owned()] },
        crate::tasks::Registry::built_in().definitions(),
        &over,
    );
    let definition = definition.unwrap_or_else(|faults| panic!("{faults}"));
    lines(&definition);
}

fn lines(definition: &Definition) {
    let read = || {
        let manifest = Manifest::open(definition, None)?;
        let scan = manifest.scan(ScanDepth::Look)?;
        let rows = manifest.lines(&scan)?.collect::<Result<Vec<_>, _>>()?;
        Ok((scan, rows))
    };
    match read() {
        Err(faults) => message(&faults),
        Ok((scan, rows)) => {
            let mut keys = HashSet::new();
            let (mut good, mut bad, mut jobs) = (0, 0, 0);
            for row in &rows {
                match row {
                    ManifestRow::Good(line) => {
                        good += 1;
                        jobs += line.jobs.len() as u64;
                        assert!(keys.insert(line.key.to_string()), "{} stands twice", line.key);
                        assert!(!line.jobs.is_empty());
                        assert_eq!(line.carried.len(), scan.columns.carried.len());
                    }
                    ManifestRow::Bad(line) => {
                        bad += 1;
                        assert!(!line.fault.is_empty());
                        assert_eq!(line.carried.len(), scan.columns.carried.len());
                    }
                }
            }
            assert_eq!((good, bad, jobs), (scan.lines, scan.bad, scan.jobs));
        }
    }
}

fn message(faults: &crate::definition::Faults) {
    assert!(!faults.is_empty() && !faults.to_string().is_empty());
}
