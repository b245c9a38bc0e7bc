//! The vendor's log of transcriptions as something to be cleared: entries are found and removed.

use std::collections::HashSet;

use futures::future::BoxFuture;

use super::logbook::{LogBook, LogMatch, Witness};
use crate::{
    clock::Clock,
    domain::{
        call::{CallFailure, LogError, LogFilter},
        job::RequestFingerprint,
    },
    runner::{UnnamedCall, VendorEntry, VendorLog},
    waves::Client,
};

/// Entries on a page.
const PAGE: u32 = 50;
/// The most pages that are read to see whether entries are gone.
const PAGES_MOST: u32 = 600;
/// How much earlier the log is read from than the first call, in seconds: its clock may differ from ours.
const BACK_S: i64 = 600;

/// The log of one account.
#[derive(Debug)]
pub(super) struct History {
    client: Client,
    book: LogBook,
}

impl History {
    pub(super) fn new(client: Client, clock: Clock) -> Self {
        Self { book: LogBook::new(client.clone(), clock), client }
    }
}

impl VendorLog for History {
    fn find<'a>(&'a self, call: &'a UnnamedCall) -> BoxFuture<'a, Result<VendorEntry, LogError>> {
        Box::pin(async move {
            let request = serde_json::from_value::<RequestFingerprint>(call.request.clone());
            let witness = match &request {
                _ if call.posted => Witness::Posted(call.id),
                Ok(request) if !call.ambiguous => Witness::Request(request),
                _ => return Ok(VendorEntry::Unclear),
            };
            Ok(match self.book.look(call.cursor.as_deref(), &witness, 0).await? {
                LogMatch::One(entry) => VendorEntry::Found(entry.request_id),
                LogMatch::None => VendorEntry::None,
                LogMatch::Unclear => VendorEntry::Unclear,
            })
        })
    }

    fn still_shows<'a>(&'a self, ids: &'a [String], since: i64) -> BoxFuture<'a, Result<Vec<String>, LogError>> {
        Box::pin(async move {
            let sought: HashSet<&str> = ids.iter().map(String::as_str).collect();
            let filter = LogFilter { from: Some(since / 1_000 - BACK_S), model: None };
            let mut found = Vec::new();
            for page in 1..=PAGES_MOST {
                let got = self.client.stt_log(page, PAGE, filter).await?;
                let last = got.pages.map_or(got.entries.is_empty(), |pages| page >= pages);
                found.extend(got.entries.into_iter().map(|e| e.request_id).filter(|id| sought.contains(id.as_str())));
                if last {
                    break;
                }
            }
            Ok(found)
        })
    }

    fn remove<'a>(&'a self, request_id: &'a str) -> BoxFuture<'a, Result<(), CallFailure>> {
        Box::pin(self.client.remove_from_log(request_id))
    }
}
