//! What is outside the ledger is removed, thing by thing; what became of each is noted in the ledger.

use std::collections::HashMap;

use futures::{StreamExt, stream};

use super::{Forgetter, Forgotten, note_reason};
use crate::{
    app::error::AppError,
    crash,
    domain::{
        batch::BatchSpec,
        forget::{ForgottenKind, ForgottenState},
        hex::unhex,
        identity::Identity,
        job::BatchId,
    },
    sink::{Sink, SinkError},
    store::{BatchRow, ErasedClip, ForgetItem, OpenForget, StoreError},
};

/// Things that are removed at the same time.
const AT_A_TIME: usize = 8;
/// After so many failures in a row to reach somebody, the rest waits for the next time.
const FAILURES: usize = 3;

/// A batch, and where its outputs are.
pub(super) struct Place {
    row: BatchRow,
    sink: Sink,
    /// Other batches that write to the same place.
    neighbours: Vec<BatchId>,
}

/// What became of a thing.
pub(super) struct Became {
    pub(super) state: ForgottenState,
    pub(super) why: Option<String>,
}

impl Became {
    pub(super) const fn removed() -> Self {
        Self { state: ForgottenState::Removed, why: None }
    }

    pub(super) fn because(state: ForgottenState, why: impl Into<String>) -> Self {
        Self { state, why: Some(why.into()) }
    }
}

impl Forgetter {
    /// Removes what is on the list.
    pub(super) async fn remove_all(&self, forget: &OpenForget, done: &mut Forgotten) -> Result<(), AppError> {
        let (mut places, mut after, mut failures) = (HashMap::new(), 0, HashMap::new());
        loop {
            let items = self.store.forget_items(forget.id, after, true).await?;
            let Some(last) = items.last() else { return Ok(()) };
            after = last.nth;
            for item in &items {
                if let std::collections::hash_map::Entry::Vacant(place) = places.entry(item.batch) {
                    place.insert(self.place(item.batch).await?);
                }
            }
            for items in items.chunks(AT_A_TIME) {
                let removing = items.iter().map(|item| self.remove_one(item, &places[&item.batch], &failures));
                let became: Vec<Became> =
                    stream::iter(removing.collect::<Vec<_>>()).buffered(AT_A_TIME).collect().await;
                let mut noted = Vec::with_capacity(items.len());
                for (item, became) in items.iter().zip(became) {
                    let failed = failures.entry(item.kind).or_insert((0, String::new()));
                    match (&became.state, &became.why) {
                        (ForgottenState::Refused, Some(why)) => {
                            note_reason(&mut done.reasons, why);
                            *failed = (failed.0 + 1, why.clone());
                        }
                        _ => failed.0 = 0,
                    }
                    noted.push(ForgetItem { state: became.state, why: became.why, ..item.clone() });
                }
                self.store.note_items(forget.id, &noted).await?;
                crash::point("forget-noted");
            }
        }
    }

    async fn place(&self, batch: BatchId) -> Result<Place, AppError> {
        let row = self.store.batch_by_id(batch).await?;
        let spec = row.specification()?;
        let sink = Sink::open(&spec.output, &spec.sink)?;
        let mut neighbours = Vec::new();
        for other in self.store.batches().await?.into_iter().filter(|other| other.id != batch) {
            if other.specification().is_ok_and(|theirs| theirs.output == spec.output) {
                neighbours.push(other.id);
            }
        }
        Ok(Place { row, sink, neighbours })
    }

    async fn remove_one(
        &self,
        item: &ForgetItem,
        place: &Place,
        failures: &HashMap<ForgottenKind, (usize, String)>,
    ) -> Became {
        if let Some((_, why)) = failures.get(&item.kind).filter(|(times, _)| *times >= FAILURES) {
            return Became::because(ForgottenState::Refused, why.clone());
        }
        match item.kind {
            ForgottenKind::Output => match self.remove_output(&item.place, place).await {
                Ok(became) => became,
                Err(e) => Became::because(ForgottenState::Refused, format!("the output is not removed: {e}")),
            },
            ForgottenKind::Clip => match self.remove_clip(&item.place).await {
                Ok(became) => became,
                Err(e) => Became::because(ForgottenState::Refused, format!("the clip is not removed: {e}")),
            },
            ForgottenKind::Vendor => self.remove_at_vendor(&item.place, place.row.task).await,
            // These went with their rows.
            ForgottenKind::Row | ForgottenKind::Answer | ForgottenKind::Callback | ForgottenKind::Text => {
                Became::removed()
            }
        }
    }

    /// Removes a file of the output, unless somebody else owns it by now.
    async fn remove_output(&self, at: &str, place: &Place) -> Result<Became, AppError> {
        let root = place.sink.address("");
        let name = match at.strip_prefix(root.trim_end_matches('/')) {
            Some(name) => name.trim_start_matches('/'),
            None if at.starts_with('/') || at.contains("://") => {
                let why = "it is not below the output of its batch, and belongs to somebody else";
                return Ok(Became::because(ForgottenState::Kept, why));
            }
            None => at,
        };
        for owner in [place.row.id].iter().chain(&place.neighbours) {
            if self.store.is_owned(*owner, name).await? {
                let whose = if *owner == place.row.id { "another line" } else { "a line of another batch" };
                return Ok(Became::because(ForgottenState::Kept, format!("{whose} owns that file")));
            }
        }
        let erased = place.sink.erase(name).await?;
        Ok(match (erased.found, erased.left) {
            (true, None) => Became::removed(),
            (true, Some(left)) => Became {
                state: ForgottenState::Removed,
                why: Some(format!("its older versions, if the bucket keeps some, could not be listed: {left}")),
            },
            (false, _) => Became { state: ForgottenState::Absent, why: None },
        })
    }

    async fn remove_clip(&self, clip: &str) -> Result<Became, StoreError> {
        let Some(clip) = unhex(clip).map(Identity) else {
            return Ok(Became::because(ForgottenState::Unknown, "it is no cache key"));
        };
        Ok(match self.store.erase_clip(clip).await? {
            ErasedClip::Removed => Became::removed(),
            ErasedClip::Absent => Became { state: ForgottenState::Absent, why: None },
            ErasedClip::Used => Became::because(ForgottenState::Kept, "another line speaks the same words"),
        })
    }
}

/// Removes a report that an earlier definition wrote elsewhere, with its versions.
pub(super) async fn erase_report(address: &str, spec: &BatchSpec) -> Result<(), SinkError> {
    let (place, name) = Sink::open_file(address, spec.report_sink())?;
    place.erase(&name).await.map(drop)
}
