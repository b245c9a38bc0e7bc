//! What `check --analyze` says of the recordings that it listened to.

use super::words::{counted, dollars, duration, fact, grouped};
use crate::{
    domain::estimate::least_time,
    runner::intake::{Bought, Heard, Share},
};

/// What was heard, in facts. `rate`: the requests a minute. `priced`: whether audio has a known price and is not free.
pub(super) fn facts(heard: &Heard, rate: Option<u32>, priced: bool) -> Vec<String> {
    let mut facts = vec![fact("heard", headline(heard))];
    let kinds = kinds(heard);
    facts.extend((!kinds.is_empty()).then(|| fact("", kinds)));
    facts.extend((heard.listened > heard.not_heard.found).then(|| fact("", speech(heard))));
    let shares = [
        ("not heard", &heard.not_heard, " without a length and a price here"),
        ("", &heard.lacks_ffmpeg, " of these for want of ffmpeg"),
        ("broken", &heard.broken, " heard as far as readable"),
        ("ffmpeg", &heard.by_ffmpeg, " read by it"),
    ];
    for (name, share, what) in shares.into_iter().filter(|(_, share, _)| share.found > 0) {
        facts.push(fact(name, shown(share, heard.is_whole(), what)));
    }
    for way in &heard.ways {
        let about = bought(&way.bought, heard.is_whole(), priced);
        facts.push(fact(way.name, format!("{about}{}", least(way.bought.calls, rate))));
    }
    facts.extend(silence(heard, priced).map(|words| fact("silence", words)));
    facts
}

fn headline(heard: &Heard) -> String {
    let all = counted(heard.recordings, "recording");
    match heard.is_whole() {
        true => format!("{all}; nothing was sent"),
        false => format!("{} of {all}; nothing was sent. What follows is of all, by these", grouped(heard.listened)),
    }
}

/// How many are of each kind.
fn kinds(heard: &Heard) -> String {
    let kinds = &heard.kinds;
    let kinds = [
        (&kinds.mono, "mono"),
        (&kinds.stereo, "stereo (two voices apart)"),
        (&kinds.dual_mono, "dual mono"),
        (&kinds.one_sided, "one-sided"),
        (&kinds.many_channels, "of more than two channels"),
        (&kinds.silent, "silent"),
    ];
    let about = if heard.is_whole() { "" } else { "about " };
    let found = kinds.iter().filter(|(share, _)| share.found > 0);
    let words: Vec<_> = found.map(|(share, kind)| format!("{} {kind}", grouped(share.about))).collect();
    if words.is_empty() { String::new() } else { format!("{about}{}", words.join(", ")) }
}

fn speech(heard: &Heard) -> String {
    let about = if heard.is_whole() { "" } else { "about " };
    let off = match heard.give_or_take_ms {
        0 => String::new(),
        ms => format!(" ± {}", duration(ms)),
    };
    format!("{about}{}{off} of audio, with {} of speech", duration(heard.audio_ms), duration(heard.speech_ms))
}

/// How many recordings something is true of, and which is the first.
fn shown(share: &Share, is_whole: bool, what: &str) -> String {
    let one = share.example.as_ref().map(|one| format!(", e.g. {one}")).unwrap_or_default();
    let count = if is_whole { grouped(share.found) } else { format!("about {}", grouped(share.about)) };
    format!("{count}{what}{one}")
}

fn bought(bought: &Bought, is_whole: bool, priced: bool) -> String {
    let about = if is_whole { "" } else { "about " };
    let calls = format!("{about}{} for {} of audio", counted(bought.calls, "call"), duration(bought.audio_ms));
    if priced { format!("about {} in {calls}", dollars(bought.cost.0)) } else { calls }
}

/// How long the limit makes so many calls take.
fn least(calls: u64, rate: Option<u32>) -> String {
    match rate.map(|rate| least_time(calls, rate)) {
        None => String::new(),
        Some(0) => ", within the first minute's requests".to_owned(),
        Some(ms) => format!(", at least {}", duration(ms)),
    }
}

