//! One job of a synthesis batch.

use super::{Shared, batch::Batch};
use crate::{
    domain::{call::ErrorKind, synthesis::Synthesis},
    store::{Claimed, Finish, StoreError, To},
};

/// Where the job goes; `None` when its lease is lost.
pub(super) async fn live(
    _shared: &Shared,
    _batch: &Batch,
    _asked: &Synthesis,
    _job: &Claimed,
) -> Result<Option<To>, StoreError> {
    Ok(Some(To::Finished(Box::new(Finish::failed(ErrorKind::BadRequest, "not built yet".into())))))
}
