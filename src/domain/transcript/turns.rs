//! One conversation out of the transcripts of its sides: who says what, in turn.
//!
//! A turn is what one speaker says without a pause of more than 1.5 s, and without another speaker beginning to speak. Who only goes on
//! while somebody else speaks begins nothing: two who speak at once have a turn each, not a turn for each word. So turns may
//! overlap; they are in order of their starts, and of the channels where they start together.

#[cfg(test)]
mod tests;

use super::{
    Transcript,
    text::{append, letters},
    timeline::{TimedText, Timeline},
};
use crate::domain::hearing::{Stretch, overlap, total_ms};

/// A longer pause ends a turn.
const TURN_PAUSE_MS: u64 = 1_500;
/// Who speaks again after a longer pause begins to speak.
const PAUSE_MS: u64 = 250;
/// A word takes no longer, as far as beginnings are concerned: answers often stretch words up to the next.
const WORD_MS: u64 = 400;

/// A side of a conversation: a channel of the recording, and its answer.
#[derive(Debug, Clone, Copy)]
pub struct Side<'a> {
    /// Its name: the role, e.g. `agent`, or `channel 1`.
    pub name: &'a str,
    /// The channel, counted from 1.
    pub channel: u16,
    /// What is said on it.
    pub transcript: &'a Transcript,
    /// When somebody speaks on it, if that is known.
    pub speech: &'a [Stretch],
    /// When only the echo of another side is on it.
    pub echoes: &'a [Stretch],
}

/// A conversation of several sides.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Conversation {
    /// Its sides, in the order in which they came.
    pub sides: Vec<NamedSide>,
    /// Its speakers. A side has several if the answer tells them apart.
    pub speakers: Vec<Speaker>,
    /// What is said, in order of start and channel.
    pub turns: Vec<Turn>,
    /// What was heard on a channel as the echo of another, in the same order; not in `turns`.
    pub echoes: Vec<Turn>,
    /// The length of the longest channel, in ms.
    pub length_ms: Option<u64>,
    /// The language of the sides, if they agree on it.
    pub language: Option<String>,
}

/// A side, as its conversation knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedSide {
    /// Its name.
    pub name: String,
    /// The channel, counted from 1.
    pub channel: u16,
}

/// Somebody who speaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Speaker {
    /// The side's name, or `agent_1` and so on if the side has several speakers.
    pub name: String,
    /// The index of the side.
    pub side: usize,
}

/// What a speaker says at a stretch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Turn {
    /// The index of the speaker.
    pub speaker: u32,
    /// Start of the first word, from the beginning of the recording.
    pub start_ms: u64,
    /// End of the last word.
    pub end_ms: u64,
    /// The words as a text.
    pub text: String,
    /// The words with their times; empty if the answer has none.
    pub words: Timeline,
}

impl Conversation {
    /// The conversation of these sides, which are in the order of their channels. Each word of an answer is in one turn or, by its
    /// middle, in one echo. Of an answer without word times the utterances are taken, else the whole text.
    #[must_use]
    pub fn of(sides: &[Side<'_>]) -> Self {
        let mut conversation = Self {
            sides: sides.iter().map(|side| NamedSide { name: side.name.to_owned(), channel: side.channel }).collect(),
            length_ms: sides.iter().filter_map(|side| side.transcript.duration_ms).max(),
            language: common_language(sides),
            ..Self::default()
        };
        let (mut said, mut echoed) = (Vec::new(), Vec::new());
        for (nth, side) in sides.iter().enumerate() {
            let (mut echoes, mut own): (Vec<_>, Vec<_>) =
                utterings(side).into_iter().partition(|uttering| is_echo(uttering, side.echoes));
            conversation.name_speakers(nth, &mut own, &mut echoes);
            said.append(&mut own);
            echoed.append(&mut echoes);
        }
        conversation.turns = in_turns(said, conversation.speakers.len());
        conversation.echoes = in_turns(echoed, conversation.speakers.len());
        conversation
    }

    /// The names of the speakers.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.speakers.iter().map(|speaker| speaker.name.clone()).collect()
    }

