//! Spend limits of a day and of a month, for `status` and `spend`.

use super::words::dollars;
use crate::{app::views::SpendLimitView, domain::batch::MicroUsd};

/// One line per limit.
pub(super) fn words(limits: &[SpendLimitView]) -> String {
    let line = |one: &SpendLimitView| {
        let reserved = match one.reserved_usd {
            MicroUsd::ZERO => String::new(),
            reserved => format!(", {} more in flight", dollars(reserved.0)),
        };
        let (spent, limit) = (dollars(one.spent_usd.0), dollars(one.limit_usd.0));
        format!("spend limit of the {}: {spent} of {limit}{reserved}, until {}\n", one.period, one.until_local)
    };
    limits.iter().map(line).collect()
}
