//! What is found of a manifest's lines in the ledger, before anything is written or bought.

use std::sync::Arc;

use super::{
    IntakeError, Rebuy,
    buying::{self, Purchases},
    compare::{Compared, ReadWatch, Verdicts, compare},
    known::ExistingBatch,
    older_batch::spec_of,
    plan::rebuy_of,
    reader::Reader,
    scanned::ScanOf,
};
use crate::{
    definition::{Definition, Spooled},
    domain::cost::Rates,
    store::{Diff, Store},
};

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Findings {
    /// The lines against the ledger's; all new where there is no batch.
    pub(super) diff: Diff,
    /// Of a synthesis, what would be bought.
    pub(super) purchases: Option<Purchases>,
    /// Of recordings, what comparing them has told.
    pub(super) compared: Compared,
    /// The same by line, for the next reading.
    pub(super) verdicts: Option<Arc<Verdicts>>,
    /// The parameters in which all addresses differ, and of how many lines.
    pub(super) parameters: Option<(Vec<String>, u64)>,
}

/// Holds every line of the manifest against the ledger. Of recordings, local files are read where nothing else decides.
pub(super) async fn look(
    store: &Store,
    definition: &Definition,
    known: Option<&ExistingBatch>,
    (copy, reader): (Option<&Spooled>, &Reader),
    (verdicts, watch): (Option<Arc<Verdicts>>, &ReadWatch),
) -> Result<Findings, IntakeError> {
    let batch = known.map(|known| known.row.id);
    match (&reader.scan.of, batch) {
        (ScanOf::Texts(_), batch) => {
            let (diff, purchases) = buying::look(Some(store), batch, definition, copy, &reader.scan).await?;
            Ok(Findings { diff, purchases: Some(purchases), ..Findings::default() })
        }
        (ScanOf::Recordings(_), Some(batch)) => {
            let found = compare(store, batch, definition, (reader, verdicts), watch).await?;
            Ok(Findings {
                diff: found.diff,
                compared: found.message,
                verdicts: Some(found.verdicts),
                parameters: found.parameters,
                purchases: None,
            })
        }
        (ScanOf::Recordings(_), None) => {
            let scan = &reader.scan;
            Ok(Findings {
                diff: Diff { new: scan.jobs, idle: scan.without_source, ..Diff::default() },
                ..Findings::default()
            })
        }
    }
}

impl Findings {
    /// Refuses a manifest of other recordings than the batch has, unless the user has agreed to them. Returns the address that
    /// the batch had, where it has another one from now on.
    pub(super) async fn refuse_others(
        &self,
        store: &Store,
        definition: &Definition,
        known: &ExistingBatch,
        agreed: bool,
    ) -> Result<Option<String>, IntakeError> {
        let readdressed = known.readdressed(store, definition, &self.diff, agreed).await?;
        match &self.parameters {
            Some((parameters, lines)) if !agreed => Err(IntakeError::OtherParameters {
                batch: known.row.name.clone(),
                parameters: parameters.clone(),
                lines: *lines,
            }),
            _ => Ok(readdressed),
        }
    }

    /// What other options of the definition would buy again.
    pub(super) fn rebuys(
        &self,
        definition: &Definition,
        known: &ExistingBatch,
        reader: &Reader,
        rates: &Rates,
    ) -> Option<Rebuy> {
        let spec = spec_of(definition, &reader.scan);
        let again = rebuy_of(definition, &self.diff, self.purchases.as_ref(), rates);
        again.filter(|_| known.is_redefined(&spec, &reader.scan.columns))
    }

    /// Refuses to buy finished lines again where nobody said so.
    pub(super) fn refuse_rebuying(
        &self,
        definition: &Definition,
        known: &ExistingBatch,
        reader: &Reader,
        rates: &Rates,
    ) -> Result<(), IntakeError> {
        match self.rebuys(definition, known, reader, rates) {
            Some(rebuy) => Err(IntakeError::WouldRebuy { batch: known.row.name.clone(), rebuy }),
            None => Ok(()),
        }
    }
}