    /// The side of a turn.
    ///
    /// # Panics
    /// The turn is of another conversation.
    #[must_use]
    pub fn side_of(&self, turn: &Turn) -> &NamedSide {
        &self.sides[self.side_index(turn)]
    }

    pub(super) fn side_index(&self, turn: &Turn) -> usize {
        self.speakers[turn.speaker as usize].side
    }

    /// The speaker's name of a turn.
    ///
    /// # Panics
    /// The turn is of another conversation.
    #[must_use]
    pub fn name_of(&self, turn: &Turn) -> &str {
        &self.speakers[turn.speaker as usize].name
    }

    /// The turns as lines of a text.
    #[must_use]
    pub fn text(&self) -> String {
        self.turns.iter().map(|turn| turn.text.as_str()).collect::<Vec<_>>().join("\n")
    }

    /// One transcript of all sides: the turns are its utterances, and its lines.
    #[must_use]
    pub fn to_transcript(&self) -> Transcript {
        let speaking = |turn: &Turn, said| TimedText { speaker: Some(turn.speaker), ..said };
        let mut words: Vec<_> =
            self.turns.iter().flat_map(|turn| turn.words.iter().map(move |word| speaking(turn, word))).collect();
        words.sort_by_key(|word| word.start_ms);
        let utterance = |turn: &Turn| (turn.text.clone(), turn.start_ms, turn.end_ms, turn.speaker);
        let mut utterances = Timeline::default();
        for (text, start_ms, end_ms, speaker) in self.turns.iter().map(utterance) {
            utterances.push(TimedText { text: &text, start_ms, end_ms, speaker: Some(speaker) });
        }
        Transcript {
            text: self.text(),
            words: words.into_iter().collect(),
            utterances,
            duration_ms: self.length_ms,
            language: self.language.clone(),
            request_id: None,
            speaker_names: self.names(),
        }
    }

    /// Gives the words of a side to its speakers. A word without a speaker is said by whoever spoke before, or speaks next.
    fn name_speakers<'a>(&mut self, side: usize, own: &mut [Uttering<'a>], echoes: &mut [Uttering<'a>]) {
        let mut told: Vec<_> = own.iter().filter_map(|uttering| uttering.said.speaker).collect();
        told.sort_unstable();
        told.dedup();
        let first = self.speakers.len();
        let name = &self.sides[side].name;
        if told.len() < 2 {
            self.speakers.push(Speaker { name: name.clone(), side });
        } else {
            let several = told.iter().map(|nth| Speaker { name: format!("{name}_{}", u64::from(*nth) + 1), side });
            self.speakers.extend(several.collect::<Vec<_>>());
        }
        let index = |speaker: Option<u32>| speaker.and_then(|speaker| told.binary_search(&speaker).ok());
        for list in [own, echoes] {
            let mut before = list.iter().find_map(|uttering| index(uttering.said.speaker)).unwrap_or(0);
            for uttering in list {
                before = index(uttering.said.speaker).unwrap_or(before);
                uttering.speaker = first + before;
            }
        }
    }
}

/// The language of all sides that have one, if it is the same.
fn common_language(sides: &[Side<'_>]) -> Option<String> {
    let mut languages = sides.iter().filter_map(|side| side.transcript.language.as_deref());
    let first = languages.next()?;
    languages.all(|other| other == first).then(|| first.to_owned())
}

/// A word, an utterance or a whole text: what is never cut.
#[derive(Debug, Clone, Copy)]
struct Uttering<'a> {
    said: TimedText<'a>,
    is_word: bool,
    /// The index among the speakers of the conversation.
    speaker: usize,
}

impl Uttering<'_> {
    fn short_end(&self) -> u64 {
        self.said.end_ms.min(self.said.start_ms.saturating_add(WORD_MS))
    }
}

