//! Definitions: read as a run's and as a schedule's. The same file says the same twice, faults can be told, and a
//! definition that a run takes is one that the schedule takes.

use std::path::Path;

use super::file;
use crate::definition::{Definition, Overrides, Timetable};

/// One input.
///
/// # Panics
/// On a finding.
pub fn definitions(folder: &Path, toml: &[u8]) {
    // What leads out of the folder is another program's fuzzing.
    if toml.windows(2).any(|pair| pair == b"..") || toml.windows(2).any(|pair| pair == b"\"/" || pair == b"'/") {
        return;
    }
    let path = file(folder, "definition.toml", toml);
    let now = "2026-03-29T00:30:00Z".parse().expect("a moment");
    let overrides = Overrides { now: Some(now), working_dir: Some(folder.to_path_buf()), ..Overrides::default() };

    let loaded = Definition::load(&path, crate::tasks::Registry::built_in().definitions(), &overrides);
    let again = Definition::load(&path, crate::tasks::Registry::built_in().definitions(), &overrides);
    assert_eq!(format!("{loaded:?}"), format!("{again:?}"));
    let timetable = Timetable::read(&path, crate::tasks::Registry::built_in().definitions(), &overrides);
    match (&loaded, &timetable) {
        (Ok(definition), Ok(timetable)) => {
            assert_eq!(definition.name, timetable.name);
            assert_eq!(format!("{:?}", definition.schedule), format!("{:?}", timetable.schedule));
            let _ = definition.notes();
            if let Some(schedule) = &timetable.schedule {
                let runs: Vec<_> = schedule.upcoming(now).take(4).map(|run| run.at).collect();
                assert!(runs.first().is_none_or(|first| *first > now));
                assert!(runs.windows(2).all(|pair| pair[0] < pair[1]), "{runs:?}");
                assert_eq!(runs.last().and_then(|at| schedule.latest(*at)).map(|run| run.at), runs.last().copied());
            }
        }
        (Ok(_), Err(faults)) => panic!("a run takes it and the schedule does not: {faults}"),
        (Err(faults), _) => assert!(!faults.is_empty() && !faults.to_string().is_empty()),
    }
}
