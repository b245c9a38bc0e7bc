//! Makes speech of a text: which burst says which word, and the bytes of them in every format.

use unicode_segmentation::UnicodeSegmentation;

use super::{
    code,
    mp3_tones::ToneFrames,
    tones::{Band, tone_len},
    words::WordTable,
};
use crate::{
    audio::{
        g711::{alaw_decode, alaw_encode, ulaw_decode, ulaw_encode},
        mp3, wav,
    },
    domain::synthesis_options::{AudioFormat, SampleRate},
    sandbox::faults::{SpeechFlaw, mix},
};

/// How fast is spoken, in characters a second at the voice's own pace.
const CHARS_PER_SECOND: u64 = 15;
/// The longest piece that is one word, in characters: scripts without spaces have no words to tell apart.
const LONGEST_WORD: usize = 24;
/// The pieces of such a script that are said as one word, in characters.
const PIECE: usize = 6;
/// Stands behind a piece that no space follows.
pub(super) const JOINER: char = '\u{2060}';
/// Frames of silence before a word: the tone of a frame sounds on in the next one.
const FRAME_GAP: usize = 2;
/// The greatest sample of the noise that a speech begins with.
const GRAIN: i16 = 40;

/// What is spoken, and how.
#[derive(Debug, Clone, Copy)]
pub(in crate::sandbox) struct Spoken<'a> {
    /// The text.
    pub text: &'a str,
    /// Whose voice it is.
    pub band: Band,
    /// Differs where anything that shapes the sound does.
    pub seed: u64,
    /// Samples a second.
    pub rate: SampleRate,
    /// Thousandths of the voice's own pace.
    pub pace: u16,
    /// How many times as long as it should be.
    pub factor: f64,
    /// What is wrong with it.
    pub flaw: Option<SpeechFlaw>,
}

/// A speech.
#[derive(Debug)]
pub(in crate::sandbox) struct Speech<'a> {
    spoken: Spoken<'a>,
    /// How many samples it has.
    len: usize,
    words: Vec<Word>,
}

/// A word that is to be said.
#[derive(Debug, Clone)]
struct Word {
    /// Characters, with what follows up to the next word.
    characters: usize,
    /// How it can be told: spelled, and by its index.
    spelled: Option<Vec<u8>>,
    index: Option<Vec<u8>>,
}

/// A word with its time.
struct Burst<'a> {
    /// Where its tones begin.
    at: usize,
    /// How many tones there is time for.
    tones: usize,
    /// Its code; empty if there is no time for it.
    digits: &'a [u8],
}

impl<'a> Speech<'a> {
    /// As long as the text's characters take; `table` keeps its words.
    pub(in crate::sandbox) fn new(spoken: Spoken<'a>, table: &WordTable) -> Self {
        let characters = spoken.text.chars().count() as u64;
        let thousandths = characters * u64::from(spoken.rate.hz()) * 1000;
        let len = thousandths as f64 * spoken.factor / (CHARS_PER_SECOND * u64::from(spoken.pace)) as f64;
        let words = match spoken.flaw {
            Some(SpeechFlaw::OtherWords) => words(&other_words(spoken.text, spoken.seed), table),
            _ => words(spoken.text, table),
        };
        Self { spoken, len: len.round() as usize, words }
    }

    /// When each word begins and ends in the samples, in seconds; of a word that there is no time for, when it would.
    pub(in crate::sandbox) fn times(&self) -> Vec<(f64, f64)> {
        let tone_len = tone_len(self.spoken.rate);
        let seconds = |samples: usize| samples as f64 / f64::from(self.spoken.rate.hz());
        let bursts = self.bursts(self.len, tone_len, tone_len);
        let end = |burst: &Burst<'_>| burst.at + burst.tones.max(burst.digits.len()) * tone_len;
        bursts.iter().map(|burst| (seconds(burst.at), seconds(end(burst)))).collect()
    }

