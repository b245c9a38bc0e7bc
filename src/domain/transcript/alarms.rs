//! A transcript held against what is heard in its recording.

use serde::{Deserialize, Serialize};

use super::{
    SuspectReason, Transcript,
    text::letters,
    timeline::{TimedText, Timeline},
};
use crate::domain::{
    cut::breakable,
    hearing::{HeardSpeech, Stretch, gaps, overlap, total_ms, union, without},
};

/// A word takes no longer: answers often stretch words up to the next.
const LONGEST_WORD_MS: u64 = 1_000;
/// The fewest words of a loop: a word or two that are said four times running are no loop yet.
const FEWEST_LOOPED: usize = 8;
/// How much faster than words a single syllable is said again and again, as in laughter.
const SYLLABLES: u64 = 2;
/// The longest phrase that loops, in words.
const LONGEST_LOOP: usize = 40;

/// From when on a transcript does not fit what is heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AlarmLimits {
    /// So much speech has words, in ms.
    pub unheard_ms: u64,
    /// So much speech after the last word has words, in ms.
    pub cut_off_ms: u64,
    /// More words than this where nobody speaks are invented, in ms.
    pub invented_ms: u64,
    /// How far from speech a word begins where nobody speaks, in ms.
    pub margin_ms: u64,
    /// So much speech has more than a few words, in ms.
    pub sparse_ms: u64,
    /// The fewest words that much speech has, in 1,000 seconds.
    pub sparse_words: u64,
    /// How often a phrase is said at least that loops.
    pub loops: usize,
    /// The most words that can be said, in 1,000 seconds.
    pub most_words: u64,
    /// A channel that speaks alone for so long has words, in ms.
    pub one_sided_ms: u64,
}

impl Default for AlarmLimits {
    fn default() -> Self {
        Self {
            unheard_ms: 3_000,
            cut_off_ms: 10_000,
            invented_ms: 2_000,
            margin_ms: 300,
            sparse_ms: 60_000,
            sparse_words: 500,
            loops: 4,
            most_words: 6_000,
            one_sided_ms: 10_000,
        }
    }
}

impl AlarmLimits {
    /// Whether no limit was set.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// Why a transcript does not fit what is heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alarm {
    /// The reason.
    pub reason: SuspectReason,
    /// For how long, in ms.
    pub for_ms: u64,
    /// Where it begins, in ms from the start of the recording.
    pub at_ms: u64,
}

impl Alarm {
    /// The finding with its seconds and its place: `14.2 s of speech after the last word (at 1:02)`.
    #[must_use]
    pub fn in_words(&self) -> String {
        let what = match self.reason {
            SuspectReason::Unheard => "of speech, and no words",
            SuspectReason::CutOff => "of speech after the last word",
            SuspectReason::Invented => "of words where nobody speaks",
            SuspectReason::Sparse => "of speech with very few words",
            SuspectReason::Looped => "of speech for one phrase again and again",
            SuspectReason::OneSided => "of one channel's speech without words, while the other one has its words",
            other => other.in_words(),
        };
        let tenths = self.for_ms / 100;
        let (minutes, seconds) = (self.at_ms / 60_000, self.at_ms / 1_000 % 60);
        format!("{}.{} s {what} (at {minutes}:{seconds:02})", tenths / 10, tenths % 10)
    }
}

/// Why this transcript does not fit the `speech` that is heard in its recording, if there is a reason.
///
/// Where nobody speaks, a transcript without words is right: with `speech` at hand, an empty transcript is not otherwise suspect.
/// Without word times, only what needs no times is held against the speech.
#[must_use]
pub fn alarm(transcript: &Transcript, speech: &[Stretch], limits: AlarmLimits) -> Option<Alarm> {
    unheard(transcript, speech, limits)
        .or_else(|| cut_off(&transcript.words, speech, limits))
        .or_else(|| looped(transcript, speech, limits))
        .or_else(|| invented(&transcript.words, speech, limits))
        .or_else(|| sparse(transcript, speech, limits))
}

/// The same for a transcript of all channels together, which may also have the words of one channel alone.
#[must_use]
pub fn alarm_of_mix(transcript: &Transcript, heard: &HeardSpeech, limits: AlarmLimits) -> Option<Alarm> {
    alarm(transcript, &heard.of_all(), limits).or_else(|| one_sided(&transcript.words, heard, limits))
}

