//! Random events of a ledger with limits.

use proptest::prelude::*;

use super::super::ops::{How, Where, how, place};

/// Numbers are indexes into the available items, modulo their count.
#[derive(Debug, Clone, Copy)]
pub(super) enum Op {
    Claim {
        who: usize,
    },
    Ask {
        who: usize,
        hand: usize,
        replaces: bool,
    },
    /// Asks for every claimed line that has no open call.
    AskAll {
        who: usize,
    },
    /// A waiting ask is abandoned.
    Forget {
        ask: usize,
    },
    End {
        who: usize,
        call: usize,
        how: How,
        pauses: bool,
    },
    Settle {
        who: usize,
        hand: usize,
        to: Where,
    },
    Wait {
        ms: i64,
    },
    Pause,
    Resume {
        users_too: bool,
    },
    Change {
        line: usize,
    },
    Retry {
        line: Option<usize>,
    },
    Cancel,
    Cap {
        max: Option<i64>,
    },
    /// Another rule for a day and a month, for all later asks.
    Spend {
        day: Option<i64>,
        month: Option<i64>,
    },
}

/// A limit in micro-USD: the price of a few calls.
pub(super) fn cap() -> impl Strategy<Value = Option<i64>> {
    proptest::option::weighted(0.7, 4_000i64..40_000)
}

pub(super) fn op() -> impl Strategy<Value = Op> {
    let (n, who) = (0usize..64, 0usize..2);
    let moments = prop_oneof![Just(1_000), Just(30_000), Just(61_001), Just(2 * super::LEASE), Just(7 * 3_600_000)];
    prop_oneof![
        6 => who.clone().prop_map(|who| Op::Claim { who }),
        3 => (who.clone(), n.clone(), any::<bool>()).prop_map(|(who, hand, replaces)| Op::Ask { who, hand, replaces }),
        6 => who.clone().prop_map(|who| Op::AskAll { who }),
        1 => n.clone().prop_map(|ask| Op::Forget { ask }),
        9 => (who.clone(), n.clone(), how(), proptest::bool::weighted(0.05))
            .prop_map(|(who, call, how, pauses)| Op::End { who, call, how, pauses }),
        5 => (who, n.clone(), place()).prop_map(|(who, hand, to)| Op::Settle { who, hand, to }),
        4 => moments.prop_map(|ms| Op::Wait { ms }),
        1 => Just(Op::Pause),
        2 => any::<bool>().prop_map(|users_too| Op::Resume { users_too }),
        2 => n.clone().prop_map(|line| Op::Change { line }),
        2 => proptest::option::of(n).prop_map(|line| Op::Retry { line }),
        1 => Just(Op::Cancel),
        1 => cap().prop_map(|max| Op::Cap { max }),
        2 => (cap(), proptest::option::weighted(0.3, 10_000i64..60_000)).prop_map(|(day, month)| Op::Spend { day, month }),
    ]
}