    /// The words of the text without the punctuation around them, each with its start and its end in seconds.
    pub(in crate::sandbox) fn timed_words(&self) -> Vec<(String, f64, f64)> {
        let mut times = self.times().into_iter();
        let mut timed = Vec::new();
        for token in self.spoken.text.split_whitespace() {
            let own: Vec<_> = times.by_ref().take(pieces(token).len()).collect();
            let (Some((start, _)), Some((_, end))) = (own.first(), own.last()) else { break };
            let word = token.trim_matches(|c: char| !c.is_alphanumeric() && c != '$');
            if word.chars().any(char::is_alphanumeric) {
                timed.push((word.to_owned(), *start, *end));
            }
        }
        timed
    }

    /// The sound in this format; `comment` is kept where the format has a place for it.
    pub(in crate::sandbox) fn encoded(&self, format: AudioFormat, comment: &str) -> Vec<u8> {
        match format {
            AudioFormat::Wav => {
                let samples = self.linear();
                let header = wav::header_with_comment(1, self.spoken.rate.hz(), comment, samples.len() as u64);
                [header.expect("8,000 characters are far from 4 GiB"), samples].concat()
            }
            AudioFormat::Pcm => self.linear(),
            AudioFormat::Ulaw => self.coded(|sample| [ulaw_encode(sample)], |code| ulaw_decode(code[0])),
            AudioFormat::Alaw => self.coded(|sample| [alaw_encode(sample)], |code| alaw_decode(code[0])),
            AudioFormat::Mp3 => self.frames(),
            // No file of any format: who gets it can only pass it on.
            AudioFormat::Other(_) => self.linear().chunks_exact(2).map(|sample| sample[1] | 1).collect(),
        }
    }

    fn linear(&self) -> Vec<u8> {
        self.coded(i16::to_le_bytes, i16::from_le_bytes)
    }

    /// The samples in a code of `N` bytes each.
    fn coded<const N: usize>(&self, encode: impl Fn(i16) -> [u8; N], decode: impl Fn([u8; N]) -> i16) -> Vec<u8> {
        let Spoken { rate, band, seed, .. } = self.spoken;
        let tone_len = tone_len(rate);
        let tones = band.tones(rate).map(|tone| tone.iter().flat_map(|sample| encode(*sample)).collect::<Vec<u8>>());
        let mut bytes = encode(0).repeat(self.len);
        let mut grain = seed;
        for sample in bytes.chunks_exact_mut(N).take(tone_len) {
            grain = mix(grain);
            sample.copy_from_slice(&encode((grain % (2 * GRAIN as u64)) as i16 - GRAIN));
        }
        for burst in self.bursts(self.len, tone_len, tone_len) {
            for (at, digit) in burst.all_digits(seed).enumerate() {
                let from = (burst.at + at * tone_len) * N;
                bytes[from..from + tone_len * N].copy_from_slice(&tones[usize::from(digit)]);
            }
        }
        if self.len < 2 * tone_len {
            // No time for a gap and a tone: a sound all the same.
            let quiet = self.len / 4 * N;
            let sound = tones[0].iter().copied().cycle().take(bytes.len() - quiet).collect::<Vec<u8>>();
            bytes[quiet..].copy_from_slice(&sound);
        }
        if let Some(flaw) = self.spoken.flaw {
            let mut samples: Vec<i16> =
                bytes.chunks_exact(N).map(|code| decode(code.try_into().expect("chunks of N"))).collect();
            spoil(&mut samples, flaw, rate);
            bytes = samples.into_iter().flat_map(encode).collect();
        }
        bytes
    }

