//! `[spend]`: the spend limits of a day and of a month, for all batches of the ledger together.

use jiff::tz::TimeZone;
use toml::de::DeValue;

use crate::{
    definition::{
        dates,
        fields::fields,
        text::dollars,
        walk::{Section, TomlWalk, Wrong},
    },
    domain::{cost::MicroUsd, spend::SpendRule},
};

fields! {
    /// The most that all batches of the account may cost together, in US dollars at list price. A call that could pass a limit
    /// pauses its batch until the next day or month begins, or the limit is higher.
    pub(super) SPEND = "spend" {
        /// In a day.
        "day_usd": "a number" (or "no limit");
        /// In a month.
        "month_usd": "a number" (or "no limit");
        /// Where days and months begin, by its name in the tz database.
        "timezone": "a string" (or "the system's");
    }
}

/// `None` where no limit is set.
pub(super) fn read<'t>(walk: &mut TomlWalk<'t>, mut section: Section<'t>) -> Option<SpendRule> {
    let mut limit = |walk: &mut TomlWalk<'t>, name| {
        walk.take(&mut section, name, |value| match value {
            DeValue::Integer(number) => dollars(&number.to_string()).map_err(Wrong::Value),
            DeValue::Float(number) => dollars(number.as_str()).map_err(Wrong::Value),
            _ => Err(Wrong::Type("a number")),
        })
    };
    let (day, month): (Option<MicroUsd>, Option<MicroUsd>) = (limit(walk, "day_usd"), limit(walk, "month_usd"));
    let said = walk.text(&mut section, "timezone", dates::zone);
    walk.close(section);
    if day.is_none() && month.is_none() {
        return None;
    }
    let zone = said.map_or_else(dates::system_zone, Ok);
    match zone {
        Ok(zone) if zone.is_unknown() => Some(SpendRule { day, month, zone: TimeZone::UTC }),
        Ok(zone) => Some(SpendRule { day, month, zone }),
        Err(message) => {
            walk.fault(0, Some("spend".into()), message);
            None
        }
    }
}
