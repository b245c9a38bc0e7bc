//! What was heard in recordings before anything is paid, added up.

use super::{
    sample::Share,
    task::{HeardOffer, Sent},
};
use crate::{
    audio::analyze::{Hearing, Layout},
    domain::{
        cost::MicroUsd,
        estimate::{Sampled, extrapolate, guess},
    },
};

/// What was heard in the recordings of a manifest, and what it would cost to buy them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Heard {
    /// Recordings of the manifest.
    pub recordings: u64,
    /// Those that were listened to, with those that could not be heard.
    pub listened: u64,
    /// How many are of each kind.
    pub kinds: HeardKinds,
    /// Recordings that could not be heard: they have no length here, and no price.
    pub not_heard: Share,
    /// Those of them that only ffmpeg reads, which is not there.
    pub lacks_ffmpeg: Share,
    /// Recordings that ffmpeg read.
    pub by_ffmpeg: Share,
    /// Recordings that were not heard to their end.
    pub broken: Share,
    /// Length of all recordings, in ms.
    pub audio_ms: u64,
    /// The error bound of that, in ms; 0 if all were listened to.
    pub give_or_take_ms: u64,
    /// How long somebody speaks in all of them, in ms.
    pub speech_ms: u64,
    /// What each way of buying all recordings buys.
    pub ways: Vec<WayTotal>,
    /// What is not bought of all recordings if silence is skipped.
    pub silence: Bought,
    /// Whether silence is skipped already.
    pub skips_silence: bool,
}

/// How many recordings are of each kind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HeardKinds {
    /// One channel, in which somebody speaks.
    pub mono: Share,
    /// Two channels with a voice of their own each.
    pub stereo: Share,
    /// Two channels with the same sound.
    pub dual_mono: Share,
    /// Two channels of which one speaks.
    pub one_sided: Share,
    /// More channels than two.
    pub many_channels: Share,
    /// Nobody speaks, in however many channels.
    pub silent: Share,
}

/// What a way of buying buys of all recordings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WayTotal {
    /// The way, as a definition names it.
    pub name: &'static str,
    /// What it buys.
    pub bought: Bought,
}

/// What is bought.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bought {
    /// Calls.
    pub calls: u64,
    /// Audio in these calls, in ms.
    pub audio_ms: u64,
    /// Their cost at list price.
    pub cost: MicroUsd,
}

impl Heard {
    /// Whether all recordings were listened to.
    #[must_use]
    pub const fn is_whole(&self) -> bool {
        self.listened >= self.recordings
    }
}

/// Why a recording was not heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NotHeard {
    /// What is wrong, with the recording's name and without what is secret in its address.
    pub(super) why: String,
    /// Whether it needs an ffmpeg that is not there.
    pub(super) lacks_ffmpeg: bool,
}

/// Adds up recordings as they are heard, in any order.
#[derive(Debug, Default)]
pub(super) struct Tally {
    mono: Found,
    stereo: Found,
    dual_mono: Found,
    one_sided: Found,
    many_channels: Found,
    silent: Found,
    not_heard: Found,
    lacks_ffmpeg: Found,
    by_ffmpeg: Found,
    broken: Found,
    listened: u64,
    lengths: Vec<Sampled>,
    speech_ms: u64,
    ways: Vec<(&'static str, Sent)>,
    silence: Sent,
}

/// A count, and the first recording of it by its place in the manifest.
#[derive(Debug, Default)]
struct Found {
    count: u64,
    first: Option<(u64, String)>,
}

impl Found {
    fn add(&mut self, place: u64, example: &str) {
        self.count += 1;
        if self.first.as_ref().is_none_or(|(first, _)| place < *first) {
            self.first = Some((place, example.to_owned()));
        }
    }
}

impl Tally {
    /// Adds a recording that was heard; `name`: how it is shown.
    pub(super) fn heard(&mut self, (place, name): (u64, &str), heard: &Hearing, offer: HeardOffer) {
        self.listened += 1;
        let kind = match heard.layout {
            Layout::Mono => &mut self.mono,
            Layout::Apart { .. } => &mut self.stereo,
            Layout::DualMono => &mut self.dual_mono,
            Layout::OneSided { .. } => &mut self.one_sided,
            Layout::Many(_) => &mut self.many_channels,
            Layout::Silent => &mut self.silent,
        };
        kind.add(place, name);
        if heard.found.by_ffmpeg {
            self.by_ffmpeg.add(place, &format!("{name} ({})", heard.found.codec));
        }
        if let Some(why) = &heard.broken {
            self.broken.add(place, &format!("{name}: {why}"));
        }
        self.lengths.push(Sampled { bytes: 0, audio_ms: heard.length_ms, is_exact: heard.is_complete() });
        self.speech_ms += heard.speech_ms();
        if self.ways.is_empty() {
            self.ways = offer.ways;
        } else {
            for ((_, total), (_, sent)) in self.ways.iter_mut().zip(offer.ways) {
                *total += sent;
            }
        }
        self.silence += offer.silence;
    }

    /// Adds a recording that could not be heard.
    pub(super) fn not_heard(&mut self, place: u64, not_heard: &NotHeard) {
        self.listened += 1;
        self.not_heard.add(place, &not_heard.why);
        if not_heard.lacks_ffmpeg {
            self.lacks_ffmpeg.add(place, &not_heard.why);
        }
    }

    /// How many recordings were added.
    pub(super) const fn listened(&self) -> u64 {
        self.listened
    }