/// A channel whose words are missing: hardly any word falls where it speaks alone, and most of what another one says alone has words.
fn one_sided(words: &Timeline, heard: &HeardSpeech, limits: AlarmLimits) -> Option<Alarm> {
    let said = union(words.iter().map(spoken));
    let alone = |nth: usize| {
        let others = heard.channels.iter().enumerate().filter(|(other, _)| *other != nth);
        without(&heard.channels[nth], &union(others.flat_map(|(_, speech)| speech.iter().copied())))
    };
    let sides: Vec<_> = (0..heard.channels.len()).map(alone).collect();
    let covered = |alone: &[Stretch]| total_ms(&overlap(alone, &said));
    let has_words = |alone: &Vec<Stretch>| {
        let all = total_ms(alone);
        all * 2 >= limits.one_sided_ms && covered(alone) * 2 >= all
    };
    let lacks_words = |alone: &&Vec<Stretch>| {
        let all = total_ms(alone);
        all >= limits.one_sided_ms && covered(alone) * 10 < all
    };
    let missing = sides.iter().find(lacks_words)?;
    let found = Alarm { reason: SuspectReason::OneSided, for_ms: total_ms(missing), at_ms: start_of(missing) };
    sides.iter().any(has_words).then_some(found)
}

fn unheard(transcript: &Transcript, speech: &[Stretch], limits: AlarmLimits) -> Option<Alarm> {
    let for_ms = total_ms(speech);
    let is_unheard = transcript.is_empty() && transcript.words.is_empty() && for_ms >= limits.unheard_ms;
    is_unheard.then(|| Alarm { reason: SuspectReason::Unheard, for_ms, at_ms: start_of(speech) })
}

fn cut_off(words: &Timeline, speech: &[Stretch], limits: AlarmLimits) -> Option<Alarm> {
    let last_ms = words.iter().map(|word| spoken(word).to_ms).max()?;
    let rest = after(speech, last_ms);
    let for_ms = total_ms(&rest);
    (for_ms >= limits.cut_off_ms).then(|| Alarm { reason: SuspectReason::CutOff, for_ms, at_ms: start_of(&rest) })
}

/// Words that begin far from all speech. A word that begins in speech is heard, however long it is said to be.
fn invented(words: &Timeline, speech: &[Stretch], limits: AlarmLimits) -> Option<Alarm> {
    let margin = |stretch: &Stretch| Stretch {
        from_ms: stretch.from_ms.saturating_sub(limits.margin_ms),
        to_ms: stretch.to_ms.saturating_add(limits.margin_ms),
    };
    let near = union(speech.iter().map(margin));
    let is_near = |ms: u64| {
        let nth = near.partition_point(|stretch| stretch.to_ms <= ms);
        near.get(nth).is_some_and(|stretch| stretch.from_ms <= ms)
    };
    let far = union(words.iter().filter(|word| !is_near(word.start_ms)).map(spoken));
    let far = without(&far, &near);
    // Soft words that are not heard as speech add up in a long call: only those of one silence count together.
    let silences = gaps(&near, Stretch { from_ms: 0, to_ms: far.last()?.to_ms });
    let longest = silences.iter().map(|silence| overlap(&far, &[*silence])).max_by_key(|run| total_ms(run))?;
    let for_ms = total_ms(&longest);
    (for_ms > limits.invented_ms).then(|| Alarm { reason: SuspectReason::Invented, for_ms, at_ms: start_of(&longest) })
}

fn sparse(transcript: &Transcript, speech: &[Stretch], limits: AlarmLimits) -> Option<Alarm> {
    let for_ms = total_ms(speech);
    let words = transcript.text.split_whitespace().flat_map(breakable).filter(|word| letters(word) > 0).count();
    let words = words.max(transcript.words.len()) as u64;
    let is_sparse = for_ms >= limits.sparse_ms && words * 1_000_000 < limits.sparse_words * for_ms;
    let whole = is_sparse.then(|| Alarm { reason: SuspectReason::Sparse, for_ms, at_ms: start_of(speech) });
    whole.or_else(|| sparse_within(&transcript.words, speech, limits))
}

