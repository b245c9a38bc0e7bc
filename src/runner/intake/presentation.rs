//! What only shows how an answer looks, and where it goes: a change of it is delivered again, and buys nothing.

use crate::domain::{built_in::BuiltIn, synthesis::Synthesis, task::TaskSpec, transcription::Transcription};

/// Whether what is answered looks another way than before.
pub(super) fn differs(before: &TaskSpec, now: &TaskSpec) -> bool {
    match (before.built_in(), now.built_in()) {
        (Ok(BuiltIn::Transcribe(before)), Ok(BuiltIn::Transcribe(now))) => {
            sorted(&before.formats) != sorted(&now.formats)
        }
        (Ok(BuiltIn::Synthesize(before)), Ok(BuiltIn::Synthesize(now))) => audio(&before, &now),
        _ => true,
    }
}

/// Whether captions are asked for that were not: answers that were bought without word times have none for them.
pub(super) fn adds_captions(before: &TaskSpec, now: &TaskSpec) -> bool {
    let (Ok(before), Ok(now)) = (before.read::<Transcription>(), now.read::<Transcription>()) else { return false };
    now.formats.iter().any(|format| format.needs_words() && !before.formats.contains(format))
}

/// A name is each job's own, and compared line by line.
fn audio(before: &Synthesis, now: &Synthesis) -> bool {
    before.pause != now.pause || sorted(&before.captions) != sorted(&now.captions)
}

fn sorted<T: Ord + Clone>(items: &[T]) -> Vec<T> {
    let mut items = items.to_vec();
    items.sort_unstable();
    items
}
