//! The bench of the manifest tests: a folder and a command line.

use std::{fs, path::PathBuf};

use super::*;
use crate::{
    definition::{AdHoc, ManifestRow, Overrides, Scan, ScanDepth},
    domain::{batch::LineOverrides, key::Key, s3::Listed, transcription::Transcription},
};

/// A good line of a recording, as one value.
#[derive(Debug, PartialEq)]
pub(super) struct Line {
    pub(super) number: u64,
    pub(super) key: Key,
    pub(super) source: Option<String>,
    pub(super) expected: Option<Listed>,
    pub(super) overrides: Option<LineOverrides>,
    pub(super) carried: Vec<String>,
}

impl From<ManifestLine> for Line {
    fn from(line: ManifestLine) -> Self {
        let ManifestLine { number, key, mut jobs, carried } = line;
        let JobDraft { source, expected, overrides, .. } = jobs.remove(0);
        assert!(jobs.is_empty(), "a recording is one job");
        let overrides = overrides.map(|json| serde_json::from_str(&json).unwrap());
        Self { number, key, source, expected, overrides, carried }
    }
}

pub(super) struct Bench {
    pub(super) dir: tempfile::TempDir,
    pub(super) over: Overrides,
}

impl Bench {
    pub(super) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut over = Overrides { working_dir: Some(dir.path().to_path_buf()), ..Overrides::default() };
        over.options = vec![("model", "pulse".to_owned()), ("language", "en".to_owned())];
        Self { dir, over }
    }

    pub(super) fn with(content: impl AsRef<[u8]>) -> Self {
        let bench = Self::new();
        bench.write("calls.csv", content);
        bench
    }

    pub(super) fn root(&self) -> PathBuf {
        self.dir.path().canonicalize().unwrap()
    }

    pub(super) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    pub(super) fn definition(&self, sources: &[&str]) -> Result<Definition, Faults> {
        let sources = sources.iter().map(|s| (*s).to_owned()).collect();
        Definition::ad_hoc(
            &AdHoc { task: Transcription::TASK, sources },
            crate::tasks::Registry::built_in().definitions(),
            &self.over,
        )
    }

    pub(super) fn read(&self, sources: &[&str]) -> Result<(Scan, Vec<ManifestRow>), String> {
        self.read_copy(sources, None)
    }

    pub(super) fn read_copy(
        &self,
        sources: &[&str],
        copy: Option<&Spooled>,
    ) -> Result<(Scan, Vec<ManifestRow>), String> {
        let read = || {
            let definition = self.definition(sources)?;
            let manifest = Manifest::open(&definition, copy)?;
            let scan = manifest.scan(ScanDepth::Faults)?;
            let rows = manifest.lines(&scan)?.collect::<Result<Vec<_>, _>>()?;
            Ok((scan, rows))
        };
        read().map_err(|faults: Faults| faults.to_string())
    }

    pub(super) fn good(&self, sources: &[&str]) -> Vec<Line> {
        let (scan, rows) = self.read(sources).unwrap();
        assert_eq!((scan.lines, scan.bad), (rows.len() as u64, 0));
        let good = |row| match row {
            ManifestRow::Good(line) => line.into(),
            ManifestRow::Bad(bad) => panic!("{bad:?}"),
        };
        rows.into_iter().map(good).collect()
    }

    pub(super) fn fault(&self) -> String {
        self.read(&["calls.csv"]).map(|(scan, _)| scan.lines).unwrap_err()
    }
}

pub(super) fn keys_and_sources(lines: &[Line]) -> Vec<(&str, &str)> {
    lines.iter().map(|l| (l.key.as_str(), l.source.as_deref().unwrap_or("-"))).collect()
}
