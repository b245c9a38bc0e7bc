//! Lengths of time in messages.

use std::time::Duration;

/// `30 s`, `1 h`, `1 h 30 min`, `14 d`: the form in messages.
#[must_use]
pub fn in_words(time: Duration) -> String {
    let ms = time.as_millis();
    let units = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1_000, "s"), (1, "ms")];
    let (mut rest, mut words) = (ms, Vec::new());
    for (size, unit) in units {
        if rest >= size {
            words.push(format!("{} {unit}", rest / size));
            rest %= size;
        }
    }
    if words.is_empty() { "0 s".to_owned() } else { words.join(" ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_in_words() {
        let times = [0, 500, 30_000, 3_600_000, 5_400_000, 1_209_600_000].map(|ms| in_words(Duration::from_millis(ms)));
        assert_eq!(times, ["0 s", "500 ms", "30 s", "1 h", "1 h 30 min", "14 d"]);
    }
}
