//! The reader compared with the simplest one: the whole answer as a tree of values, from which the fields are taken.

use std::fs;

use proptest::{prelude::*, sample::Index};
use serde_json::{Map, Value};

use super::{AnswerDetail, AnswerReading, TextField, TimedText, Timeline, Transcript};
use crate::domain::body::{Body, Reader};

/// The result of reading an answer by way of a tree of values.
fn by_values(answer: &[u8]) -> Option<AnswerReading> {
    let answer: Value = serde_json::from_slice(answer).ok()?;
    let status = match answer.get("status") {
        None => TextField::Absent,
        Some(Value::Null) => TextField::Null,
        Some(Value::String(text)) => TextField::Text(text.clone()),
        Some(_) => TextField::Other,
    };
    let transcription = answer.get("transcription");
    let transcript = Transcript {
        text: transcription.and_then(Value::as_str).unwrap_or_default().to_owned(),
        words: timed(answer.get("words"), &["word", "text"]),
        utterances: timed(answer.get("utterances"), &["text", "transcript"]),
        duration_ms: answer.get("metadata").and_then(|m| millis(m.get("duration"))),
        language: string(answer.get("language")),
        request_id: string(answer.get("request_id")),
        speaker_names: Vec::new(),
    };
    Some(AnswerReading { status, transcription: transcription.map(Value::is_string), transcript })
}

fn timed(list: Option<&Value>, names: &[&str]) -> Timeline {
    let mut entries: Vec<TimedText<'_>> = Vec::new();
    let (mut any_time, mut last_ms) = (false, 0);
    for entry in list.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_object) {
        let Some(text) = names.iter().find_map(|n| entry.get(*n)?.as_str()) else { continue };
        if text.trim().is_empty() {
            continue;
        }
        let (start, end) = (millis(entry.get("start")), millis(entry.get("end")));
        any_time |= start.is_some() || end.is_some();
        let start_ms = start.unwrap_or_else(|| end.map_or(last_ms, |e| e.min(last_ms)));
        let end_ms = end.unwrap_or(start_ms).max(start_ms);
        last_ms = end_ms;
        entries.push(TimedText { text, start_ms, end_ms, speaker: speaker(entry) });
    }
    if !any_time {
        return Timeline::default();
    }
    entries.sort_by_key(|entry| entry.start_ms);
    entries.into_iter().collect()
}

fn speaker(entry: &Map<String, Value>) -> Option<u32> {
    match entry.get("speaker")? {
        Value::String(name) => name.trim_start_matches(|c: char| !c.is_ascii_digit()).parse().ok(),
        number => {
            let number = number.as_f64()?;
            (0.0..=f64::from(u32::MAX - 1)).contains(&number).then_some(number as u32)
        }
    }
}

fn millis(seconds: Option<&Value>) -> Option<u64> {
    let seconds = seconds?;
    let seconds = seconds.as_f64().or_else(|| seconds.as_str()?.trim().parse().ok())?;
    let millis = (seconds * 1_000.0).round();
    (millis.is_finite() && millis <= 1e11).then_some(millis.max(0.0) as u64)
}

fn string(value: Option<&Value>) -> Option<String> {
    value.and_then(Value::as_str).filter(|s| !s.is_empty()).map(ToOwned::to_owned)
}

/// Compares the readings of one body, unpacked or packed, with all levels of detail.
fn hold(answer: &[u8]) {
    let shown = || String::from_utf8_lossy(answer).into_owned();
    let expected = by_values(answer);
    let read = |want| AnswerReading::of(Reader::Whole(answer), want);
    let all = read(AnswerDetail::All);
    assert_eq!(all.as_ref().ok(), expected.as_ref(), "{}", shown());
    if let Err(error) = &all {
        let as_values = serde_json::from_slice::<Value>(answer).unwrap_err();
        assert_eq!(error.is_eof(), as_values.is_eof(), "{}", shown());
    }
    let padded = [answer, &b" ".repeat(1_100)].concat();
    let body = Body::from(&padded[..]);
    assert!(body.kept().1);
    let packed = AnswerReading::of(body.reader(), AnswerDetail::All);
    assert_eq!(packed.as_ref().ok(), expected.as_ref(), "packed: {}", shown());

    let without_words = expected.map(|mut all| {
        (all.transcript.words, all.transcript.utterances) = Default::default();
        all
    });
    assert_eq!(read(AnswerDetail::Text).ok(), without_words);
    let facts = without_words.map(|mut all| {
        all.transcript.text.clear();
        all
    });
    assert_eq!(read(AnswerDetail::Facts).ok(), facts);
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[a-z]{0,6}",
        1 => Just("success".to_owned()),
        1 => Just("processing".to_owned()),
        1 => "speaker_[0-9]{0,11}",
        1 => "-?[0-9]{0,12}(\\.[0-9]{0,4})?(e[0-9]{1,3})?",
        1 => prop::sample::select(vec!["NaN", "inf", " 7.5 ", "1e400", "4294967295", "ü", "\u{7f}", "\u{1f600}"])
            .prop_map(str::to_owned),
        1 => "\\PC{0,5}",
    ]
}

