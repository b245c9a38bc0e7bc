//! What only shows how an answer looks, and where it goes: a change of it is delivered again, and buys nothing.

use crate::{
    definition::template::{Segment, Template},
    domain::{synthesis::Synthesis, task::TaskSpec},
};

/// Whether what is answered looks another way than before.
pub(super) fn differs(before: &TaskSpec, now: &TaskSpec) -> bool {
    match (before, now) {
        (TaskSpec::Transcribe(before), TaskSpec::Transcribe(now)) => sorted(&before.formats) != sorted(&now.formats),
        (TaskSpec::Synthesize { synthesize: before }, TaskSpec::Synthesize { synthesize: now }) => sounds(before, now),
        _ => true,
    }
}

fn sounds(before: &Synthesis, now: &Synthesis) -> bool {
    // A format that came has jobs of its own, and the jobs of one that went stay as they are.
    let renamed = now.formats.iter().any(|format| {
        let same =
            before.formats.iter().find(|old| (old.format, old.sample_rate) == (format.format, format.sample_rate));
        same.is_some_and(|old| old.ending != format.ending)
    });
    renamed || before.name != now.name || before.pause != now.pause || sorted(&before.captions) != sorted(&now.captions)
}

/// Whether the cells of a line are in its outputs' names: then a line that stays the same may change its name.
pub(super) fn is_named_by_cells(task: &TaskSpec) -> bool {
    const OWN: [&str; 5] = ["key", "voice_id", "language", "format", "sample_rate"];
    let Some(Ok(name)) = task.synthesis().map(|asked| Template::parse(&asked.name)) else { return false };
    name.segments().iter().any(|part| matches!(part, Segment::Name(name) if !OWN.contains(&name.as_str())))
}

fn sorted<T: Ord + Clone>(items: &[T]) -> Vec<T> {
    let mut items = items.to_vec();
    items.sort_unstable();
    items
}
