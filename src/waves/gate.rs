//! The last moment before a call may cost money.
//!
//! A request's body is first polled when its connection is ready and nothing has been written yet: HTTP/1 headers wait
//! in a buffer for the first piece of the body. The gate is at this point. Before it, the request has provably not
//! left; after it, nobody can know. Whoever abandons a call shuts the gate, so that the call cannot leave later.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::domain::call::CallFailure;

/// Whether a call may still leave, decided at the last moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Departure {
    /// The permit is good: send.
    Go,
    /// The permit is too old: send nothing.
    Stale,
}

/// The progress of a call.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) enum Phase {
    /// Nothing has left.
    #[default]
    Waiting,
    /// The permit was too old, and nothing has left.
    Stale,
    /// The request, or a part of it, may have reached the vendor.
    Departed,
    /// The recording could not be read to its end, so the vendor cannot have the whole request.
    Broken(CallFailure),
    /// Nobody waits for this call anymore.
    Over,
}

/// The body must not continue; the gate's phase has the reason.
#[derive(Debug, thiserror::Error)]
#[error("the upload was stopped")]
pub(super) struct Stopped;

/// Shared by the caller and the body of its request.
#[derive(Debug, Clone, Default)]
pub(super) struct Gate(Arc<Mutex<Phase>>);

impl Gate {
    fn phase(&self) -> MutexGuard<'_, Phase> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Requests permission to send the first byte.
    pub(super) fn depart(&self, departs: impl FnOnce() -> Departure) -> Result<(), Stopped> {
        let mut phase = self.phase();
        if *phase != Phase::Waiting {
            return Err(Stopped);
        }
        // Under the lock, so that a time-out at this moment sees either nothing sent or a departure.
        match departs() {
            Departure::Go => *phase = Phase::Departed,
            Departure::Stale => *phase = Phase::Stale,
        }
        if *phase == Phase::Departed { Ok(()) } else { Err(Stopped) }
    }

    /// Whether more of the body is wanted.
    pub(super) fn go_on(&self) -> Result<(), Stopped> {
        if *self.phase() == Phase::Departed { Ok(()) } else { Err(Stopped) }
    }

    /// Records that the recording could not be read while it was sent.
    pub(super) fn broken(&self, failure: CallFailure) -> Stopped {
        let mut phase = self.phase();
        if *phase == Phase::Departed {
            *phase = Phase::Broken(failure);
        }
        Stopped
    }

    /// Shuts the gate for good, and returns the call's progress.
    pub(super) fn shut(&self) -> Phase {
        std::mem::replace(&mut *self.phase(), Phase::Over)
    }
}

/// Shuts the gate when its call ends or is dropped.
#[derive(Debug)]
pub(super) struct GateGuard(pub(super) Gate);

impl Drop for GateGuard {
    fn drop(&mut self) {
        self.0.shut();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::call::ErrorKind;

    #[test]
    fn a_call_that_was_given_up_cannot_leave() {
        let gate = Gate::default();
        assert_eq!(gate.shut(), Phase::Waiting);
        assert!(gate.depart(|| unreachable!("nobody may be asked any more")).is_err());
        assert_eq!(gate.shut(), Phase::Over);
    }

    #[test]
    fn a_stale_permit_shuts_it() {
        let gate = Gate::default();
        assert!(gate.depart(|| Departure::Stale).is_err());
        assert!(gate.go_on().is_err());
        assert_eq!(gate.shut(), Phase::Stale);
    }

    #[test]
    fn the_end_of_the_call_stops_the_body() {
        let gate = Gate::default();
        gate.depart(|| Departure::Go).unwrap();
        gate.go_on().unwrap();
        drop(GateGuard(gate.clone()));
        assert!(gate.go_on().is_err());
        gate.broken(CallFailure::new(ErrorKind::SourceChanged, "late"));
        assert_eq!(gate.shut(), Phase::Over);
    }
}