/// A text as JSON; sometimes with unnecessary escapes, sometimes invalid.
fn json_text() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => text().prop_map(|text| Value::from(text).to_string()),
        1 => prop::sample::select(vec![
            r#""\u00e9\n\"""#, r#""\ud83d\ude00""#, r#""\ud83d""#, r#""\ude00x""#, r#""\ud83d\u0041""#, r#""\x""#, "\"\t\"", "\"",
        ])
        .prop_map(str::to_owned),
    ]
}

fn scalar() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => json_text(),
        3 => any::<f64>().prop_map(|number| Value::from(number).to_string()),
        3 => (-100i64..100_000).prop_map(|number| format!("{}.{}", number / 100, number.abs() % 100)),
        1 => any::<i64>().prop_map(|number| number.to_string()),
        2 => prop::sample::select(vec![
            "null", "true", "false", "0", "-0", "-0.0", "1e400", "-1e400", "1e-400", "1E5", "01", "1.", ".5", "+1", "NaN", "Infinity",
            "99999999999999999999999", "18446744073709551615", "18446744073709551616", "-9223372036854775809", "100000.0004e3",
            "100000000.0004", "4294967294", "4294967295",
        ])
        .prop_map(str::to_owned),
    ]
}

fn name(known: Vec<&'static str>) -> impl Strategy<Value = String> {
    prop_oneof![
        6 => prop::sample::select(known).prop_map(|name| format!("\"{name}\"")),
        1 => json_text(),
        1 => Just(r#""\u0074ext""#.to_owned()),
    ]
}

fn object(known: Vec<&'static str>, value: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    prop::collection::vec((name(known), value), 0..7).prop_map(|fields| {
        let fields: Vec<String> = fields.into_iter().map(|(name, value)| format!("{name}:{value}")).collect();
        format!("{{{}}}", fields.join(","))
    })
}

fn list(entry: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    prop::collection::vec(entry, 0..5).prop_map(|entries| format!("[{}]", entries.join(" , ")))
}

fn anything() -> impl Strategy<Value = String> {
    scalar().boxed().prop_recursive(3, 12, 3, |inner| {
        prop_oneof![list(inner.clone()), object(vec!["duration", "text", "a"], inner)].boxed()
    })
}

fn answer() -> impl Strategy<Value = String> {
    let entry = || {
        let fields = vec!["word", "text", "transcript", "start", "end", "speaker"];
        prop_oneof![6 => object(fields, scalar()).boxed(), 1 => anything().boxed()]
    };
    let value = prop_oneof![
        3 => json_text().boxed(),
        3 => list(entry()).boxed(),
        2 => object(vec!["duration", "fileSize"], scalar()).boxed(),
        1 => anything().boxed(),
    ];
    let fields = vec!["status", "transcription", "words", "utterances", "metadata", "language", "request_id", "x"];
    prop_oneof![9 => object(fields, value).boxed(), 1 => anything().boxed()]
}

#[derive(Debug, Clone)]
enum Damage {
    Cut(Index),
    Remove(Index),
    Put(Index, u8),
    Twice(Index, Index),
}

fn damage() -> impl Strategy<Value = Damage> {
    let byte = prop_oneof![any::<u8>(), prop::sample::select(b"{}[]\",:\\ \t\x0c0-.eE".to_vec())];
    prop_oneof![
        any::<Index>().prop_map(Damage::Cut),
        any::<Index>().prop_map(Damage::Remove),
        (any::<Index>(), byte).prop_map(|(at, byte)| Damage::Put(at, byte)),
        (any::<Index>(), any::<Index>()).prop_map(|(from, to)| Damage::Twice(from, to)),
    ]
}

fn damaged(answer: &str, damage: &[Damage]) -> Vec<u8> {
    let mut bytes = answer.as_bytes().to_vec();
    for damage in damage {
        if bytes.is_empty() {
            break;
        }
        let at = |index: &Index| index.index(bytes.len());
        match damage {
            Damage::Cut(to) => bytes.truncate(at(to)),
            Damage::Remove(from) => drop(bytes.remove(at(from))),
            Damage::Put(to, byte) => {
                let to = at(to);
                bytes[to] = *byte;
            }
            Damage::Twice(from, to) => {
                let (from, to) = (at(from).min(at(to)), at(from).max(at(to)));
                let copy = bytes[from..to].to_vec();
                bytes.splice(to..to, copy);
            }
        }
    }
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_comes_is_read_as_by_values(answer in answer(), damage in prop::collection::vec(damage(), 0..3)) {
        hold(&damaged(&answer, &damage));
    }
}

