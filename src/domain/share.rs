//! How definitions share the calls of a pool, over all processes of a ledger.

/// The least and the largest `[run] priority`.
pub const PRIORITIES: std::ops::RangeInclusive<u32> = 1..=100;
/// The weight of a definition that names none.
pub const DEFAULT_PRIORITY: u32 = 10;
/// How long a process leaves a free slot to a definition of another process whose turn it is, in ms. Then it takes it.
pub const COURTESY_MS: i64 = 250;

/// A definition that waits for calls of a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Contender {
    /// Its calls of the last minute, and those in flight.
    pub used: u32,
    /// Its weight.
    pub priority: u32,
    /// How many calls it waits for.
    pub waiting: u32,
    /// Whether only other processes have lines of it that wait.
    pub elsewhere: bool,
}

impl Contender {
    /// What it would have used, in parts of its weight, as a fraction. A slot changes hands between processes only for a
    /// definition that is behind even with it: else each slot would wait for the other process to notice it.
    fn rank(&self) -> (u64, u64) {
        (u64::from(self.used) + u64::from(self.elsewhere), u64::from(self.priority.max(1)))
    }
}

/// Whose turn it is: the place of the definition that used least for its weight, among those that wait.
#[must_use]
pub fn next_in_turn(contenders: &[Contender]) -> Option<usize> {
    let waiting = contenders.iter().enumerate().filter(|(_, one)| one.waiting > 0);
    let next = waiting.min_by(|(_, a), (_, b)| {
        let ((a_used, a_weight), (b_used, b_weight)) = (a.rank(), b.rank());
        (a_used * b_weight).cmp(&(b_used * a_weight)).then(a.elsewhere.cmp(&b.elsewhere))
    });
    next.map(|(place, _)| place)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn here(used: u32, priority: u32, waiting: u32) -> Contender {
        Contender { used, priority, waiting, elsewhere: false }
    }

    const fn there(used: u32, priority: u32, waiting: u32) -> Contender {
        Contender { used, priority, waiting, elsewhere: true }
    }

    #[test]
    fn whoever_used_least_for_its_weight_is_next() {
        assert_eq!(next_in_turn(&[]), None);
        assert_eq!(next_in_turn(&[here(0, 10, 0)]), None, "it waits for nothing");
        assert_eq!(next_in_turn(&[here(60, 10, 400), here(0, 10, 20)]), Some(1));
        assert_eq!(next_in_turn(&[here(30, 30, 400), here(11, 10, 20)]), Some(0));
        assert_eq!(next_in_turn(&[here(31, 30, 400), here(10, 10, 20)]), Some(1));
        assert_eq!(next_in_turn(&[here(5, 10, 0), there(60, 10, 1)]), Some(1), "nobody else waits");
    }

    #[test]
    fn a_slot_changes_hands_only_for_who_is_behind_with_it() {
        assert_eq!(next_in_turn(&[here(6, 10, 1), there(5, 10, 1)]), Some(0));
        assert_eq!(next_in_turn(&[here(6, 10, 1), there(4, 10, 1)]), Some(1));
        assert_eq!(next_in_turn(&[here(60, 10, 1), there(0, 10, 1)]), Some(1));
    }

    #[test]
    fn shares_follow_the_weights() {
        let mut all = [here(0, 10, u32::MAX), here(0, 30, u32::MAX), here(0, 1, u32::MAX)];
        for _ in 0..4_100 {
            let next = next_in_turn(&all).unwrap();
            all[next].used += 1;
        }
        assert_eq!(all.map(|one| one.used), [1_000, 3_000, 100]);
    }
}
