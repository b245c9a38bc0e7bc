//! Who owns an output: the summary beside the outputs names its batch and its ledger.

use super::{IntakeError, error::NamedLedger};
use crate::{
    domain::job::CallId,
    report::{publish::SUMMARY, summary::Owner},
    sink::Sink,
    store::Store,
};

/// Checks whether this ledger's batch may write there.
pub(super) async fn check(store: &Store, batch: &str, sink: &Sink) -> Result<(), IntakeError> {
    let Some(summary) = sink.get(SUMMARY).await? else { return Ok(()) };
    let Some(owner) = Owner::read(&summary) else {
        return Err(IntakeError::ForeignSummary { address: sink.address(SUMMARY) });
    };
    if owner.batch != batch || owner.ledger.id != store.id() {
        return Err(IntakeError::Owned {
            output: sink.root(),
            their_batch: owner.batch,
            their_ledger: NamedLedger { path: owner.ledger.path, id: owner.ledger.id }.into(),
            our_batch: batch.to_owned(),
            our_ledger: NamedLedger { path: store.address().to_owned(), id: store.id().to_owned() }.into(),
        });
    }
    let Some(call) = owner.ledger.newest_call else { return Ok(()) };
    let knows = match call.parse() {
        Ok(id) => store.knows_call(CallId(id)).await?,
        Err(_) => false,
    };
    if knows {
        return Ok(());
    }
    Err(IntakeError::OlderLedger { ledger: store.address().to_owned(), output: sink.root(), call })
}
