//! Times of the wall clock as moments. A time that does not exist comes at the first moment after the gap; one that
//! stands twice comes once, the first time.

use jiff::{
    Timestamp, ToSpan,
    civil::DateTime,
    tz::{AmbiguousOffset, TimeZone},
};

use super::Cron;

impl Cron {
    /// The first moment after this one.
    #[must_use]
    pub fn after(&self, moment: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let mut from = zone.to_datetime(moment);
        loop {
            let civil = self.civil_from(from)?;
            // The second time round, what the wall shows has been.
            match at(civil, zone)? {
                found if found > moment => return Some(found),
                _ => from = civil.checked_add(1.minute()).ok()?,
            }
        }
    }

    /// The last moment until this one: this one, or the last before it.
    #[must_use]
    pub fn until(&self, moment: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let mut to = zone.to_datetime(moment);
        if let AmbiguousOffset::Fold { before, .. } = zone.to_ambiguous_timestamp(to).offset() {
            // The second time round, the first one has been to its end.
            to = before.to_datetime(moment);
        }
        loop {
            let civil = self.civil_to(to)?;
            match at(civil, zone)? {
                found if found <= moment => return Some(found),
                _ => to = civil.checked_sub(1.minute()).ok()?,
            }
        }
    }
}

/// When the wall clock of a zone shows this time.
fn at(civil: DateTime, zone: &TimeZone) -> Option<Timestamp> {
    match zone.to_ambiguous_timestamp(civil).offset() {
        AmbiguousOffset::Unambiguous { offset } => offset.to_timestamp(civil).ok(),
        AmbiguousOffset::Fold { before, .. } => before.to_timestamp(civil).ok(),
        AmbiguousOffset::Gap { before, .. } => {
            // By the old offset the time lies at or behind the change.
            let behind = before.to_timestamp(civil).ok()?.checked_add(1.second()).ok()?;
            zone.preceding(behind).next().map(|change| change.timestamp())
        }
    }
}
