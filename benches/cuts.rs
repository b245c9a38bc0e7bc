//! What becomes of recordings that are sent in pieces or packed: whether words are lost or doubled, and what is paid for. `cargo bench
//! --bench cuts` makes them of the sandbox's voices, which its ear reads back, and prints the counts.
#![expect(clippy::print_stdout, reason = "a benchmark prints its result")]
#![expect(clippy::cast_precision_loss, reason = "what is printed are shares")]

use std::{env, fs, io::Cursor, path::Path, sync::Mutex, time::Instant};

use wavebatch::{
    audio::analyze::{ChannelHearing, HearSettings, Layout, Target, convert, hear},
    domain::{
        cuts::{Cuts, PACKED_PIECE_MS},
        hearing::{HeardSpeech, Stretch, total_ms},
        transcript::{Answered, Restored, Stitched, TimedText, Transcript},
    },
    sandbox::fixtures::{Line, Random, Recording, Script, ScriptWord, heard_in},
};

/// Recordings that are sent in pieces, and the longest piece.
const LONG: u64 = 50;
const PIECE_MS: u64 = 600_000;
/// What differs within this of a joint counts as the joint's.
const NEAR_MS: u64 = 10_000;
/// Calls that are packed.
const CALLS: u64 = 60;
const TURNS: [&str; 10] = [
    "Good morning, this is the service desk, how may I help you today?",
    "Hello, I call about my order from last week, it did not arrive.",
    "I am sorry to hear that. May I have the order number please?",
    "Yes, it is 4711, and my name is Brown.",
    "Thank you, one moment please, I look it up.",
    "No problem, take your time.",
    "I see it here, it was sent on Monday and it is in your town now.",
    "Then when will it be here?",
    "Tomorrow before noon, I am quite sure of that.",
    "Fine, thank you very much, goodbye!",
];

fn main() {
    let wanted: Vec<String> = env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|one| one == name);
    if is_wanted("pieces") {
        pieces();
    }
    if is_wanted("packed") {
        packed();
    }
}

/// Works on these numbers with all cores.
fn on_all_cores(count: u64, work: impl Fn(u64) + Sync) {
    let next = Mutex::new(0..count);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                loop {
                    let number = next.lock().expect("no thread panics").next();
                    let Some(number) = number else { return };
                    work(number);
                }
            });
        }
    });
}

/// Somebody who goes on speaking, with pauses of up to two seconds.
fn talk(seed: u64) -> Script {
    let mut random = Random::new(seed);
    let length_ms = 1_800_000 + random.below(3_600_000);
    let (mut lines, mut at_ms) = (Vec::new(), 300);
    while at_ms + 8_000 < length_ms {
        let words = TURNS[random.below(10) as usize];
        lines.push(Line { channel: 0, at_ms, words: words.into(), voice: (seed % 5) as usize, gain_db: 0.0 });
        at_ms += words.len() as u64 * 1_000_000 / 15 / 850 + 100 + random.below(2_000);
    }
    Script { rate: 8_000, channels: 1, lines, noise_db: Some(-62.0), length_ms, ..Script::default() }
}

fn call(seed: u64) -> Script {
    let mut random = Random::new(seed);
    let (mut lines, mut at_ms) = (Vec::new(), 300 + random.below(3_000));
    // From one to some nine minutes of talk.
    for turn in 0..(20 + random.below(160)) as usize {
        let words = TURNS[turn % 10];
        let channel = turn % 2;
        lines.push(Line { channel, at_ms, words: words.into(), voice: channel * 3, gain_db: 0.0 });
        let length = words.len() as u64 * 1_000_000 / 15 / 850;
        at_ms += if random.below(6) == 0 { length.saturating_sub(700) } else { length + 300 + random.below(6_000) };
    }
    // Without noise: before its first word, the ear takes noise for somebody else.
    Script { rate: 8_000, lines, ..Script::default() }
}

