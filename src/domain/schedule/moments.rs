//! Conversion of wall-clock times to moments. A time that does not exist maps to the first moment after the gap; a
//! repeated time maps to its first occurrence.

use jiff::{
    Timestamp, ToSpan,
    civil::DateTime,
    tz::{AmbiguousOffset, TimeZone},
};

use super::Cron;

impl Cron {
    /// The first matching moment after this one.
    #[must_use]
    pub fn after(&self, moment: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let mut from = zone.to_datetime(moment);
        loop {
            let civil = self.civil_from(from)?;
            // In a repeated hour, the wall clock shows times that have already occurred.
            match at(civil, zone)? {
                found if found > moment => return Some(found),
                _ => from = civil.checked_add(1.minute()).ok()?,
            }
        }
    }

    /// The last matching moment at or before this one.
    #[must_use]
    pub fn until(&self, moment: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let mut to = zone.to_datetime(moment);
        if let AmbiguousOffset::Fold { before, .. } = zone.to_ambiguous_timestamp(to).offset() {
            // In a repeated hour, the first pass has already reached its end.
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

/// The moment at which the wall clock of a zone shows this time.
fn at(civil: DateTime, zone: &TimeZone) -> Option<Timestamp> {
    match zone.to_ambiguous_timestamp(civil).offset() {
        AmbiguousOffset::Unambiguous { offset } => offset.to_timestamp(civil).ok(),
        AmbiguousOffset::Fold { before, .. } => before.to_timestamp(civil).ok(),
        AmbiguousOffset::Gap { before, .. } => {
            // With the old offset the time is at or after the change.
            let behind = before.to_timestamp(civil).ok()?.checked_add(1.second()).ok()?;
            zone.preceding(behind).next().map(|change| change.timestamp())
        }
    }
}
