//! Every example in `jobs/` is read as a user's would be.

use std::{
    fs,
    path::{Path, PathBuf},
};

use wavebatch::{
    definition::{Definition, Faults, Manifest, ManifestRow, Overrides, ScanDepth},
    runner::intake::IntakeTask,
    tasks::Synthesize,
};

/// A fresh clone is small.
const MAX_BYTES: u64 = 1_500_000;

#[test]
fn every_definition_in_jobs_is_without_fault() {
    for path in definitions() {
        let shown = path.display();
        let definition =
            Definition::load(&path, wavebatch::tasks::Registry::built_in().definitions(), &Overrides::default())
                .unwrap_or_else(|faults| panic!("{faults}"));
        if definition.origin.needs_copy() {
            continue;
        }
        lines(&definition).unwrap_or_else(|faults| panic!("{shown}: {faults}"));
    }
}

fn lines(definition: &Definition) -> Result<(), Faults> {
    let manifest = Manifest::open(definition, None)?;
    let scan = manifest.scan(ScanDepth::Look)?;
    assert!(scan.lines > 0 && scan.bad == 0, "{}: {} lines, {} bad", definition.name, scan.lines, scan.bad);
    let found = Synthesize.findings(&scan);
    assert!(found.notes.is_empty() && found.left_out.is_empty(), "{}: {:?}", definition.name, found.notes);
    for row in manifest.lines(&scan)? {
        let ManifestRow::Good(line) = row? else { panic!("{}: a bad line", definition.name) };
        for job in line.jobs.iter().filter(|job| job.text.is_none()) {
            let source = job.source.as_deref().unwrap_or_default();
            let found = source.starts_with("http") || Path::new(source).is_file();
            assert!(found, "{}: line {}: {source}", definition.name, line.number);
        }
    }
    Ok(())
}

#[test]
fn every_definition_in_jobs_begins_with_what_it_shows() {
    for path in definitions() {
        let text = fs::read_to_string(&path).unwrap();
        let comment = text.lines().next().and_then(|line| line.strip_prefix("# ")).unwrap_or_default();
        assert!(comment.split_whitespace().count() >= 5, "{}: a leading comment says what it shows", path.display());
    }
}

#[test]
fn what_ships_in_jobs_is_small() {
    assert!(bytes_below(&jobs()) < MAX_BYTES);
}

fn jobs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("jobs")
}

fn definitions() -> Vec<PathBuf> {
    let entries = fs::read_dir(jobs()).unwrap().map(|entry| entry.unwrap().path());
    let found: Vec<_> = entries.filter(|path| path.extension().is_some_and(|ending| ending == "toml")).collect();
    assert!(!found.is_empty(), "no definitions in jobs/");
    found
}

/// Outputs of a run that somebody tried are not what ships.
fn bytes_below(dir: &Path) -> u64 {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    let shipped = entries.filter(|entry| entry.file_name() != "out" && entry.file_name() != "sandbox-out");
    shipped
        .map(|entry| if entry.path().is_dir() { bytes_below(&entry.path()) } else { entry.metadata().unwrap().len() })
        .sum()
}