/// What the sandbox's ear hears of what is sent.
fn answer(path: &Path, cuts: &Cuts) -> Transcript {
    let mut out = Cursor::new(Vec::new());
    convert(path, &HearSettings::default(), cuts, Target::Wav16k, &mut out, &|| false).expect("a good recording");
    let sent = out.into_inner();
    let samples: Vec<f32> =
        sent[44..].as_chunks::<2>().0.iter().map(|bytes| f32::from(i16::from_le_bytes(*bytes)) / 32_768.0).collect();
    let mut transcript = Transcript::default();
    for word in heard_in(&samples, 16_000) {
        if !transcript.text.is_empty() {
            transcript.text.push(' ');
        }
        transcript.text.push_str(&word.word);
        let (start_ms, end_ms) = (word.from_ms, word.to_ms.max(word.from_ms));
        transcript.words.push(TimedText { text: &word.word, start_ms, end_ms, speaker: None });
    }
    transcript
}

/// Which words of one list are not in the other, in order, with as few differences as possible: the places in `said` of lost words,
/// and those in `found` of words that nobody said.
fn differences(found: &[String], said: &[String]) -> (Vec<usize>, Vec<usize>) {
    let (mut lost, mut more, mut i, mut j) = (Vec::new(), Vec::new(), 0, 0);
    while i < found.len() && j < said.len() {
        if found[i] == said[j] {
            (i, j) = (i + 1, j + 1);
            continue;
        }
        // The nearest place from which on eight words are the same again.
        let same = |a: usize, b: usize| found[i + a..].iter().zip(&said[j + b..]).take(8).all(|(a, b)| a == b);
        let next = (1..60)
            .flat_map(|sum| (0..=sum).map(move |a| (a, sum - a)))
            .find(|(a, b)| i + a <= found.len() && j + b <= said.len() && same(*a, *b));
        let (a, b) = next.unwrap_or((1, 1));
        more.extend(i..i + a);
        lost.extend(j..j + b);
        (i, j) = (i + a, j + b);
    }
    more.extend(i..found.len());
    lost.extend(j..said.len());
    (lost, more)
}

fn texts<'a>(words: impl Iterator<Item = &'a str>) -> Vec<String> {
    words.map(str::to_lowercase).collect()
}

fn pieces() {
    let (began, total) = (Instant::now(), Mutex::new([0; 7]));
    on_all_cores(LONG, |number| {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("talk.wav");
        let recording = talk(number + 1).record();
        fs::write(&path, recording.wav()).expect("room for a recording");
        let length_ms = hear_length(&recording);
        let whole = Cuts::of_channel(None, [Stretch { from_ms: 0, to_ms: length_ms }]);
        let calls = whole.split(PIECE_MS);
        let heard: Vec<Answered> = calls
            .iter()
            .map(|cuts| {
                let (_, said) = Restored::of(answer(&path, cuts), cuts).channels.remove(0);
                Answered { covers: cuts.covers(None).expect("a piece has audio"), said }
            })
            .collect();
        let stitched = Stitched::of(&heard);
        let found = texts(stitched.whole.words.iter().map(|word| word.text));
        let said = texts(recording.words.iter().map(|word| word.word.as_str()));
        let (lost, more) = differences(&found, &said);
        let late = if lost.is_empty() && more.is_empty() {
            let pairs = stitched.whole.words.iter().zip(&recording.words);
            pairs.filter(|(a, b)| a.start_ms.abs_diff(b.from_ms) > 80).count()
        } else {
            0
        };
        // Elsewhere the ear itself errs.
        let is_at_joint = |at_ms: u64| {
            heard.windows(2).any(|pair| {
                let (from, to) = (pair[1].covers.from_ms, pair[0].covers.to_ms);
                (from.saturating_sub(NEAR_MS)..to + NEAR_MS).contains(&at_ms)
            })
        };
        let starts: Vec<u64> = stitched.whole.words.iter().map(|word| word.start_ms).collect();
        let doubled = more.iter().filter(|at| is_at_joint(starts[**at])).count();
        let lost_there = lost.iter().filter(|at| is_at_joint(recording.words[**at].from_ms)).count();
        let elsewhere = lost.len() + more.len() - doubled - lost_there;
        let lost = lost_there;
        let mut total = total.lock().expect("no thread panics");
        for (sum, own) in
            total.iter_mut().zip([said.len(), heard.len() - 1, lost, doubled, stitched.doubtful, late, elsewhere])
        {
            *sum += own;
        }
    });
    let [words, joints, lost, doubled, doubtful, late, elsewhere] = total.into_inner().expect("no thread panics");
    println!(
        "pieces: {LONG} recordings of 30 to 90 min, {words} words, {joints} joints: within {} s of them {lost} words lost and {doubled} doubled; {doubtful} joints in doubt; elsewhere the ear misheard {elsewhere} words; in the recordings without any of these, {late} words over 80 ms off ({:.0} s)",
        NEAR_MS / 1_000,
        began.elapsed().as_secs_f64()
    );
}

