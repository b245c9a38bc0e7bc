//! The figures of a conversation: who talks for how long, who interrupts, and how long nobody talks.

use serde::{Deserialize, Serialize};

use super::{
    hearing::{HeardSpeech, Stretch, gaps, longest_ms, overlap, total_ms, union, union_across, without},
    transcript::{Conversation, TimedText, Turn},
};

/// Who pauses no longer goes on speaking.
const PAUSE_MS: u64 = 300;
/// How much somebody who is interrupted has still to say at least.
const STILL_MS: u64 = 500;
/// An interruption takes at least so long; what is shorter is a word in passing.
const PASSING_MS: u64 = 1_000;
/// A word takes no longer, as far as interruptions are concerned: answers often stretch words up to the next.
const WORD_MS: u64 = 400;
/// No word takes longer.
const LONGEST_WORD_MS: u64 = 2_000;

/// The figures of a conversation. Speech that was heard is taken for talk, silence and overlap, without echoes; of a side without
/// it, the times of its words. Turns, first words, numbers of words and interruptions are always those of the words.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Talk {
    /// The sides, in the order of their channels.
    #[serde(default)]
    pub sides: Vec<SideTalk>,
    /// How long two or more sides talk at once, in ms.
    #[serde(default)]
    pub overlap_ms: u64,
    /// How long nobody talks, in ms.
    #[serde(default)]
    pub silence_ms: u64,
    /// The longest time in which nobody talks, in ms.
    #[serde(default)]
    pub longest_silence_ms: u64,
}

/// The figures of one side.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SideTalk {
    /// The side's name, e.g. its role.
    #[serde(default)]
    pub name: String,
    /// How long it talks, in ms.
    #[serde(default)]
    pub talk_ms: u64,
    /// When its first word begins, in ms; none if it has no words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_word_ms: Option<u64>,
    /// How many words it says.
    #[serde(default)]
    pub words: u64,
    /// How many turns it has.
    #[serde(default)]
    pub turns: u64,
    /// How many times it interrupts: it begins to speak, for at least 1 s, while another side speaks on for at least 0.5 s.
    #[serde(default)]
    pub interruptions: u64,
}

impl Talk {
    /// The figures of a conversation, and of the speech that was heard in its recording.
    #[must_use]
    pub fn of(conversation: &Conversation, heard: Option<&HeardSpeech>) -> Self {
        let sides: Vec<_> = (0..conversation.sides.len()).map(|side| SaidBySide::of(conversation, side)).collect();
        let talk: Vec<_> = sides.iter().map(|side| side.talk(heard)).collect();
        let all = union(talk.iter().flatten().copied());
        let to_ms = match heard.map_or(0, |heard| heard.length_ms) {
            0 => conversation.length_ms.or(all.last().map(|last| last.to_ms)).unwrap_or(0),
            length => length,
        };
        let silence = gaps(&all, Stretch { from_ms: 0, to_ms });
        Self {
            overlap_ms: at_once_ms(&talk),
            silence_ms: total_ms(&silence),
            longest_silence_ms: longest_ms(&silence),
            sides: (0..sides.len()).map(|nth| sides[nth].figures(total_ms(&talk[nth]), nth, &sides)).collect(),
        }
    }

    /// The figures of the side with this name.
    #[must_use]
    pub fn side(&self, name: &str) -> Option<&SideTalk> {
        self.sides.iter().find(|side| side.name == name)
    }

    /// How many turns all sides have.
    #[must_use]
    pub fn turns(&self) -> u64 {
        self.sides.iter().map(|side| side.turns).sum()
    }

    /// How many times any side interrupts.
    #[must_use]
    pub fn interruptions(&self) -> u64 {
        self.sides.iter().map(|side| side.interruptions).sum()
    }
}

/// How long two or more of the sides talk: what each of them says while one before it talks.
fn at_once_ms(talk: &[Vec<Stretch>]) -> u64 {
    let (mut before, mut at_once) = (Vec::new(), Vec::new());
    for side in talk {
        at_once.extend(overlap(&before, side));
        before = union(before.into_iter().chain(side.iter().copied()));
    }
    total_ms(&union(at_once))
}

/// What one side says.
struct SaidBySide<'a> {
    name: &'a str,
    channel: u16,
    turns: Vec<&'a Turn>,
    echoes: Vec<&'a Turn>,
    /// When it speaks, across short pauses.
    phrases: Vec<Stretch>,
}

