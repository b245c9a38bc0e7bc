//! Local recordings that are read to be compared with those of the ledger: how far that is, and what came of it.

use std::sync::OnceLock;

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use super::{
    Screen,
    messages::fact,
    words::{bytes, counted, grouped},
};
use crate::runner::intake::{Compared, ReadProgress, ReadWatch};

/// Tells how much is to be read before the first file is, and draws a bar where bars can be drawn.
pub(super) fn watch(screen: &Screen) -> ReadWatch {
    let (screen, bar) = (screen.clone(), OnceLock::new());
    ReadWatch::new(move |progress: ReadProgress| {
        let ReadProgress { files, bytes: all, read } = progress;
        let bar: &Option<ProgressBar> = bar.get_or_init(|| {
            let found = counted(files, "recording");
            screen.message(&fact(
                "reading",
                format!("{found} ({}) found in another way than before, to compare", bytes(all)),
            ));
            screen.draws().then(|| {
                let style = ProgressStyle::with_template("{bar:32} {msg}")
                    .expect("a constant template that is right")
                    .progress_chars("█▉▊▋▌▍▎▏ ");
                screen.bars().add(ProgressBar::new(all).with_style(style))
            })
        });
        let Some(bar) = bar else { return };
        bar.set_position(read);
        bar.set_message(format!("{} of {} read", bytes(read), bytes(all)));
        if read >= all {
            bar.finish_and_clear();
        }
    })
}

/// What came of it.
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
        facts.push(fact("renewed", format!("{what} with another place or time and the same content: nothing to buy")));
    }
    if compared.other > 0 {
        let what = match compared.other {
            1 => "1 recording is another one than before".to_owned(),
            n => format!("{} recordings are others than before", grouped(n)),
        };
        facts.push(fact("changed", format!("{what}: to be bought")));
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

/// The same for programs.
pub(super) fn in_json(compared: &Compared, readdressed: Option<&str>) -> Value {
    json!({
        "read": compared.read,
        "read_bytes": compared.read_bytes,
        "renewed": compared.renewed,
        "other": compared.other,
        "unreadable": compared.unreadable,
        "address_before": readdressed,
    })
}