fn hear_length(recording: &Recording) -> u64 {
    recording.planes[0].len() as u64 * 1_000 / 8_000
}

fn own_speech(channel: &ChannelHearing) -> Vec<Stretch> {
    let own = channel.segments.iter().filter(|segment| !segment.echo);
    own.map(|segment| Stretch { from_ms: segment.from_ms, to_ms: segment.to_ms }).collect()
}

fn packed() {
    let (began, total) = (Instant::now(), Mutex::new([0u64; 9]));
    on_all_cores(CALLS, |number| {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("call.wav");
        let recording = call(number + 1).record();
        fs::write(&path, recording.wav()).expect("room for a recording");
        let heard = hear(&path, &HearSettings::default(), &|| false).expect("a good recording");
        assert!(matches!(heard.layout, Layout::Apart { .. }), "two sides: {:?}", heard.layout);
        let channels: Vec<Vec<Stretch>> = heard.channels.iter().map(own_speech).collect();
        let packed = Cuts::packed((1..).zip(channels.iter().map(Vec::as_slice)), heard.length_ms);
        let padded: u64 = packed.list.iter().map(|cut| cut.at.len_ms()).sum();
        let calls = packed.split(PACKED_PIECE_MS);
        let sent: u64 = calls.iter().map(Cuts::sent_ms).sum();
        let speech = HeardSpeech { channels: channels.clone(), length_ms: heard.length_ms };
        let mut sides = [Vec::new(), Vec::new()];
        let mut is_sound = true;
        for cuts in &calls {
            let restored = Restored::of(answer(&path, cuts), cuts);
            is_sound &= restored.is_sound(&speech);
            for (channel, said) in restored.channels {
                let covers = cuts.covers(channel).expect("it was sent");
                sides[usize::from(channel.unwrap_or(1)) - 1].push(Answered { covers, said });
            }
        }
        let (mut in_packed, mut in_split, mut said_all) = (0, 0, 0);
        for (nth, side) in sides.iter().enumerate() {
            let said: Vec<&ScriptWord> = recording.words.iter().filter(|word| word.channel == nth).collect();
            let whole = Stitched::of(side).whole;
            let channel = Some(nth as u16 + 1);
            let apart = answer(&path, &Cuts::of_channel(channel, [Stretch { from_ms: 0, to_ms: u64::MAX }]));
            let right = |transcript: &Transcript| {
                let is = |said: &&&ScriptWord| {
                    let same = |word: TimedText<'_>| {
                        word.text.eq_ignore_ascii_case(&said.word) && word.start_ms.abs_diff(said.from_ms) <= 100
                    };
                    transcript.words.iter().any(same)
                };
                said.iter().filter(is).count() as u64
            };
            (in_packed, in_split, said_all) =
                (in_packed + right(&whole), in_split + right(&apart), said_all + said.len() as u64);
        }
        let talk: u64 = channels.iter().map(|speech| total_ms(speech)).sum();
        let own = [
            talk,
            padded,
            sent,
            in_packed,
            in_split,
            said_all,
            u64::from(!is_sound),
            calls.len() as u64,
            heard.length_ms,
        ];
        total.lock().expect("no thread panics").iter_mut().zip(own).for_each(|(sum, own)| *sum += own);
    });
    let [talk, padded, sent, in_packed, in_split, said, unsound, calls, length] =
        total.into_inner().expect("no thread panics");
    let of = |one: u64, other: u64| one as f64 / other as f64;
    println!(
        "packed: {CALLS} calls of {} min in {calls} requests: sent {:.3} of the talk time, {:.3} of the padded speech, {:.2} of two whole channels; of {said} words {in_packed} are right, {in_split} of split ({:.2} %); {unsound} would be bought again ({:.0} s)",
        length / 60_000,
        of(sent, talk),
        of(sent, padded),
        of(sent, 2 * length),
        100.0 * of(in_packed, in_split),
        began.elapsed().as_secs_f64()
    );
}