impl<'a> SaidBySide<'a> {
    fn of(conversation: &'a Conversation, side: usize) -> Self {
        let of_side = |list: &'a [Turn]| {
            let is_own = |turn: &&Turn| conversation.speakers[turn.speaker as usize].side == side;
            list.iter().filter(is_own).collect::<Vec<_>>()
        };
        let turns = of_side(&conversation.turns);
        Self {
            name: &conversation.sides[side].name,
            channel: conversation.sides[side].channel,
            phrases: union_across(times(&turns, WORD_MS), PAUSE_MS),
            echoes: of_side(&conversation.echoes),
            turns,
        }
    }

    /// When it talks.
    fn talk(&self, heard: Option<&HeardSpeech>) -> Vec<Stretch> {
        match heard.map_or(&[][..], |heard| heard.of_channel(self.channel)) {
            [] => union(times(&self.turns, LONGEST_WORD_MS)),
            speech => without(&union(speech.iter().copied()), &union(times(&self.echoes, LONGEST_WORD_MS))),
        }
    }

    fn figures(&self, talk_ms: u64, own: usize, sides: &[Self]) -> SideTalk {
        let others = || sides.iter().enumerate().filter(|(nth, _)| *nth != own).map(|(_, other)| other);
        let interrupts =
            |turn: &&&Turn| self.begins_to_speak(turn.start_ms) && others().any(|other| other.speaks_on(turn.start_ms));
        SideTalk {
            name: self.name.to_owned(),
            talk_ms,
            first_word_ms: self.turns.first().map(|turn| turn.start_ms),
            words: self.turns.iter().map(|turn| words_of(turn)).sum(),
            turns: self.turns.len() as u64,
            interruptions: self.turns.iter().filter(interrupts).count() as u64,
        }
    }

    /// Whether it begins to speak at this moment, and not only in passing.
    fn begins_to_speak(&self, ms: u64) -> bool {
        let nth = self.phrases.partition_point(|phrase| phrase.from_ms < ms);
        self.phrases.get(nth).is_some_and(|phrase| phrase.from_ms == ms && phrase.len_ms() >= PASSING_MS)
    }

    /// Whether it speaks at this moment, and has something left to say.
    fn speaks_on(&self, ms: u64) -> bool {
        let nth = self.phrases.partition_point(|phrase| phrase.to_ms <= ms);
        self.phrases.get(nth).is_some_and(|phrase| phrase.from_ms < ms && phrase.to_ms >= ms.saturating_add(STILL_MS))
    }
}

/// When the words of these turns are said, none for longer than `longest_ms`. A turn without words is said throughout.
fn times(turns: &[&Turn], longest_ms: u64) -> Vec<Stretch> {
    let word = |word: TimedText<'_>| {
        let to_ms = word.end_ms.min(word.start_ms.saturating_add(longest_ms));
        Stretch { from_ms: word.start_ms, to_ms }
    };
    let of_turn = |turn: &&Turn| match turn.words.is_empty() {
        true => vec![Stretch { from_ms: turn.start_ms, to_ms: turn.end_ms }],
        false => turn.words.iter().map(word).collect(),
    };
    turns.iter().flat_map(of_turn).collect()
}