/// A hole in a transcript that has enough words as a whole: too few words in so much speech after its beginning or one of its words.
fn sparse_within(words: &Timeline, speech: &[Stretch], limits: AlarmLimits) -> Option<Alarm> {
    if words.is_empty() || total_ms(speech) < limits.sparse_ms {
        return None;
    }
    // When each word begins, in time of speech; and how many words there are before it.
    let (mut begins, mut before) = (Vec::with_capacity(words.len()), vec![0]);
    let (mut nth, mut spoken_ms) = (0, 0);
    for word in words.iter() {
        while let Some(stretch) = speech.get(nth).filter(|stretch| stretch.to_ms <= word.start_ms) {
            spoken_ms += stretch.len_ms();
            nth += 1;
        }
        let within = speech.get(nth).map_or(0, |stretch| word.start_ms.saturating_sub(stretch.from_ms));
        begins.push(spoken_ms + within);
        let parts = breakable(word.text).iter().filter(|part| letters(part) > 0).count().max(1) as u64;
        before.push(before[before.len() - 1] + parts);
    }
    let all_ms = total_ms(speech);
    let mut to = 0;
    for from in 0..=begins.len() {
        let begin = if from == 0 { 0 } else { begins[from - 1] };
        let end = begin + limits.sparse_ms;
        if end > all_ms {
            break;
        }
        while begins.get(to).is_some_and(|at| *at < end) {
            to += 1;
        }
        let count = before[to.max(from)] - before[from];
        if count * 1_000_000 < limits.sparse_words * limits.sparse_ms {
            let after_ms =
                from.checked_sub(1).and_then(|last| words.iter().nth(last)).map_or(0, |word| spoken(word).to_ms);
            let at_ms = start_of(&after(speech, after_ms));
            return Some(Alarm { reason: SuspectReason::Sparse, for_ms: limits.sparse_ms, at_ms });
        }
    }
    None
}

/// A phrase that is said again and again in less speech than it takes. Without word times, all speech is there for it.
fn looped(transcript: &Transcript, speech: &[Stretch], limits: AlarmLimits) -> Option<Alarm> {
    let words: Vec<TimedText<'_>> = match transcript.words.is_empty() {
        false => transcript.words.iter().collect(),
        true => {
            let word = |text| TimedText { text, start_ms: 0, end_ms: u64::MAX, speaker: None };
            transcript.text.split_whitespace().map(word).collect()
        }
    };
    let said: Vec<String> = words.iter().map(|word| bare(word.text)).collect();
    let mut from = 0;
    while from < said.len() {
        let is_loop = |long: &usize| repeats(&said[from..], *long) >= limits.loops.max(FEWEST_LOOPED.div_ceil(*long));
        let Some(long) = (1..=LONGEST_LOOP).find(is_loop) else {
            from += 1;
            continue;
        };
        let count = repeats(&said[from..], long) * long;
        let (first, last) = (words[from], words[from + count - 1]);
        let span = Stretch { from_ms: first.start_ms, to_ms: last.end_ms };
        let for_ms = total_ms(&overlap(&[span], speech));
        let most_words = if long == 1 { limits.most_words * SYLLABLES } else { limits.most_words };
        if count as u64 * 1_000_000 > most_words * for_ms {
            return Some(Alarm { reason: SuspectReason::Looped, for_ms, at_ms: first.start_ms });
        }
        from += count;
    }
    None
}

/// How often the list begins with its first `long` words.
fn repeats(said: &[String], long: usize) -> usize {
    let Some(phrase) = said.get(..long) else { return 0 };
    said.chunks_exact(long).take_while(|chunk| *chunk == phrase).count()
}

