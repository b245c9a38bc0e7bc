//! The reasons to refuse a callback.

use crate::domain::options::listed;

listed! {
    /// The reason to refuse a callback.
    Refusal, "refusal" {
        /// Nothing proves that it belongs to one of our calls.
        Unknown = "unknown",
        /// It is not a callback, or it is incomplete.
        Unreadable = "unreadable",
        /// It is larger than the limit.
        TooLarge = "too_large",
        /// It did not arrive in time.
        TooSlow = "too_slow",
        /// The ledger could not store it.
        Ledger = "ledger",
        /// There was no memory free for its body.
        Crowded = "crowded",
    }
}