fn words_of(turn: &Turn) -> u64 {
    let words = if turn.words.is_empty() { turn.text.split_whitespace().count() } else { turn.words.len() };
    words as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        hearing::tests::stretches,
        transcript::{Side, Timeline, Transcript},
    };

    /// Words of 300 ms without a pause, from one moment to another.
    fn saying(list: &[(u64, u64)]) -> Transcript {
        let starts = list.iter().flat_map(|&(from, to)| (from..to).step_by(300));
        let word = |start_ms| TimedText { text: "word", start_ms, end_ms: start_ms + 300, speaker: None };
        Transcript { words: starts.map(word).collect::<Timeline>(), duration_ms: Some(20_000), ..Transcript::default() }
    }

    fn conversation(agent: &[(u64, u64)], customer: &[(u64, u64)], echoes: &[(u64, u64)]) -> Conversation {
        let (agent, customer, echoes) = (saying(agent), saying(customer), stretches(echoes));
        Conversation::of(&[
            Side { name: "agent", channel: 1, transcript: &agent, speech: &[], echoes: &[] },
            Side { name: "customer", channel: 2, transcript: &customer, speech: &[], echoes: &echoes },
        ])
    }

    fn talk(agent: &[(u64, u64)], customer: &[(u64, u64)]) -> Talk {
        Talk::of(&conversation(agent, customer, &[]), None)
    }

    fn interruptions(agent: &[(u64, u64)], customer: &[(u64, u64)]) -> [u64; 2] {
        let talk = talk(agent, customer);
        [talk.sides[0].interruptions, talk.sides[1].interruptions]
    }

    #[test]
    fn the_words_alone_have_all_figures() {
        let figures = talk(&[(1_000, 4_000), (10_000, 11_500)], &[(4_600, 7_000)]);
        let agent = SideTalk {
            name: "agent".into(),
            talk_ms: 4_500,
            first_word_ms: Some(1_000),
            words: 15,
            turns: 2,
            interruptions: 0,
        };
        assert_eq!(figures.side("agent"), Some(&agent));
        let customer = figures.side("customer").unwrap();
        assert_eq!((customer.talk_ms, customer.first_word_ms, customer.words), (2_400, Some(4_600), 8));
        assert_eq!((figures.overlap_ms, figures.turns(), figures.interruptions()), (0, 3, 0));
        assert_eq!((figures.silence_ms, figures.longest_silence_ms), (20_000 - 6_900, 8_500));
    }

    #[test]
    fn speech_that_was_heard_is_talk() {
        let heard =
            HeardSpeech { channels: vec![stretches(&[(900, 4_200)]), stretches(&[(4_000, 7_100)])], length_ms: 10_000 };
        let figures = Talk::of(&conversation(&[(1_000, 4_000)], &[(4_300, 7_000)], &[]), Some(&heard));
        assert_eq!(figures.sides.iter().map(|side| side.talk_ms).collect::<Vec<_>>(), [3_300, 3_100]);
        assert_eq!((figures.overlap_ms, figures.silence_ms, figures.longest_silence_ms), (200, 3_800, 2_900));
        assert_eq!(figures.sides[0].first_word_ms, Some(1_000), "first words are words");
    }

    #[test]
    fn an_echo_is_nobodys_talk() {
        let heard =
            HeardSpeech { channels: vec![stretches(&[(0, 3_000)]), stretches(&[(0, 3_000)])], length_ms: 3_000 };
        let figures = Talk::of(&conversation(&[(0, 3_000)], &[(0, 3_000)], &[(0, 3_100)]), Some(&heard));
        let customer = &figures.sides[1];
        assert_eq!((customer.talk_ms, customer.words, customer.turns, customer.first_word_ms), (0, 0, 0, None));
        assert_eq!((figures.overlap_ms, figures.silence_ms), (0, 0));
    }

    #[test]
    fn who_begins_while_another_speaks_on_interrupts() {
        let on = &[(0, 6_000)];
        assert_eq!(interruptions(on, &[(2_000, 4_100)]), [0, 1], "who goes on has not interrupted back");
        assert_eq!(interruptions(on, &[(5_000, 8_000)]), [0, 1], "nor does it matter who speaks last");
        assert_eq!(interruptions(&[(5_000, 8_000)], on), [1, 0]);
        assert_eq!(interruptions(on, &[(5_600, 8_000)]), [0, 0], "the last word is out soon");
        assert_eq!(interruptions(on, &[(6_100, 8_000)]), [0, 0], "it waits");
        assert_eq!(interruptions(on, &[(2_000, 2_900)]), [0, 0], "a word in passing");
        assert_eq!(interruptions(on, &[(1_000, 2_200), (4_000, 5_500)]), [0, 2]);
        assert_eq!(interruptions(on, &[(0, 3_000)]), [0, 0], "they begin together");
    }

    #[test]
    fn three_at_once_overlap_once() {
        let (a, b) = (stretches(&[(0, 10)]), stretches(&[(5, 20)]));
        assert_eq!(at_once_ms(&[a.clone(), b.clone(), a]), 10);
        assert_eq!(at_once_ms(&[b]), 0);
    }

    #[test]
    fn nothing_said_is_all_silence() {
        let figures = talk(&[], &[]);
        assert_eq!((figures.silence_ms, figures.longest_silence_ms, figures.turns()), (20_000, 20_000, 0));
        assert_eq!(Talk::of(&Conversation::default(), None), Talk::default());
    }

    #[test]
    fn figures_come_back_from_the_ledger() {
        let figures = talk(&[(1_000, 4_000)], &[]);
        let json = serde_json::to_string(&figures).unwrap();
        assert_eq!(serde_json::from_str::<Talk>(&json).unwrap(), figures);
        assert!(serde_json::from_str::<Talk>("{}").is_ok());
    }
}