    /// MPEG frames at 32 kbit/s, to the end of the one that the sound ends in. A tone is a frame long: at 8,000 Hz that is so
    /// long that few words can be told.
    fn frames(&self) -> Vec<u8> {
        let Spoken { rate, band, seed, flaw, .. } = self.spoken;
        let gain_db = match flaw {
            Some(SpeechFlaw::Level(decibel)) => decibel,
            Some(SpeechFlaw::Clipped) => CLIPPED_GAIN_DB,
            _ => 0.0,
        };
        let frames = ToneFrames::new(band, rate, gain_db, seed);
        let count = self.len.div_ceil(mp3::samples_per_frame(rate) as usize);
        let mut digits = vec![None; count];
        // Decoders are up to a frame late, and drop what would come after the last one.
        for burst in self.bursts(count.saturating_sub(1), 1, FRAME_GAP) {
            for (at, digit) in burst.all_digits(seed).enumerate() {
                digits[burst.at + at] = Some(digit);
            }
        }
        if count < FRAME_GAP + 2 {
            digits.fill(Some(0));
        }
        match flaw {
            Some(SpeechFlaw::Silent) => digits.fill(None),
            Some(SpeechFlaw::HalfSilent) => digits[count / 2..].fill(None),
            Some(SpeechFlaw::ConstantSound) => digits.fill(Some(0)),
            _ => {}
        }
        let frame = |digit: Option<u8>| digit.map_or(&frames.silence, |digit| &frames.tones[usize::from(digit)]);
        digits.into_iter().flat_map(frame).copied().collect()
    }

    /// The words with their times, in units of which a tone takes `tone`, and the silence before a word `gap`.
    fn bursts(&self, len: usize, tone: usize, gap: usize) -> Vec<Burst<'_>> {
        let characters: usize = self.words.iter().map(|word| word.characters).sum();
        let natural = |word: &Word| word.characters as f64 * len as f64 / characters.max(1) as f64;
        let need = |digits: &[u8]| (digits.len() * tone + gap) as f64;
        let codes = self.codes(need, len as f64);
        let lacking = |(word, code): (&Word, &&[u8])| (need(code) - natural(word)).max(0.0);
        let pairs = || self.words.iter().zip(&codes);
        let lack: f64 = pairs().map(lacking).sum();
        let spare: f64 = pairs().map(|(word, code)| (natural(word) - need(code)).max(0.0)).sum();
        let borrowed = if spare > 0.0 { (lack / spare).min(1.0) } else { 0.0 };
        // Where there is not time enough for all words, each keeps its own, and those that do not fit are not told.
        let all_fit = lack <= spare + 1e-3;
        let mut end = 0.0;
        let mut bursts = Vec::with_capacity(codes.len());
        for (word, code) in pairs() {
            let (own, need) = (natural(word), need(code));
            let taken = match all_fit {
                true if own < need => need,
                true => own - (own - need) * borrowed,
                false => own,
            };
            let at = f64::round(end) as usize;
            end += taken;
            let to = (f64::round(end) as usize).min(len);
            // Rounding may take one unit from a word that has exactly its time; the gap that follows is longer than that.
            let fits = to - at + 1 >= need as usize && at + need as usize <= len;
            bursts.push(Burst {
                at: at + gap,
                tones: (to - at).saturating_sub(gap) / tone,
                digits: if fits { code } else { &[] },
            });
        }
        bursts
    }

    /// How each word is told: spelled as far as there is time, so that any sandbox reads it.
    fn codes(&self, need: impl Fn(&[u8]) -> f64, len: f64) -> Vec<&[u8]> {
        let shortest = |word: &Word| {
            let both = [&word.spelled, &word.index].into_iter().flatten();
            both.map(|digits| need(digits)).fold(f64::INFINITY, f64::min)
        };
        let mut spare = len - self.words.iter().map(shortest).filter(|need| need.is_finite()).sum::<f64>();
        let mut codes: Vec<&[u8]> = Vec::with_capacity(self.words.len());
        for word in &self.words {
            let more = word.spelled.as_ref().map(|spelled| need(spelled) - shortest(word));
            let is_spelled = more.is_some_and(|more| more <= spare.max(0.0)) || word.index.is_none();
            if is_spelled {
                spare -= more.unwrap_or_default();
            }
            codes.push(if is_spelled { &word.spelled } else { &word.index }.as_deref().unwrap_or_default());
        }
        codes
    }
}

