//! The result of comparing local recordings with the ledger.

use super::words::{bytes, counted, fact, grouped};
use crate::runner::intake::Compared;

/// The result as text.
pub(super) fn compared(compared: &Compared, readdressed: Option<&str>) -> Vec<String> {
    let mut facts = Vec::new();
    if let Some(before) = readdressed {
        facts.push(fact("address", format!("the batch's manifest was at {before}; it is here from now on")));
    }
    if compared.read > 0 {
        let what = counted(compared.read, "recording");
        facts.push(fact("read", format!("{what} ({}) whose place or time has changed", bytes(compared.read_bytes))));
    }
    if compared.renewed > 0 {
        let what = counted(compared.renewed, "recording");
        facts.push(fact(
            "renewed",
            format!("{what} with another place or time and the same content: nothing to pay for"),
        ));
    }
    if compared.other > 0 {
        let what = match compared.other {
            1 => "1 recording is another one than before".to_owned(),
            n => format!("{} recordings are others than before", grouped(n)),
        };
        facts.push(fact("changed", format!("{what}: to be paid for")));
    }
    if compared.unreadable > 0 {
        let what = counted(compared.unreadable, "recording");
        let named = match compared.named.is_empty() {
            true => String::new(),
            false => format!(": {}", compared.named.join(", ")),
        };
        facts.push(fact("unread", format!("{what} cannot be read to be compared; what is known of them stays{named}")));
    }
    facts
}