/// A word without its punctuation.
fn bare(word: &str) -> String {
    word.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

fn spoken(word: TimedText<'_>) -> Stretch {
    let to_ms = word.end_ms.min(word.start_ms.saturating_add(LONGEST_WORD_MS));
    Stretch { from_ms: word.start_ms, to_ms }
}

fn after(speech: &[Stretch], ms: u64) -> Vec<Stretch> {
    overlap(speech, &[Stretch { from_ms: ms, to_ms: u64::MAX }])
}

fn start_of(list: &[Stretch]) -> u64 {
    list.first().map_or(0, |first| first.from_ms)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::hearing::tests::stretches;

    /// Words of 300 ms from each of these moments on, `(from, to)`.
    fn saying(list: &[(u64, u64)]) -> Transcript {
        let starts: Vec<_> = list.iter().flat_map(|&(from, to)| (from..to).step_by(300)).collect();
        let texts: Vec<_> = (0..starts.len()).map(|nth| format!("word{nth}")).collect();
        let words = starts.iter().zip(&texts).map(|(&start_ms, text)| TimedText {
            text,
            start_ms,
            end_ms: start_ms + 300,
            speaker: None,
        });
        Transcript { words: words.collect(), text: texts.join(" "), ..Transcript::default() }
    }

    /// A phrase so many times, each word taking so long.
    fn again(phrase: &str, times: usize, word_ms: u64) -> Transcript {
        let text = vec![phrase; times].join(" ");
        let words = (0..).zip(text.split(' ')).map(|(nth, text)| TimedText {
            text,
            start_ms: nth * word_ms,
            end_ms: (nth + 1) * word_ms,
            speaker: None,
        });
        Transcript { words: words.collect(), text: text.clone(), ..Transcript::default() }
    }

    fn found(transcript: &Transcript, speech: &[(u64, u64)]) -> Option<(SuspectReason, u64, u64)> {
        let alarm = alarm(transcript, &stretches(speech), AlarmLimits::default())?;
        Some((alarm.reason, alarm.for_ms, alarm.at_ms))
    }

    #[test]
    fn speech_without_words_is_unheard() {
        let nothing = Transcript::from_log(" \n", Some(60.0));
        assert_eq!(found(&nothing, &[(5_000, 6_000), (7_000, 9_000)]), Some((SuspectReason::Unheard, 3_000, 5_000)));
        assert_eq!(found(&nothing, &[(5_000, 6_000), (7_000, 8_999)]), None, "a cough, a laugh");
        assert_eq!(found(&nothing, &[]), None, "true silence, hold music, tones");
    }

    #[test]
    fn speech_after_the_last_word_is_cut_off() {
        let cut = saying(&[(0, 60_000)]);
        assert_eq!(found(&cut, &[(0, 60_000), (62_000, 76_200)]), Some((SuspectReason::CutOff, 14_200, 62_000)));
        assert_eq!(found(&cut, &[(0, 60_000), (62_000, 71_999)]), None);
        assert_eq!(found(&cut, &[(0, 70_000)]), Some((SuspectReason::CutOff, 10_000, 60_000)));
        let mut stretched = saying(&[(0, 3_000)]);
        stretched.words.push(TimedText { text: "end", start_ms: 3_000, end_ms: 30_000, speaker: None });
        assert_eq!(found(&stretched, &[(0, 30_000)]), Some((SuspectReason::CutOff, 26_000, 4_000)), "a stretched word");
        assert_eq!(found(&Transcript::from_log("no times", None), &[(0, 30_000)]), None);
    }

    #[test]
    fn words_where_nobody_speaks_are_invented() {
        let speech = &[(0, 5_000), (20_000, 25_000)];
        let words = |from, to| saying(&[(0, 5_000), (from, to), (20_000, 25_000)]);
        assert_eq!(found(&words(8_000, 10_400), speech), Some((SuspectReason::Invented, 2_400, 8_000)));
        assert_eq!(found(&words(8_000, 9_800), speech), None, "under two seconds");
        assert_eq!(found(&words(5_000, 7_000), speech), None, "up to 300 ms off it may be there");
        assert_eq!(found(&saying(&[(0, 2_400)]), &[]), Some((SuspectReason::Invented, 2_400, 0)), "all of it");
        let mut stretched = saying(&[(0, 4_500)]);
        stretched.words.push(TimedText { text: "so", start_ms: 4_500, end_ms: 19_000, speaker: None });
        assert_eq!(found(&stretched, &[(0, 5_000)]), None, "a stretched word that begins in speech");
        assert_eq!(found(&Transcript::from_log("no times at all here", None), &[]), None);
    }

    #[test]
    fn few_words_for_much_speech_are_sparse() {
        let minute = |words: usize| {
            let text = vec!["word"; words].join(" ");
            Transcript { text, ..Transcript::default() }
        };
        assert_eq!(found(&minute(29), &[(100, 60_100)]), Some((SuspectReason::Sparse, 60_000, 100)));
        assert_eq!(found(&minute(30), &[(100, 60_100)]), None);
        assert_eq!(found(&minute(1), &[(0, 59_999)]), None, "less than a minute");
        let thai =
            "ภาษาไทยไม่มีช่องว่างระหว่างคำและเขียนติดกันไปเรื่อยๆจนจบประโยคเพราะฉะนั้นจึงต้องใช้พจนานุกรมช่วยแบ่งคำให้ถูกต้อง".repeat(2);
        let thai = Transcript { text: thai, ..Transcript::default() };
        assert_eq!(found(&thai, &[(0, 60_000)]), None, "a script without spaces has words");
    }

    #[test]
    fn a_phrase_that_its_speech_does_not_carry_is_a_loop() {
        let speech = &[(0, 4_000)];
        let looped = again("thank you very much", 10, 100);
        assert_eq!(found(&looped, speech), Some((SuspectReason::Looped, 4_000, 0)));
        assert_eq!(found(&again("thank you very much", 3, 100), speech), None, "three times");
        assert_eq!(found(&again("thank you very much", 5, 200), speech), None, "there is time for it");
        assert_eq!(found(&again("ha", 30, 100), speech), None, "laughter");
        assert_eq!(found(&again("five five five", 10, 100), speech), None, "numbers");
        let logged = Transcript::from_log("Thank you, very much. ".repeat(10), None);
        assert_eq!(found(&logged, speech), Some((SuspectReason::Looped, 4_000, 0)));
        assert_eq!(found(&logged, &[(0, 9_000)]), None);
    }

    #[test]
    fn honest_calls_raise_no_alarm() {
        let whole: &[(u64, u64)] = &[(400, 8_000), (9_000, 30_000), (31_000, 90_000)];
        assert_eq!(found(&saying(whole), whole), None);
        assert_eq!(found(&saying(&[(400, 8_000), (9_000, 30_000)]), &whole[..2]), None, "hold music at the end");
        assert_eq!(found(&saying(whole), &[(400, 30_000), (31_000, 98_000)]), None, "laughter at the end");
        assert_eq!(
            found(&saying(&[(200, 8_200), (8_800, 30_000)]), &[(400, 8_000), (9_000, 30_000)]),
            None,
            "soft ends"
        );
        let slow: Vec<_> = (0..60).map(|nth| (nth * 1_500, nth * 1_500 + 300)).collect();
        assert_eq!(found(&saying(&slow), &[(0, 90_000)]), None, "a slow reader");
        let digits = again("one two three four five six seven eight nine zero", 2, 250);
        assert_eq!(found(&digits, &[(0, 5_000)]), None, "a number, read twice");
        let refrain = again("alle meine entchen", 6, 330);
        assert_eq!(found(&refrain, &[(0, 6_000)]), None, "a refrain");
        assert_eq!(found(&Transcript::default(), &[]), None);
        let chinese = Transcript {
            text: "我们上周再次查看数据时发现大多数电话都是在中午之前打来的".into(),
            ..Transcript::default()
        };
        assert_eq!(found(&chinese, &[(0, 8_000)]), None);
    }

    #[test]
    fn an_alarm_names_its_seconds_and_its_place() {
        let alarm = Alarm { reason: SuspectReason::CutOff, for_ms: 14_250, at_ms: 62_000 };
        assert_eq!(alarm.in_words(), "14.2 s of speech after the last word (at 1:02)");
        let alarm = Alarm { reason: SuspectReason::Invented, for_ms: 2_400, at_ms: 3_600_000 };
        assert_eq!(alarm.in_words(), "2.4 s of words where nobody speaks (at 60:00)");
    }

    #[test]
    fn a_mix_with_the_words_of_one_channel_alone_is_one_sided() {
        let sides = |first: &[(u64, u64)], second: &[(u64, u64)]| HeardSpeech {
            channels: vec![stretches(first), stretches(second)],
            length_ms: 60_000,
        };
        let of = |words: &[(u64, u64)], heard: &HeardSpeech| {
            alarm_of_mix(&saying(words), heard, AlarmLimits::default())
                .map(|alarm| (alarm.reason, alarm.for_ms, alarm.at_ms))
        };
        let both = sides(&[(0, 9_000), (30_000, 39_000)], &[(10_000, 21_000), (40_000, 41_000)]);
        let (first, second) = ([(0, 9_000), (30_000, 39_000)], [(10_000, 21_000), (40_000, 41_000)]);
        assert_eq!(of(&first, &both), Some((SuspectReason::OneSided, 12_000, 10_000)));
        assert_eq!(of(&[first, second].concat(), &both), None, "both have their words");
        assert_eq!(of(&[(0, 9_000), (10_000, 13_000), (30_000, 39_000)], &both), None, "some of them are enough");
        let short = sides(&first, &[(10_000, 14_000)]);
        assert_eq!(of(&first, &short), None, "a short answer is easily missed");
        let over = sides(&first, &first);
        assert_eq!(of(&first, &over), None, "two channels with the same sound have the same words");
    }
}