impl Burst<'_> {
    /// The digits of its code, and then others, as many as there is time for.
    fn all_digits(&self, seed: u64) -> impl Iterator<Item = u8> + use<'_> {
        let mut seed = seed ^ self.at as u64;
        let others = std::iter::repeat_with(move || {
            seed = mix(seed);
            (seed % 10) as u8
        });
        self.digits.iter().copied().chain(others).take(self.tones.max(self.digits.len()))
    }
}

/// The words of a text, and of a text without spaces its pieces.
fn words(text: &str, table: &WordTable) -> Vec<Word> {
    let mut words: Vec<Word> = Vec::new();
    let mut lead = 0;
    for token in text.split_inclusive(char::is_whitespace) {
        let said = token.trim_end();
        let blanks = token.chars().count() - said.chars().count();
        if said.is_empty() {
            // Blanks belong to the word before; those before the first one, to that.
            match words.last_mut() {
                Some(word) => word.characters += blanks,
                None => lead += blanks,
            }
            continue;
        }
        let pieces = pieces(said);
        let count = pieces.len();
        for (at, piece) in pieces.into_iter().enumerate() {
            let is_last = at + 1 == count;
            let own = piece.chars().count();
            let name = if is_last { piece.to_owned() } else { format!("{piece}{JOINER}") };
            words.push(Word {
                characters: own + std::mem::take(&mut lead) + if is_last { blanks } else { 0 },
                spelled: if is_last { code::of_word(piece) } else { None },
                index: table.index(&name).map(code::of_index),
            });
        }
    }
    words
}

fn pieces(word: &str) -> Vec<&str> {
    let has_no_spaces = |c: char| matches!(c, '\u{0E00}'..='\u{109F}' | '\u{1780}'..='\u{17FF}' | '\u{3040}'..='\u{30FF}' | '\u{3400}'..='\u{9FFF}');
    let longest = if word.chars().any(has_no_spaces) { PIECE } else { LONGEST_WORD };
    let mut pieces = Vec::new();
    let (mut from, mut count) = (0, 0);
    for (at, grapheme) in word.grapheme_indices(true) {
        if count + grapheme.chars().count() > longest && count > 0 {
            pieces.push(&word[from..at]);
            (from, count) = (at, 0);
        }
        count += grapheme.chars().count();
    }
    pieces.push(&word[from..]);
    pieces
}

/// As many words, and none of them the text's.
fn other_words(text: &str, seed: u64) -> String {
    let other = |(at, word): (usize, &str)| {
        let mut state = seed ^ at as u64;
        let letters = word.chars().count().min(LONGEST_WORD);
        let letter = |_| {
            state = mix(state);
            char::from(b'a' + (state % 26) as u8)
        };
        (0..letters).map(letter).collect::<String>()
    };
    text.split_whitespace().enumerate().map(other).collect::<Vec<_>>().join(" ")
}

/// How much louder clipped speech would be.
const CLIPPED_GAIN_DB: f64 = 24.0;

fn spoil(samples: &mut [i16], flaw: SpeechFlaw, rate: SampleRate) {
    let amplify = |samples: &mut [i16], decibel: f64| {
        let gain = 10f64.powf(decibel / 20.0);
        for sample in samples {
            *sample = (f64::from(*sample) * gain) as i16;
        }
    };
    match flaw {
        SpeechFlaw::Silent => samples.fill(0),
        SpeechFlaw::HalfSilent => {
            let half = samples.len() / 2;
            samples[half..].fill(0);
        }
        SpeechFlaw::Clipped => amplify(samples, CLIPPED_GAIN_DB),
        SpeechFlaw::Level(decibel) => amplify(samples, decibel),
        SpeechFlaw::ConstantSound => {
            let tone = &Band::of(0).tones(rate)[0];
            for (sample, tone) in samples.iter_mut().zip(tone.iter().cycle()) {
                *sample = *tone;
            }
        }
        SpeechFlaw::OtherWords => {}
    }
}
