//! The journal of calls: permits, the intents that they write, and how calls end.

pub(super) mod callbacks;
pub(super) mod clips;
pub(super) mod demand;
pub(super) mod end;
pub(super) mod fence;
pub(super) mod intent;
pub(super) mod look;
pub(super) mod outcome;
pub(super) mod permit;
pub(super) mod purchase;
pub(super) mod said;
pub(super) mod spend_limits;
pub(super) mod uploads;
