//! Spend limits of a day and of a month, for `status` and `spend`.

use super::words::Money;
use crate::{app::views::SpendLimitView, domain::batch::MicroUsd};

/// The amounts that `words` writes.
pub(super) fn amounts(limits: &[SpendLimitView]) -> impl Iterator<Item = i64> {
    limits.iter().flat_map(|one| [one.spent_usd.0, one.reserved_usd.0])
}

/// One line per limit.
pub(super) fn words(limits: &[SpendLimitView], money: Money) -> String {
    let line = |one: &SpendLimitView| {
        let reserved = match one.reserved_usd {
            MicroUsd::ZERO => String::new(),
            reserved => format!(", {} more in flight", money.words(reserved.0)),
        };
        let (spent, limit) = (money.words(one.spent_usd.0), money.words(one.limit_usd.0));
        format!("spend limit of the {}: {spent} of {limit}{reserved}, until {}\n", one.period, one.until_local)
    };
    limits.iter().map(line).collect()
}
