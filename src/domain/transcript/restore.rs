//! The times of what was sent, put back to the times of the recording.

use super::{
    Transcript,
    text::{append, letters},
    timeline::{TimedText, Timeline},
};
use crate::domain::{
    cuts::{Cuts, TimeMap},
    hearing::{HeardSpeech, Stretch, overlap},
};

/// How much later or earlier than speech a word may be, in ms: recognizers stretch words, and detectors of voices begin late.
const NEAR_SPEECH_MS: u64 = 150;

/// An answer, put back into its recording.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Restored {
    /// What is said on each channel that was sent, in the order in which they were sent.
    pub channels: Vec<(Option<u16>, Transcript)>,
    /// Words.
    pub words: usize,
    /// Those of them that are where nothing was sent.
    pub outside: usize,
    /// Whether the words with times are all of the text.
    pub is_timed: bool,
}

impl Restored {
    /// The answer to a call that sent these stretches. Without word times, the text of an answer for several channels is that of
    /// the first one.
    #[must_use]
    pub fn of(answer: Transcript, cuts: &Cuts) -> Self {
        let with_times: usize = answer.words.iter().map(|word| letters(word.text)).sum();
        let is_timed = with_times * 20 >= letters(&answer.text) * 19;
        let mut restored = Self { words: answer.words.len(), is_timed, ..Self::default() };
        if cuts.is_empty() {
            restored.channels.push((None, answer));
            return restored;
        }
        let (map, channels) = (cuts.map(), cuts.channels());
        let mut words = vec![Timeline::default(); channels.len()];
        for word in answer.words.iter() {
            let Some((nth, is_outside)) = stretch_of(&map, word) else { continue };
            restored.outside += usize::from(is_outside);
            let channel = map.cut(nth).channel;
            let at = channels.iter().position(|one| *one == channel).unwrap_or(0);
            let (start_ms, end_ms) = (map.within(nth, word.start_ms), map.within(nth, word.end_ms));
            words[at].push(TimedText { start_ms, end_ms, ..word });
        }
        if let [channel] = channels[..] {
            let ends = |said: TimedText<'_>| {
                let at = |ms| map.place(ms).map_or(0, |place| place.source_ms);
                let start_ms = at(said.start_ms);
                (start_ms, at(said.end_ms).max(start_ms))
            };
            let utterance = |said| {
                let (start_ms, end_ms) = ends(said);
                TimedText { start_ms, end_ms, ..said }
            };
            let utterances = answer.utterances.iter().map(utterance).collect();
            let words = words.pop().unwrap_or_default();
            restored.channels.push((channel, Transcript { words, utterances, duration_ms: None, ..answer }));
            return restored;
        }
        for (nth, (channel, words)) in channels.into_iter().zip(words).enumerate() {
            let mut text = String::new();
            words.iter().for_each(|word| append(&mut text, word.text));
            if answer.words.is_empty() && nth == 0 {
                text.clone_from(&answer.text);
            }
            let language = answer.language.clone();
            let request_id = answer.request_id.clone();
            restored
                .channels
                .push((channel, Transcript { text, words, language, request_id, ..Transcript::default() }));
        }
        restored
    }

    /// Whether the words of several channels can be told apart: there are times for all of the text, none in the guard between
    /// two channels, and at most one of a hundred where nobody speaks on its channel.
    #[must_use]
    pub fn is_sound(&self, speech: &HeardSpeech) -> bool {
        let silent =
            |(channel, said): &(Option<u16>, Transcript)| silent(said, speech.of_channel(channel.unwrap_or(1)));
        self.is_timed && self.outside == 0 && self.channels.iter().map(silent).sum::<usize>() * 100 <= self.words
    }
}

/// The words that nobody says.
fn silent(said: &Transcript, speech: &[Stretch]) -> usize {
    let is_silent = |word: &TimedText<'_>| {
        let near = Stretch {
            from_ms: word.start_ms.saturating_sub(NEAR_SPEECH_MS),
            to_ms: word.end_ms.max(word.start_ms + 1) + NEAR_SPEECH_MS,
        };
        overlap(&[near], speech).is_empty()
    };
    said.words.iter().filter(is_silent).count()
}

