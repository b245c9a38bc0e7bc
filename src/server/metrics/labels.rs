//! Labels. Closed lists all of them, but for the names of definitions.

use prometheus_client::encoding::EncodeLabelSet;

macro_rules! labels {
    ($($name:ident { $($label:ident),* })+) => {$(
        #[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
        pub(super) struct $name { $(pub(super) $label: &'static str),* }
    )+};
}

labels! {
    OfJob { task, state }
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
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct OfDefinition {
    pub(super) definition: String,
}
