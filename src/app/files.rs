//! Compares the files that the ledger knows with those that are in a batch's output.

use std::collections::HashSet;

use sha2::{Digest, Sha256};

use super::error::AppError;
use crate::{
    domain::batch::BatchSpec,
    report::publish::SUMMARY,
    sink::Sink,
    store::{BatchRow, OwnedFile, Store},
};

/// Files that are read from the ledger at a time.
const PAGE: u32 = 5_000;
/// How many missing files are named.
const NAMED: usize = 5;

/// Outputs that were written and are not there any more.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MissingFiles {
    /// How many.
    pub count: u64,
    /// How many were written.
    pub of: u64,
    /// How many of them no kept answer can write again.
    pub pruned: u64,
    /// The key of a line of those.
    pub pruned_key: Option<String>,
    /// Some of their names.
    pub some: Vec<String>,
    /// The address of the output.
    pub output: String,
}

/// Files in the output of a batch that belong to none of its lines.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Orphans {
    /// Their names, relative to the output, and their sizes in bytes.
    pub files: Vec<(String, u64)>,
    /// Files of other kinds than those that the batch's lines have. They are somebody else's.
    pub foreign: u64,
    /// The address of the output.
    pub output: String,
}

/// Half a SHA-256 of a name: a million of them take little memory, and no two collide.
fn half_hash(name: &str) -> [u8; 16] {
    let mut half = [0; 16];
    half.copy_from_slice(&Sha256::digest(name.as_bytes())[..16]);
    half
}

/// The outputs of a batch that are not where they were written; `None` if all are there. The output is only listed.
///
/// # Errors
/// The ledger cannot be read, or the output cannot be listed.
pub async fn missing_outputs(store: &Store, batch: &BatchRow) -> Result<Option<MissingFiles>, AppError> {
    let spec = batch.specification()?;
    let sink = Sink::open(&spec.output, &spec.sink)?;
    let mut there = HashSet::new();
    sink.list_names(|name, _| there.extend([half_hash(name)])).await?;
    let mut missing = MissingFiles { output: spec.output.clone(), ..MissingFiles::default() };
    each_owned(store, batch, |file| {
        missing.of += u64::from(file.delivered);
        if file.delivered && !there.contains(&half_hash(&file.path)) {
            missing.count += 1;
            if !file.is_kept {
                missing.pruned += 1;
                missing.pruned_key.get_or_insert_with(|| file.key.clone());
            }
            if missing.some.len() < NAMED {
                missing.some.push(file.path.clone());
            }
        }
    })
    .await?;
    Ok((missing.count > 0).then_some(missing))
}

/// The files in the output of a batch that no line of it owns, of the kinds that its lines have. Files of other batches of this
/// ledger that go to the same place are not among them.
///
/// # Errors
/// The ledger cannot be read, or the output cannot be listed.
pub async fn orphans(store: &Store, batch: &BatchRow) -> Result<Orphans, AppError> {
    let spec = batch.specification()?;
    let sink = Sink::open(&spec.output, &spec.sink)?;
    let (mut owned, mut endings) = (HashSet::new(), HashSet::new());
    each_owned(store, batch, |file| {
        owned.insert(half_hash(&sink.address(&file.path)));
        endings.extend(ending(&file.path).map(str::to_owned));
    })
    .await?;
    for other in store.batches().await?.iter().filter(|other| other.id != batch.id) {
        let Ok(theirs) = other.specification() else { continue };
        if !meet(&spec.output, &theirs.output) {
            continue;
        }
        let place = Sink::open(&theirs.output, &theirs.sink)?;
        each_owned(store, other, |file| owned.extend([half_hash(&place.address(&file.path))])).await?;
        owned.insert(half_hash(&place.address(SUMMARY)));
        owned.insert(half_hash(&theirs.report_address()));
    }
    owned.extend(
        [sink.address(SUMMARY), sink.address(BatchSpec::REPORT), spec.report_address()].map(|own| half_hash(&own)),
    );
    let mut found = Orphans { output: spec.output.clone(), ..Orphans::default() };
    sink.list_names(|name, bytes| {
        if owned.contains(&half_hash(&sink.address(name))) {
            return;
        }
        match ending(name).is_some_and(|ending| endings.contains(ending)) {
            true => found.files.push((name.to_owned(), bytes)),
            false => found.foreign += 1,
        }
    })
    .await?;
    found.files.sort_unstable();
    Ok(found)
}

/// Removes files from the output of a batch.
///
/// # Errors
/// A file cannot be removed; those before it are gone.
pub async fn remove_files(batch: &BatchRow, names: &[(String, u64)]) -> Result<(), AppError> {
    let spec = batch.specification()?;
    let sink = Sink::open(&spec.output, &spec.sink)?;
    for (name, _) in names {
        sink.remove(name).await?;
    }
    Ok(())
}

/// Whether two outputs can share files: one is the other, or lies in it.
fn meet(one: &str, other: &str) -> bool {
    let (one, other) = (format!("{}/", one.trim_end_matches('/')), format!("{}/", other.trim_end_matches('/')));
    one.starts_with(&other) || other.starts_with(&one)
}

fn ending(name: &str) -> Option<&str> {
    let file = name.rsplit('/').next()?;
    file.rsplit_once('.').map(|(_, ending)| ending)
}

async fn each_owned(store: &Store, batch: &BatchRow, mut each: impl FnMut(&OwnedFile)) -> Result<(), AppError> {
    let mut after = String::new();
    loop {
        let page = store.owned_files(batch.id, &after, PAGE).await?;
        page.iter().for_each(&mut each);
        match page.last() {
            Some(last) if page.len() == PAGE as usize => after.clone_from(&last.path),
            _ => return Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_meet_where_one_lies_in_the_other() {
        assert!(meet("/out/a", "/out/a/") && meet("/out", "/out/a") && meet("s3://b/x/", "s3://b/"));
        assert!(!meet("/out/a", "/out/ab") && !meet("s3://b/x", "s3://c/x"));
        assert_eq!((ending("a/b.c.json"), ending("a.b/c")), (Some("json"), None));
    }
}
