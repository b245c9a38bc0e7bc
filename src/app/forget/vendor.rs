//! The entries of calls in the vendor's log: found where the vendor never told us their id, and removed.

use serde::Deserialize;
use serde_json::Value;
use uuid::Uuid;

use super::{Forgetter, remove::Became};
use crate::{
    domain::{call::LogError, forget::ForgottenState, hex::unhex, job::CallId, task::TaskName},
    runner::{UnnamedCall, VendorEntry, VendorLog},
};

/// A call without an id of the vendor, as the list has it.
#[derive(Debug, Deserialize)]
struct Listed {
    call: String,
    request: Value,
    cursor: Option<String>,
    posted: bool,
    ambiguous: bool,
}

impl Listed {
    fn unnamed(self) -> Option<UnnamedCall> {
        let Self { call, request, cursor, posted, ambiguous } = self;
        let id = CallId(Uuid::from_bytes(unhex::<16>(&call)?));
        Some(UnnamedCall { id, request, cursor, posted, ambiguous })
    }
}

impl Forgetter {
    pub(super) async fn remove_at_vendor(&self, place: &str, task: TaskName) -> Became {
        let Some(log) = self.logs.get(task.as_str()) else {
            let why = self.unasked.clone().unwrap_or_else(|| "the API removes no entry of such a call".into());
            let state = if self.unasked.is_some() { ForgottenState::Refused } else { ForgottenState::Unknown };
            return Became::because(state, why);
        };
        match serde_json::from_str::<Listed>(place) {
            Ok(listed) => match listed.unnamed() {
                Some(call) => find_and_remove(&**log, &call).await,
                None => Became::because(ForgottenState::Unknown, "the ledger has no id of that call"),
            },
            Err(_) => remove(&**log, place).await,
        }
    }
}

async fn find_and_remove(log: &dyn VendorLog, call: &UnnamedCall) -> Became {
    match log.find(call).await {
        Ok(VendorEntry::Found(id)) => remove(log, &id).await,
        Ok(VendorEntry::None) => Became::because(ForgottenState::Absent, "the vendor's log shows no such call"),
        Ok(VendorEntry::Unclear) => Became::because(
            ForgottenState::Unknown,
            "the vendor told no id of that call, and its log does not show which entry is this call's",
        ),
        Err(LogError::Absent(why)) => Became::because(
            ForgottenState::Unknown,
            format!("the vendor told no id of that call, and its log cannot be read: {why}"),
        ),
        Err(LogError::Unreachable(why) | LogError::Unasked(why)) => {
            Became::because(ForgottenState::Refused, format!("the vendor's log cannot be read now: {why}"))
        }
    }
}

async fn remove(log: &dyn VendorLog, request_id: &str) -> Became {
    match log.remove(request_id).await {
        Ok(()) => Became::removed(),
        Err(failure) => Became::because(
            ForgottenState::Refused,
            format!("the vendor does not remove the entry: {}", failure.message),
        ),
    }
}