    /// What is true of all `recordings`, by those that were added.
    pub(super) fn finish(self, recordings: u64, cost: impl Fn(u64) -> MicroUsd) -> Heard {
        let listened = self.listened;
        let of_all = |n: u64| extrapolate(n, listened, recordings);
        let share = |found: Found| Share {
            found: found.count,
            of: listened,
            about: of_all(found.count),
            example: found.first.map(|(_, example)| example),
        };
        let bought = |sent: Sent| {
            let audio_ms = of_all(sent.audio_ms);
            Bought { calls: of_all(sent.calls), audio_ms, cost: cost(audio_ms) }
        };
        let heard_of_all = of_all(self.lengths.len() as u64);
        let guess = guess(&self.lengths, None, heard_of_all).unwrap_or_default();
        Heard {
            recordings,
            listened,
            kinds: HeardKinds {
                mono: share(self.mono),
                stereo: share(self.stereo),
                dual_mono: share(self.dual_mono),
                one_sided: share(self.one_sided),
                many_channels: share(self.many_channels),
                silent: share(self.silent),
            },
            not_heard: share(self.not_heard),
            lacks_ffmpeg: share(self.lacks_ffmpeg),
            by_ffmpeg: share(self.by_ffmpeg),
            broken: share(self.broken),
            audio_ms: of_all(self.lengths.iter().map(|sampled| sampled.audio_ms).sum()),
            give_or_take_ms: guess.give_or_take_ms,
            speech_ms: of_all(self.speech_ms),
            ways: self.ways.into_iter().map(|(name, sent)| WayTotal { name, bought: bought(sent) }).collect(),
            silence: bought(self.silence),
            skips_silence: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::analyze::{Break, Found as FoundFormat};

    fn heard(layout: Layout, length_ms: u64) -> Hearing {
        Hearing {
            found: FoundFormat::default(),
            length_ms,
            broken: None,
            notes: Vec::new(),
            channels: Vec::new(),
            layout,
            peak_ms: 500,
        }
    }

    fn offer(mix: u64, split: u64, audio_ms: u64) -> HeardOffer {
        let sent = |calls| Sent { calls, audio_ms: calls * audio_ms };
        HeardOffer { ways: vec![("mix", sent(mix)), ("split", sent(split))], silence: Sent::default() }
    }

    const fn cost(ms: u64) -> MicroUsd {
        MicroUsd((ms / 10) as i64)
    }

    #[test]
    fn recordings_are_counted_by_kind_and_priced_both_ways() {
        let mut tally = Tally::default();
        tally.heard((3, "c"), &heard(Layout::Mono, 1_000), offer(1, 1, 1_000));
        tally.heard((1, "a"), &heard(Layout::Apart { bleed: vec![] }, 2_000), offer(1, 2, 2_000));
        tally.heard((4, "d"), &heard(Layout::DualMono, 3_000), offer(1, 1, 3_000));
        tally.heard((5, "e"), &heard(Layout::OneSided { speaks: 0 }, 4_000), offer(1, 1, 4_000));
        let silence = Sent { calls: 1, audio_ms: 5_000 };
        tally.heard((6, "f"), &heard(Layout::Silent, 5_000), HeardOffer { silence, ..offer(1, 1, 5_000) });
        tally.not_heard(7, &NotHeard { why: "g: broken".into(), lacks_ffmpeg: false });
        tally.not_heard(2, &NotHeard { why: "b: AMR needs ffmpeg".into(), lacks_ffmpeg: true });
        let all = tally.finish(7, cost);
        assert!(all.is_whole());
        let kinds = &all.kinds;
        let counts =
            [&kinds.mono, &kinds.stereo, &kinds.dual_mono, &kinds.one_sided, &kinds.silent, &kinds.many_channels]
                .map(|share| share.found);
        assert_eq!(counts, [1, 1, 1, 1, 1, 0]);
        assert_eq!((all.not_heard.found, all.lacks_ffmpeg.found), (2, 1));
        assert_eq!(all.not_heard.example.as_deref(), Some("b: AMR needs ffmpeg"), "the first one of the manifest");
        assert_eq!((all.audio_ms, all.give_or_take_ms), (15_000, 0));
        let bought = |calls, audio_ms| Bought { calls, audio_ms, cost: cost(audio_ms) };
        assert_eq!(
            all.ways,
            [
                WayTotal { name: "mix", bought: bought(5, 15_000) },
                WayTotal { name: "split", bought: bought(6, 17_000) }
            ]
        );
        assert_eq!(all.silence, bought(1, 5_000));
    }

    #[test]
    fn a_sample_speaks_for_all() {
        let mut tally = Tally::default();
        let broken = Hearing { broken: Some(Break::TooLong), ..heard(Layout::Mono, 2_000) };
        tally.heard((1, "a"), &broken, offer(1, 1, 2_000));
        tally.heard((2, "b"), &heard(Layout::Apart { bleed: vec![] }, 4_000), offer(1, 2, 4_000));
        let all = tally.finish(20, cost);
        assert!(!all.is_whole());
        assert_eq!((all.kinds.stereo.found, all.kinds.stereo.of, all.kinds.stereo.about), (1, 2, 10));
        assert_eq!((all.audio_ms, all.ways[1].bought.calls, all.ways[1].bought.audio_ms), (60_000, 30, 100_000));
        assert!(all.give_or_take_ms > 0, "{all:?}");
        assert_eq!(all.broken.example.as_deref(), Some("a: it is longer than a recording may be"));
        let none = Tally::default().finish(0, cost);
        assert_eq!(none, Heard::default());
    }
}
