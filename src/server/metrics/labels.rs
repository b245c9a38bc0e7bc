//! Labels. All are closed lists, except the names of definitions.

use prometheus_client::encoding::EncodeLabelSet;

use crate::domain::pool::Pool;

macro_rules! labels {
    ($($name:ident { $($label:ident),* })+) => {$(
        #[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
        pub(super) struct $name { $(pub(super) $label: &'static str),* }
    )+};
}

/// The label of a pool. Pools of models unknown to this release share one.
pub(super) fn label_of(pool: Pool) -> &'static str {
    pool.known().unwrap_or("other")
}

labels! {
    OfCall { pool, outcome }
    OfPool { pool }
    OfLimit { pool, limit }
    OfState { state }
    OfKind { kind }
    OfThen { then }
    OfEffect { effect }
    OfReason { reason }
    OfResult { result }
    OfPeriod { period }
    OfDisk { disk }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct OfJob {
    pub(super) task: String,
    pub(super) state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct OfDefinition {
    pub(super) definition: String,
}
