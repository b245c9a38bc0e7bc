//! When somebody speaks in a recording, out of what was heard in it.

use crate::{
    audio::analyze::Hearing,
    domain::hearing::{HeardSpeech, Stretch},
};

/// The speech of a recording: each channel's own, and the echoes of others on it.
pub(super) struct Heard {
    pub(super) own: HeardSpeech,
    pub(super) echoes: HeardSpeech,
}

/// The speech of a recording, as it was heard.
pub(super) fn speech(heard: &Hearing) -> Heard {
    let channels = |echo: bool| {
        let of = heard.channels.iter().map(|channel| {
            let segments = channel.segments.iter().filter(|segment| segment.echo == echo);
            segments.map(|segment| Stretch { from_ms: segment.from_ms, to_ms: segment.to_ms }).collect()
        });
        HeardSpeech { channels: of.collect(), length_ms: heard.length_ms }
    };
    Heard { own: channels(false), echoes: channels(true) }
}
