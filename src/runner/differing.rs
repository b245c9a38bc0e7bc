//! Says when processes at work on the ledger have different settings: at the start, and when another one comes.

use std::{collections::BTreeSet, convert::Infallible, time::Duration};

use super::{events::Event, shared::RunnerShared};
use crate::domain::process::{differences, differences_in_words};

/// The interval between looks.
const LOOK: Duration = Duration::from_secs(10);

/// Looks until it is dropped.
pub(super) async fn watch(shared: &RunnerShared) -> Infallible {
    let mut told = BTreeSet::new();
    loop {
        // A ledger that cannot be read now is reported by others.
        if let Ok(processes) = shared.store().settings_at_work().await {
            let found = differences(&processes);
            let all = found.iter().flat_map(|one| {
                let of = |(value, names): &(serde_json::Value, Vec<_>)| {
                    (one.setting.clone(), value.to_string(), names.clone())
                };
                one.values.iter().map(of)
            });
            let all = all.flat_map(|(setting, value, names)| {
                names.into_iter().map(move |name| (setting.clone(), value.clone(), name))
            });
            let all: BTreeSet<_> = all.collect();
            // One that leaves is no news.
            if !all.is_subset(&told) {
                shared.emit(Event::Warning(differences_in_words(&found)));
            }
            told.extend(all);
        }
        tokio::time::sleep(LOOK).await;
    }
}
