//! Spend limits of a day and of a month, as `status` and `spend` show them.

use serde_json::{Value, json};

use super::{
    error::CliError,
    words::{dollars, rfc3339},
};
use crate::{
    app::Settings,
    domain::{
        batch::MicroUsd,
        spend::{SpendRule, SpendUse},
    },
    store::Store,
};

/// What is committed of each limit that is set.
#[derive(Debug, Default)]
pub(super) struct SpendLimits(Vec<(SpendUse, std::sync::Arc<SpendRule>)>);

impl SpendLimits {
    /// As they stand now. Without a key all accounts of the ledger count.
    pub(super) async fn look(store: &Store, settings: &Settings) -> Result<Self, CliError> {
        let Some(rule) = &settings.config.spend else { return Ok(Self::default()) };
        let account = settings.account();
        let uses = store.spend_uses(account.as_deref(), settings.environment, rule).await?;
        Ok(Self(uses.into_iter().map(|one| (one, rule.clone())).collect()))
    }

    /// A line for each.
    pub(super) fn words(&self) -> String {
        let line = |(one, rule): &(SpendUse, std::sync::Arc<SpendRule>)| {
            let reserved = match one.reserved {
                MicroUsd::ZERO => String::new(),
                reserved => format!(", {} more in flight", dollars(reserved.0)),
            };
            format!(
                "spend limit of the {}: {} of {}{reserved}, until {}\n",
                one.period,
                dollars(one.spent.0),
                dollars(one.limit.0),
                rule.moment(one.span.until)
            )
        };
        self.0.iter().map(line).collect()
    }

    pub(super) fn in_json(&self) -> Value {
        let one = |(one, rule): &(SpendUse, std::sync::Arc<SpendRule>)| {
            json!({
                "period": one.period,
                "limit_usd": one.limit,
                "spent_usd": one.spent,
                "reserved_usd": one.reserved,
                "from": rfc3339(one.span.from),
                "until": rfc3339(one.span.until),
                "timezone": rule.zone.iana_name(),
            })
        };
        self.0.iter().map(one).collect()
    }
}