/// What is said on a side, in order: its words if they are all of its text, else its utterances, else the text.
fn utterings<'a>(side: &Side<'a>) -> Vec<Uttering<'a>> {
    let Transcript { text, words, utterances, duration_ms, .. } = side.transcript;
    let whole = letters(text);
    let is_whole = |list: &Timeline| {
        !list.is_empty() && list.iter().map(|said| letters(said.text)).sum::<usize>() * 20 >= whole * 19
    };
    let all = |list: &'a Timeline, is_word| list.iter().map(|said| Uttering { said, is_word, speaker: 0 }).collect();
    if is_whole(words) {
        return all(words, true);
    }
    if is_whole(utterances) {
        return all(utterances, false);
    }
    if text.trim().is_empty() {
        return Vec::new();
    }
    let first = words.iter().chain(utterances.iter()).map(|said| said.start_ms).min();
    let start_ms = side.speech.first().map(|speech| speech.from_ms).or(first).unwrap_or(0);
    let end = side.speech.last().map(|speech| speech.to_ms).or(*duration_ms).unwrap_or(start_ms);
    let said = TimedText { text: text.trim(), start_ms, end_ms: end.max(start_ms), speaker: None };
    vec![Uttering { said, is_word: false, speaker: 0 }]
}

/// Whether this is only the echo of another side: a word by its middle, an utterance if all of it is.
fn is_echo(uttering: &Uttering<'_>, echoes: &[Stretch]) -> bool {
    let TimedText { start_ms, end_ms, .. } = uttering.said;
    let middle = start_ms.midpoint(end_ms);
    let nth = echoes.partition_point(|echo| echo.to_ms <= middle);
    let covers_middle = echoes.get(nth).is_some_and(|echo| echo.from_ms <= middle);
    let all = Stretch { from_ms: start_ms, to_ms: end_ms };
    covers_middle && (uttering.is_word || total_ms(&overlap(&[all], echoes)) == all.len_ms())
}

/// A speaker's newest turn.
#[derive(Debug, Clone, Copy)]
struct Newest {
    turn: usize,
    /// Where it ends by now.
    end_ms: u64,
    /// Where it ends if no word is stretched.
    short_end_ms: u64,
    /// Whether somebody else began to speak.
    is_over: bool,
    /// When the first word of somebody else ended that began since.
    others_end_ms: u64,
}

fn in_turns(mut said: Vec<Uttering<'_>>, speakers: usize) -> Vec<Turn> {
    // What starts together stays in the order of the channels.
    said.sort_by_key(|uttering| uttering.said.start_ms);
    let mut turns: Vec<Turn> = Vec::new();
    let mut newest: Vec<Option<Newest>> = vec![None; speakers];
    for uttering in &said {
        let TimedText { start_ms, end_ms, .. } = uttering.said;
        let begins = newest[uttering.speaker]
            .is_none_or(|own| start_ms > own.short_end_ms.saturating_add(PAUSE_MS) || own.others_end_ms <= start_ms);
        for (_, other) in newest.iter_mut().enumerate().filter(|(speaker, _)| *speaker != uttering.speaker) {
            let Some(other) = other else { continue };
            other.is_over |= begins;
            if start_ms >= other.short_end_ms {
                other.others_end_ms = other.others_end_ms.min(uttering.short_end());
            }
        }
        // Who begins to speak again goes on with the newest turn only.
        let goes_on = newest[uttering.speaker].filter(|own| {
            let pauses = start_ms > own.end_ms.saturating_add(TURN_PAUSE_MS);
            !own.is_over && !pauses && (!begins || own.turn + 1 == turns.len())
        });
        let turn = goes_on.map_or(turns.len(), |own| own.turn);
        if goes_on.is_none() {
            let speaker = u32::try_from(uttering.speaker).expect("an answer counts its speakers in 32 bits");
            turns.push(Turn { speaker, start_ms, ..Turn::default() });
        }
        let grown = &mut turns[turn];
        append(&mut grown.text, uttering.said.text);
        grown.end_ms = grown.end_ms.max(end_ms);
        if uttering.is_word {
            grown.words.push(TimedText { speaker: None, ..uttering.said });
        }
        newest[uttering.speaker] = Some(Newest {
            turn,
            end_ms: grown.end_ms,
            short_end_ms: uttering.short_end().max(goes_on.map_or(0, |own| own.short_end_ms)),
            is_over: false,
            others_end_ms: u64::MAX,
        });
    }
    turns
}
