//! Events that cause notifications, and the waits between failed deliveries.

use super::options::listed;

/// The first wait between two tries, in ms.
const FIRST_WAIT_MS: i64 = 10_000;
/// The longest wait without jitter, in ms.
const LONGEST_WAIT_MS: i64 = 15 * 60_000;

listed! {
    /// The event that a notification reports.
    NoticeEvent, "event" {
        /// Nothing is left to do in a batch. It comes again when the batch finishes once more, after `retry` or with new lines.
        Finished = "finished",
        /// wavebatch paused a batch for `reason`: no line is to blame, and somebody must act.
        Paused = "paused",
        /// The run of a definition ended with an error before its batch did, or a scheduled run could not be started and is tried
        /// again. The same `reason` is told once; of `run`, once an hour.
        CouldNotStart = "could_not_start",
        /// The window of a schedule closed, and lines remain for the next window.
        WindowClosed = "window_closed",
        /// 80 % of a `[spend]` limit is used. It comes once for each limit and its day or month, with the batch whose call it was.
        SpendClose = "spend_close",
        /// You try out whether notifications arrive, with `wavebatch notify test`.
        Test = "test",
    }
}

/// The wait after the `tries`th failed try, in ms: 10 s, doubling to 15 min, varied by up to a tenth by `jitter`
/// (0..1).
#[must_use]
pub fn wait_ms(tries: u32, jitter: f64) -> i64 {
    let doublings = tries.saturating_sub(1).min(16);
    let wait = (FIRST_WAIT_MS << doublings).min(LONGEST_WAIT_MS);
    #[expect(clippy::cast_possible_truncation, reason = "at most a tenth of 15 minutes, either way")]
    let more = ((jitter.clamp(0.0, 1.0) - 0.5) * 0.2 * wait as f64) as i64;
    wait + more
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_to_a_quarter_of_an_hour() {
        let waits = [1, 2, 3, 7, 8, 40].map(|tries| wait_ms(tries, 0.5));
        assert_eq!(waits, [10_000, 20_000, 40_000, 640_000, 900_000, 900_000]);
        assert_eq!((wait_ms(1, 0.0), wait_ms(1, 1.0)), (9_000, 11_000));
    }
}
