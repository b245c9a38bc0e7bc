//! Turns of conversations: every word has its place.

use proptest::prelude::*;

use super::*;
use crate::domain::hearing::tests::stretches;

type Said<'a> = (&'a str, u64, u64, Option<u32>);

/// `("text", start, end, speaker)`, in milliseconds.
fn timed(list: &[Said<'_>]) -> Timeline {
    list.iter().map(|&(text, start_ms, end_ms, speaker)| TimedText { text, start_ms, end_ms, speaker }).collect()
}

fn heard(list: &[(&str, u64, u64)]) -> Transcript {
    let words = timed(&list.iter().map(|&(text, start, end)| (text, start, end, None)).collect::<Vec<_>>());
    let text = list.iter().map(|(text, ..)| *text).collect::<Vec<_>>().join(" ");
    Transcript { text, words, ..Transcript::default() }
}

fn side<'a>(name: &'a str, channel: u16, transcript: &'a Transcript) -> Side<'a> {
    Side { name, channel, transcript, speech: &[], echoes: &[] }
}

fn two(agent: &[(&str, u64, u64)], customer: &[(&str, u64, u64)]) -> Conversation {
    let (agent, customer) = (heard(agent), heard(customer));
    Conversation::of(&[side("agent", 1, &agent), side("customer", 2, &customer)])
}

/// `agent: How are you?`
fn lines(conversation: &Conversation) -> Vec<String> {
    conversation.turns.iter().map(|turn| format!("{}: {}", conversation.name_of(turn), turn.text)).collect()
}

#[test]
fn who_speaks_next_has_the_next_turn() {
    let talk = two(
        &[("How", 0, 300), ("are", 300, 600), ("you?", 600, 900), ("Good.", 1_700, 2_000)],
        &[("Fine.", 1_100, 1_500), ("And", 2_100, 2_300), ("you?", 2_300, 2_600)],
    );
    assert_eq!(lines(&talk), ["agent: How are you?", "customer: Fine.", "agent: Good.", "customer: And you?"]);
    let turn = &talk.turns[0];
    assert_eq!((turn.start_ms, turn.end_ms, turn.words.len()), (0, 900, 3));
    assert_eq!((talk.side_of(&talk.turns[1]).channel, talk.names()), (2, vec!["agent".into(), "customer".into()]));
}

#[test]
fn stretched_words_do_not_hide_who_begins() {
    let talk = two(
        &[("How", 0, 300), ("are", 300, 600), ("you?", 600, 1_700), ("Good.", 1_700, 4_000)],
        &[("Fine.", 1_100, 2_100), ("And", 2_100, 2_300), ("you?", 2_300, 2_600)],
    );
    assert_eq!(lines(&talk), ["agent: How are you?", "customer: Fine.", "agent: Good.", "customer: And you?"]);
}

#[test]
fn a_pause_ends_a_turn_after_a_second_and_a_half() {
    let pause = |ms: u64| lines(&two(&[("One", 0, 400), ("two", 400 + ms, 800 + ms)], &[]));
    assert_eq!(pause(1_500), ["agent: One two"]);
    assert_eq!(pause(1_501), ["agent: One", "agent: two"]);
}

#[test]
fn a_word_in_passing_stands_where_it_is_said() {
    let talk = two(
        &[("I", 0, 100), ("ordered", 120, 500), ("it", 520, 600), ("on", 620, 700), ("Monday.", 720, 1_100)],
        &[("Mhm.", 550, 800)],
    );
    assert_eq!(lines(&talk), ["agent: I ordered it", "customer: Mhm.", "agent: on Monday."]);
}

#[test]
fn two_who_speak_at_once_have_a_turn_each() {
    let one: Vec<_> = (0..20).map(|nth| ("a", nth * 300, nth * 300 + 260)).collect();
    let other: Vec<_> = (5..15).map(|nth| ("b", nth * 310 + 70, nth * 310 + 330)).collect();
    let talk = two(&one, &other);
    let shape: Vec<_> = talk.turns.iter().map(|turn| (turn.speaker, turn.words.len())).collect();
    assert_eq!(shape, [(0, 6), (1, 10), (0, 14)]);
}

#[test]
fn words_that_begin_together_are_in_the_order_of_the_channels() {
    assert_eq!(lines(&two(&[("One", 500, 900)], &[("Two", 500, 700)])), ["agent: One", "customer: Two"]);
}

#[test]
fn echoes_are_kept_apart_by_time_never_by_likeness() {
    let agent = heard(&[("Good", 0, 400), ("morning.", 400, 900)]);
    let customer =
        heard(&[("Good", 60, 460), ("morning.", 460, 960), ("Good", 1_500, 1_800), ("morning.", 1_800, 2_200)]);
    let echoes = stretches(&[(50, 1_000)]);
    let customer = Side { echoes: &echoes, ..side("customer", 2, &customer) };
    let talk = Conversation::of(&[side("agent", 1, &agent), customer]);
    assert_eq!(lines(&talk), ["agent: Good morning.", "customer: Good morning."]);
    assert_eq!(talk.echoes.len(), 1);
    assert_eq!((talk.name_of(&talk.echoes[0]), talk.echoes[0].start_ms), ("customer", 60));
    assert!(!talk.to_transcript().words.iter().any(|word| word.start_ms == 60));
}

#[test]
fn a_side_without_word_times_is_not_lost() {
    let agent = heard(&[("Hello.", 0, 400), ("Bye.", 9_000, 9_400)]);
    let logged = Transcript::from_log(" I want a refund. ", Some(10.0));
    let speech = stretches(&[(2_000, 3_000), (5_000, 6_000)]);
    let customer = Side { speech: &speech, ..side("customer", 2, &logged) };
    let talk = Conversation::of(&[side("agent", 1, &agent), customer]);
    assert_eq!(lines(&talk), ["agent: Hello.", "customer: I want a refund.", "agent: Bye."]);
    let turn = &talk.turns[1];
    assert_eq!((turn.start_ms, turn.end_ms, turn.words.len()), (2_000, 6_000, 0));
    let unheard = Conversation::of(&[side("customer", 1, &logged)]);
    assert_eq!((unheard.turns[0].start_ms, unheard.turns[0].end_ms), (0, 10_000));

    let said = Transcript {
        utterances: timed(&[("I want", 2_000, 3_000, None), ("a refund.", 5_000, 6_000, None)]),
        words: timed(&[("I", 2_000, 2_100, None)]),
        ..logged
    };
    let talk = Conversation::of(&[side("customer", 1, &said)]);
    assert_eq!(lines(&talk), ["customer: I want", "customer: a refund."]);
    let few = Transcript { utterances: Timeline::default(), ..said };
    assert_eq!(lines(&Conversation::of(&[side("customer", 1, &few)])), ["customer: I want a refund."]);
}

#[test]
fn speakers_of_one_side_have_numbers() {
    let several = Transcript {
        words: timed(&[("Uh,", 0, 200, None), ("hi.", 200, 400, Some(0)), ("Hello.", 800, 1_000, Some(2))]),
        ..Transcript::default()
    };
    let one = heard(&[("Yes?", 1_500, 1_800)]);
    let talk = Conversation::of(&[side("agent", 1, &several), side("customer", 2, &one)]);
    assert_eq!(lines(&talk), ["agent_1: Uh, hi.", "agent_3: Hello.", "customer: Yes?"]);
    assert_eq!(talk.turns.iter().map(|turn| talk.side_of(turn).channel).collect::<Vec<_>>(), [1, 1, 2]);
    let alone = Transcript { words: timed(&[("Hi.", 0, 200, Some(1))]), ..Transcript::default() };
    assert_eq!(lines(&Conversation::of(&[side("agent", 1, &alone)])), ["agent: Hi."]);
}

#[test]
fn one_transcript_has_all_of_it() {
    let mut agent = heard(&[("How", 0, 300), ("are", 300, 600), ("you?", 600, 900)]);
    let mut customer = heard(&[("Fine.", 1_100, 1_400)]);
    (agent.duration_ms, customer.duration_ms) = (Some(2_000), Some(2_100));
    (agent.language, customer.language) = (Some("en".into()), None);
    let talk = Conversation::of(&[side("agent", 1, &agent), side("customer", 2, &customer)]);
    let whole = talk.to_transcript();
    assert_eq!((whole.text.as_str(), whole.duration_ms), ("How are you?\nFine.", Some(2_100)));
    assert_eq!((whole.language.as_deref(), whole.speaker_names.len()), (Some("en"), 2));
    assert!(whole.words.iter().map(|word| word.speaker).eq([Some(0), Some(0), Some(0), Some(1)]));
    assert_eq!(whole.utterances.iter().last().map(|said| (said.text, said.start_ms)), Some(("Fine.", 1_100)));
    agent.language = Some("de".into());
    customer.language = Some("en".into());
    let talk = Conversation::of(&[side("agent", 1, &agent), side("customer", 2, &customer)]);
    assert_eq!(talk.language, None);
}

#[test]
fn nothing_said_is_no_turn() {
    let nothing = Transcript::default();
    let talk = Conversation::of(&[side("agent", 1, &nothing), side("customer", 2, &nothing)]);
    assert!(talk.turns.is_empty() && talk.to_transcript().is_empty());
    assert_eq!(Conversation::of(&[]), Conversation::default());
}

fn any_words() -> impl Strategy<Value = Vec<(u64, u64, Option<u32>)>> {
    let word = (0u64..40_000, 0u64..1_500, proptest::option::of(0u32..3));
    proptest::collection::vec(word, 0..60).prop_map(|mut list| {
        list.sort_by_key(|(start, ..)| *start);
        list
    })
}

fn any_echoes() -> impl Strategy<Value = Vec<Stretch>> {
    let one = (0u64..40_000, 0u64..3_000).prop_map(|(from_ms, long)| Stretch { from_ms, to_ms: from_ms + long });
    proptest::collection::vec(one, 0..4).prop_map(crate::domain::hearing::union)
}

proptest! {
    #[test]
    fn every_word_is_said_once_and_in_order(sides in proptest::collection::vec((any_words(), any_echoes()), 2..4)) {
        let mut number = 0;
        let transcripts: Vec<_> = sides.iter().map(|(words, _)| {
            let mut list = Timeline::default();
            for (start_ms, long, speaker) in words {
                number += 1;
                let text = format!("w{number}");
                list.push(TimedText { text: &text, start_ms: *start_ms, end_ms: start_ms + long, speaker: *speaker });
            }
            Transcript { words: list, ..Transcript::default() }
        }).collect();
        let of: Vec<_> = (1..).zip(&transcripts).zip(&sides).map(|((channel, transcript), (_, echoes))| {
            Side { name: "role", channel, transcript, speech: &[], echoes }
        }).collect();
        let talk = Conversation::of(&of);

        for side in &of {
            let places = |list: &[Turn]| list.iter()
                .filter(|turn| talk.side_of(turn).channel == side.channel)
                .flat_map(|turn| turn.words.iter().map(|word| word.text.to_owned()).collect::<Vec<_>>())
                .collect::<Vec<_>>();
            let (said, echoed) = (places(&talk.turns), places(&talk.echoes));
            for word in side.transcript.words.iter() {
                let middle = word.start_ms.midpoint(word.end_ms);
                let is_echo = side.echoes.iter().any(|echo| echo.from_ms <= middle && middle < echo.to_ms);
                let times = |list: &[String]| list.iter().filter(|text| *text == word.text).count();
                prop_assert_eq!((times(&said), times(&echoed)), if is_echo { (0, 1) } else { (1, 0) });
            }
            prop_assert_eq!(said.len() + echoed.len(), side.transcript.words.len());
        }
        let order = |turn: &Turn| (turn.start_ms, talk.side_of(turn).channel);
        for list in [&talk.turns, &talk.echoes] {
            prop_assert!(list.windows(2).all(|two| order(&two[0]) <= order(&two[1])));
            for turn in list {
                let starts: Vec<_> = turn.words.iter().map(|word| word.start_ms).collect();
                prop_assert!(starts.is_sorted() && starts.first() == Some(&turn.start_ms));
                prop_assert_eq!(turn.words.iter().map(|word| word.end_ms).max(), Some(turn.end_ms));
                prop_assert_eq!(turn.text.split(' ').count(), turn.words.len());
            }
        }
        let whole = talk.to_transcript();
        prop_assert_eq!(whole.words.len(), talk.turns.iter().map(|turn| turn.words.len()).sum::<usize>());
        prop_assert!(whole.words.iter().map(|word| word.start_ms).is_sorted());
        // Who pauses for longer has another turn, and who is alone with a short pause has not.
        for turn in &talk.turns {
            let mut end = turn.start_ms;
            for word in turn.words.iter() {
                prop_assert!(word.start_ms <= end + TURN_PAUSE_MS);
                end = end.max(word.end_ms);
            }
        }
        for two in talk.turns.windows(2) {
            prop_assert!(two[0].speaker != two[1].speaker || two[1].start_ms > two[0].end_ms + TURN_PAUSE_MS);
        }
    }
}