/// The stretch in which a word is said: that of its middle.
fn stretch_of(map: &TimeMap<'_>, word: TimedText<'_>) -> Option<(usize, bool)> {
    let place = map.place(word.start_ms.midpoint(word.end_ms))?;
    Some((place.cut, place.is_outside))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::hearing::tests::stretches;

    fn answer(words: &[(&str, u64, u64)]) -> Transcript {
        let text = words.iter().map(|word| word.0).collect::<Vec<_>>().join(" ");
        let said = |&(text, start_ms, end_ms)| TimedText { text, start_ms, end_ms, speaker: None };
        Transcript { text, words: words.iter().map(said).collect(), ..Transcript::default() }
    }

    fn words(transcript: &Transcript) -> Vec<(&str, u64, u64)> {
        transcript.words.iter().map(|word| (word.text, word.start_ms, word.end_ms)).collect()
    }

    #[test]
    fn what_was_sent_whole_stays_as_it_is() {
        let said = answer(&[("hello", 0, 400)]);
        let restored = Restored::of(said.clone(), &Cuts::default());
        assert_eq!(restored, Restored { channels: vec![(None, said)], words: 1, outside: 0, is_timed: true });
    }

    #[test]
    fn words_go_back_to_where_they_were_said() {
        let cuts = Cuts::of_channel(None, stretches(&[(2_000, 3_000), (60_000, 61_000)]));
        let mut said = answer(&[("hello", 100, 500), ("there", 950, 1_150), ("you", 1_500, 2_300)]);
        said.utterances.push(TimedText { text: "hello there", start_ms: 100, end_ms: 1_150, speaker: Some(1) });
        let restored = Restored::of(said, &cuts);
        let [(None, said)] = &restored.channels[..] else { panic!("one channel") };
        assert_eq!(words(said), [("hello", 2_100, 2_500), ("there", 60_000, 60_150), ("you", 60_500, 61_000)]);
        assert_eq!(said.text, "hello there you");
        let utterance = said.utterances.iter().next().map(|said| (said.start_ms, said.end_ms, said.speaker));
        assert_eq!((utterance, restored.outside), (Some((2_100, 60_150, Some(1))), 0));
    }

    #[test]
    fn words_of_two_channels_are_told_apart() {
        let (agent, customer) = (stretches(&[(0, 1_000)]), stretches(&[(5_000, 6_000)]));
        let cuts = Cuts::packed([(1, &*agent), (2, &*customer)], 9_000);
        let said = answer(&[("good", 0, 300), ("morning.", 350, 900), ("Hi!", 2_400, 2_800)]);
        let restored = Restored::of(said.clone(), &cuts);
        let [(Some(1), first), (Some(2), second)] = &restored.channels[..] else { panic!("two channels") };
        assert_eq!(
            (first.text.as_str(), words(first)),
            ("good morning.", vec![("good", 0, 300), ("morning.", 350, 900)])
        );
        assert_eq!(words(second), [("Hi!", 5_100, 5_500)]);
        let speech = HeardSpeech { channels: vec![agent, customer.clone()], length_ms: 9_000 };
        assert!(restored.is_sound(&speech));
        let more = Transcript { text: format!("{} and much more", said.text), ..said };
        assert!(!Restored::of(more, &cuts).is_sound(&speech), "words without times");
        let nobody = HeardSpeech { channels: vec![customer.clone(), customer], length_ms: 9_000 };
        assert!(!restored.is_sound(&nobody), "where nobody speaks");

        let astray = answer(&[("good", 0, 300), ("what", 1_500, 1_900), ("Hi!", 2_400, 2_800)]);
        let restored = Restored::of(astray, &cuts);
        assert_eq!(restored.outside, 1);
        assert!(!restored.is_sound(&speech), "in the guard");
    }

    #[test]
    fn without_times_the_text_is_kept() {
        let agent = stretches(&[(0, 1_000)]);
        let cuts = Cuts::packed([(1, &*agent), (2, &*agent)], 9_000);
        let said = Transcript { text: "good morning".into(), ..Transcript::default() };
        let restored = Restored::of(said, &cuts);
        assert_eq!(restored.channels[0].1.text, "good morning");
        assert!(!restored.is_sound(&HeardSpeech { channels: vec![agent.clone(), agent], length_ms: 9_000 }));
    }
}
