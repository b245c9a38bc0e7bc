//! The writer's commands while lines are worked: claims, permits, ends of calls, callbacks, settlements. Each goes into
//! its next transaction, together with the commands of other callers at the same time.

use tokio::sync::oneshot;

use crate::store::{
    Callback, ClaimRequest, Claimed, Effect, EndReply, Ended, PermitRequest, Settled, Settlement, Store, StoreError,
    calls::callbacks::Received, calls::permit::PermitResult, engine::writer::Command,
};

impl Store {
    /// Claims jobs that are due.
    pub async fn claim(&self, want: ClaimRequest) -> Result<Vec<Claimed>, StoreError> {
        self.send(|reply| Command::Claim(want, reply)).await
    }

    /// Waits for a permit, until the pool has room or the call must not be made.
    pub async fn permit(&self, mut ask: PermitRequest) -> Result<PermitResult, StoreError> {
        let (reply, answer) = oneshot::channel();
        ask.reply = Some(reply);
        self.commands.send(Command::Permit(Box::new(ask))).await.map_err(|_| StoreError::Closed)?;
        answer.await.map_err(|_| StoreError::Closed)?
    }

    /// Commits how a call ended. When this returns, its answer is on disk.
    ///
    /// # Errors
    /// The ledger cannot be written. While the disk is only full, the write is tried again.
    pub async fn end(&self, ended: Ended) -> Result<EndReply, StoreError> {
        self.send(|reply| Command::End(Box::new(ended), reply)).await
    }

    /// Stores a callback and its effect on its call and job. `None`: there is no such call. When this returns, the
    /// callback is on disk.
    pub async fn receive(&self, callback: Callback) -> Result<Option<Effect>, StoreError> {
        let received = Received::of(callback).await?;
        let effect = self.send(|reply| Command::Receive(Box::new(received), reply)).await?;
        self.wake();
        Ok(effect)
    }

    /// Settles a job.
    ///
    /// # Errors
    /// The ledger cannot be written. While the disk is only full, the write is tried again.
    pub async fn conclude(&self, settlement: Settlement) -> Result<Settled, StoreError> {
        self.send(|reply| Command::Settle(Box::new(settlement), reply)).await
    }

    /// Settles a job. `false`: the lease was lost, and nothing was written.
    ///
    /// # Errors
    /// As for [`Store::conclude`].
    pub async fn settle(&self, settlement: Settlement) -> Result<bool, StoreError> {
        Ok(self.conclude(settlement).await? != Settled::Lost)
    }
}