#[test]
fn hard_cases_are_read_as_by_values() {
    let nested = |depth: usize| format!("{{\"transcription\":\"a\",\"x\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
    let depths = (124..130).map(nested);
    let cases = [
        "",
        " \n",
        "\u{feff}{}",
        "{} {}",
        "[]",
        "7",
        r#"{"transcription":"a","transcription":7}"#,
        r#"{"transcription":7,"transcription":"a"}"#,
        r#"{"transcription":"a","words":[{"word":"a","start":1}],"words":null}"#,
        r#"{"transcription":"a","words":[{"word":"a","start":1}],"words":[{"word":"b","end":2},{"word":"c","start":1}]}"#,
        r#"{"words":[{"word":"a","word":7,"text":"b","start":1},{"text":"b","word":"c","text":"d","start":"2"}]}"#,
        r#"{"words":[{"text":"zz","word":"a","start":5},{"word":" ","text":"b"},{"word":"c"},{"word":"d","end":1}]}"#,
        r#"{"words":[{"word":"a"},{"word":"b"}],"utterances":[{"transcript":"t","text":null,"start":3}]}"#,
        r#"{"words":[{"word":"a","start":9e99,"end":null,"speaker":"speaker_4294967295"}]}"#,
        r#"{"words":[{"word":"a","start":99999999.9996,"end":100000000}]}"#,
        r#"{"metadata":{"duration":1,"duration":"x"},"metadata":{"duration":"2"},"metadata":[]}"#,
        r#"{"metadata":{"duration":1},"metadata":{"duration":" 2.5 "},"x":1e999}"#,
        r#"{"metadata":{"duration":-7},"language":"","request_id":7,"request_id":"r"}"#,
        r#"{"x":"\ud800"}"#,
        r#"{"status":null,"status":"processing"}"#,
    ];
    for case in cases.iter().copied().map(str::to_owned).chain(depths) {
        hold(case.as_bytes());
    }
    for text in [
        r#""""#,
        r#""\\""#,
        r#""a\"b\/c\b\f\n\r\t\u00e9\u20ac\ud83d\ude00\u0000z""#,
        r#""\ud83d""#,
        r#""\ud83dx""#,
        r#""\ud83d\n""#,
        r#""\ud83d\ud83d""#,
        r#""\ud83déééé""#,
        r#""\uDE00""#,
        r#""\u12""#,
        r#""\q""#,
        "\"\n\"",
        "1e999",
        "01",
        "[1e999]",
        r#"["\ud800"]"#,
        r#"{"a":[7,null]}"#,
        "null",
        "tru",
    ] {
        hold(format!(r#"{{"transcription":{text},"x":1}}"#).as_bytes());
    }
    for depth in 124..130 {
        hold(format!("{{\"transcription\":{}{}}}", "[".repeat(depth), "]".repeat(depth)).as_bytes());
    }
    for case in [
        &b"{\"x\":\"\xff\"}"[..],
        b"{\"\xff\":1}",
        b"{\"transcription\":\"\xe2\x82",
        b"{\"transcription\":\"\xe2\x82\"}",
    ] {
        hold(case);
    }
}

#[test]
fn the_corpus_is_read_as_by_values() {
    let corpus = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    // The published package does not contain these files.
    for target in ["answers", "callbacks"] {
        for entry in fs::read_dir(corpus.join(target)).into_iter().flatten() {
            let input = fs::read(entry.unwrap().path()).unwrap();
            hold(&input);
            hold(input.get(2..).unwrap_or_default());
            let callback = input.iter().position(|byte| *byte == b'\n').map_or(&[][..], |at| &input[at + 1..]);
            hold(callback);
        }
    }
}

#[test]
fn a_very_long_name_is_cut_between_characters() {
    let long = "ü".repeat(10_000);
    let answer = format!(r#"{{"transcription":"{long}","status":"a{long}","request_id":"{long}"}}"#);
    let reading = AnswerReading::of(Reader::Whole(answer.as_bytes()), AnswerDetail::All).unwrap();
    assert_eq!(reading.transcript.text, long);
    assert_eq!(reading.transcript.request_id.unwrap().len(), 4 << 10);
    assert!(matches!(reading.status, TextField::Text(status) if status.len() == (4 << 10) - 1));
}