/// What silence costs, or does not.
fn silence(heard: &Heard, priced: bool) -> Option<String> {
    let (silence, whole) = (&heard.silence, heard.is_whole());
    if silence.calls == 0 {
        return None;
    }
    let what = bought(silence, whole, priced);
    Some(match heard.skips_silence {
        true => format!("no_speech = \"skip\" saves {what}: nobody speaks there"),
        false => format!("no_speech = \"skip\" would save {what}: nobody speaks there"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::batch::MicroUsd,
        runner::intake::{HeardKinds, WayTotal},
    };

    fn share(found: u64, of: u64, all: u64, example: &str) -> Share {
        Share { found, of, about: found * all / of, example: Some(example.to_owned()) }
    }

    fn way(name: &'static str, calls: u64, audio_ms: u64) -> WayTotal {
        let cost = MicroUsd(i64::try_from(audio_ms).unwrap() / 12);
        WayTotal { name, bought: Bought { calls, audio_ms, cost } }
    }

    fn heard(all: u64) -> Heard {
        Heard {
            recordings: all,
            listened: 6,
            kinds: HeardKinds {
                mono: share(1, 6, all, "a"),
                stereo: share(2, 6, all, "b"),
                dual_mono: share(1, 6, all, "c"),
                silent: share(1, 6, all, "d"),
                ..HeardKinds::default()
            },
            not_heard: share(1, 6, all, "e.amr: AMR needs ffmpeg"),
            lacks_ffmpeg: share(1, 6, all, "e.amr: AMR needs ffmpeg"),
            broken: share(2, 6, all, "b.wav: it is damaged there"),
            by_ffmpeg: share(1, 6, all, "c.wma (wmav2)"),
            audio_ms: all * 60_000,
            speech_ms: all * 20_000,
            ways: vec![way("mix", all, all * 60_000), way("split", all * 2, all * 120_000)],
            silence: way("", all / 6, all * 10_000).bought,
            ..Heard::default()
        }
    }

    #[test]
    fn what_was_heard_reads() {
        insta::assert_snapshot!(facts(&heard(6), Some(25), true).join("\n"), @r#"
          heard     6 recordings; nothing was sent
                    1 mono, 2 stereo (two voices apart), 1 dual mono, 1 silent
                    6 min 0 s of audio, with 2 min 0 s of speech
          not heard 1 without a length and a price here, e.g. e.amr: AMR needs ffmpeg
                    1 of these for want of ffmpeg, e.g. e.amr: AMR needs ffmpeg
          broken    2 heard as far as readable, e.g. b.wav: it is damaged there
          ffmpeg    1 read by it, e.g. c.wma (wmav2)
          mix       about $0.03 in 6 calls for 6 min 0 s of audio, within the first minute's requests
          split     about $0.06 in 12 calls for 12 min 0 s of audio, within the first minute's requests
          silence   no_speech = "skip" would save about $0.005 in 1 call for 1 min 0 s of audio: nobody speaks there
        "#);
        let sample = Heard { give_or_take_ms: 600_000, skips_silence: true, ..heard(6_000) };
        insta::assert_snapshot!(facts(&sample, Some(25), false).join("\n"), @r#"
          heard     6 of 6,000 recordings; nothing was sent. What follows is of all, by these
                    about 1,000 mono, 2,000 stereo (two voices apart), 1,000 dual mono, 1,000 silent
                    about 4 d 4 h ± 10 min 0 s of audio, with 33 h 20 min of speech
          not heard about 1,000 without a length and a price here, e.g. e.amr: AMR needs ffmpeg
                    about 1,000 of these for want of ffmpeg, e.g. e.amr: AMR needs ffmpeg
          broken    about 2,000 heard as far as readable, e.g. b.wav: it is damaged there
          ffmpeg    about 1,000 read by it, e.g. c.wma (wmav2)
          mix       about 6,000 calls for 4 d 4 h of audio, at least 3 h 59 min
          split     about 12,000 calls for 8 d 8 h of audio, at least 7 h 59 min
          silence   no_speech = "skip" saves about 1,000 calls for 16 h 40 min of audio: nobody speaks there
        "#);
    }

    #[test]
    fn nothing_heard_says_why() {
        let none = Heard { recordings: 1, listened: 1, not_heard: share(1, 1, 1, "a: no audio"), ..Heard::default() };
        let said = facts(&none, None, true).join("\n");
        assert!(said.contains("not heard 1 without a length") && !said.contains("of speech"), "{said}");
    }
}
