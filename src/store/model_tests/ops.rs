//! Random events of a ledger.

use proptest::prelude::*;

use crate::{
    domain::{
        call::{CallFailure, ErrorKind},
        job::JobState,
    },
    store::{End, PoolEffect, tests::unknown},
};

/// How a call may end.
#[derive(Debug, Clone, Copy)]
pub(super) enum How {
    Answered(Option<i64>),
    Accepted,
    Rejected,
    Unknown,
    Unusable,
    GivenUp,
}

/// The next state that a worker may want for its job.
#[derive(Debug, Clone, Copy)]
pub(super) enum Where {
    Done(JobState),
    Queued { later: bool },
    Awaiting { call: usize },
}

/// Numbers are indexes into the available items, modulo their count.
#[derive(Debug, Clone, Copy)]
pub(super) enum Op {
    Claim {
        who: usize,
    },
    Permit {
        who: usize,
        hand: usize,
        replaces: Option<usize>,
    },
    /// The action of a worker that follows its journal.
    WriterTask {
        who: usize,
        hand: usize,
    },
    End {
        who: usize,
        call: usize,
        how: How,
    },
    /// In one transaction: the end of one call, or of two.
    Ends {
        who: usize,
        calls: [usize; 2],
        how: [How; 2],
    },
    Settle {
        who: usize,
        hand: usize,
        to: Where,
    },
    Receive {
        who: usize,
        call: usize,
        words: u8,
        cost: Option<i64>,
    },
    Fail {
        who: usize,
        call: usize,
    },
    LeasesRunOut,
    Cancel,
    Retry,
    RetryKey {
        line: usize,
    },
}

pub(super) fn how() -> impl Strategy<Value = How> {
    prop_oneof![
        3 => prop_oneof![Just(None), (1i64..9_000).prop_map(Some)].prop_map(How::Answered),
        1 => Just(How::Accepted),
        2 => Just(How::Rejected),
        2 => Just(How::Unknown),
        1 => Just(How::Unusable),
        1 => Just(How::GivenUp),
    ]
}

pub(super) fn place() -> impl Strategy<Value = Where> {
    let state = prop_oneof![Just(JobState::Succeeded), Just(JobState::Failed), Just(JobState::Suspect)];
    prop_oneof![
        2 => state.prop_map(Where::Done),
        2 => any::<bool>().prop_map(|later| Where::Queued { later }),
        1 => (0usize..64).prop_map(|call| Where::Awaiting { call }),
    ]
}

pub(super) fn op() -> impl Strategy<Value = Op> {
    let (n, who) = (0usize..64, 0usize..2);
    let cost = prop_oneof![Just(None), (1i64..9_000).prop_map(Some)];
    prop_oneof![
        5 => who.clone().prop_map(|who| Op::Claim { who }),
        2 => (who.clone(), n.clone(), proptest::option::of(n.clone()))
            .prop_map(|(who, hand, replaces)| Op::Permit { who, hand, replaces }),
        6 => (who.clone(), n.clone()).prop_map(|(who, hand)| Op::WriterTask { who, hand }),
        6 => (who.clone(), n.clone(), how()).prop_map(|(who, call, how)| Op::End { who, call, how }),
        3 => (who.clone(), [n.clone(), n.clone()], [how(), how()])
            .prop_map(|(who, calls, how)| Op::Ends { who, calls, how }),
        4 => (who.clone(), n.clone(), place()).prop_map(|(who, hand, to)| Op::Settle { who, hand, to }),
        3 => (who.clone(), n.clone(), 0u8..2, cost)
            .prop_map(|(who, call, words, cost)| Op::Receive { who, call, words, cost }),
        1 => (who, n.clone()).prop_map(|(who, call)| Op::Fail { who, call }),
        3 => Just(Op::LeasesRunOut),
        1 => Just(Op::Cancel),
        1 => Just(Op::Retry),
        1 => n.prop_map(|line| Op::RetryKey { line }),
    ]
}

/// The end of the call as the ledger receives it.
pub(super) fn message(how: How) -> End {
    let failure = || CallFailure::new(ErrorKind::ServerError, "no");
    match how {
        How::Answered(cost) => End::Answered {
            body: r#"{"transcription":"hi"}"#.into(),
            from_log: false,
            request_id: None,
            content_expiry: None,
            audio_ms: None,
            cost,
        },
        How::Accepted => End::Accepted { request_id: None },
        How::Rejected => End::Rejected { failure: Some(failure()), effect: PoolEffect::None, counts: true },
        How::Unknown => unknown(false),
        How::Unusable => End::Unusable { failure: failure() },
        How::GivenUp => End::GivenUp,
    }
}
