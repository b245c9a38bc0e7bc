//! Reports of random rows and of random ledgers, read back by a CSV reader: equal, field for field.

mod back;

use std::collections::BTreeMap;

use proptest::{collection::vec, option, prelude::*, sample};

use self::back::{back, plain, seen_by};
use super::{
    csv::ReportWriter,
    publish_tests::{Fixture, job},
    row::{FurtherColumns, LongColumns, Row},
    summary::SummaryState,
    task::ReportTask,
};
use crate::{
    domain::{
        call::ErrorKind,
        cost::MicroUsd,
        environment::Environment,
        facts::Facts,
        job::{JobState, Wanted},
        row::{Note, RowStatus},
        synthesis_options::{AudioFormat, SampleRate},
    },
    store::{End, Finish, NewJob, To},
    tasks::{Synthesize, Transcribe},
};

/// The text that a cell may hold. A user's own apostrophe before a formula is the only text that cannot be distinguished from
/// our escaping.
fn text() -> impl Strategy<Value = String> {
    let odd = prop_oneof![
        "[=+@\r\n\t\",;'a-zé😀 -]{1,12}",
        "[+-]?[0-9(). ,e-]{1,14}",
        any::<String>(),
        Just("=HYPERLINK(\"http://h\")".to_owned()),
    ];
    odd.prop_filter("looks disarmed", |text| !text.is_empty() && plain(text) == *text)
}

fn row() -> impl Strategy<Value = Row> {
    let moment = || option::of(0i64..250_000_000_000_000);
    let count = || option::of(any::<u32>().prop_map(u64::from));
    let words =
        (text(), text(), option::of(text()), text(), option::of(text()), option::of(text()), option::of(text()));
    let synthesis = (
        option::of(text()),
        option::of(sample::select(AudioFormat::ALL)),
        option::of(sample::select(SampleRate::ALL)),
        count(),
        count(),
        count(),
    );
    let numbers =
        (count(), count(), option::of(1u32..9), any::<u32>(), any::<u32>(), option::of(any::<u32>()), count());
    let ends = (
        sample::select(RowStatus::ALL),
        option::of(sample::select(ErrorKind::ALL)),
        option::of(text()),
        sample::subsequence(Note::ALL.to_vec(), 0..4),
        option::of(text()),
        option::of(text()),
        vec(any::<String>(), 0..3),
    );
    let rest = (moment(), moment(), moment(), vec(option::of(text()).prop_map(Option::unwrap_or_default), 3));
    (words, synthesis, numbers, ends, rest).prop_map(|(words, synthesis, numbers, ends, rest)| Row {
        wanted: Wanted::Yes,
        batch: words.0,
        key: words.1,
        output_name: words.2,
        source: words.3,
        model: words.4,
        language: words.5,
        request_id: words.6,
        voice_id: synthesis.0,
        output_format: synthesis.1,
        sample_rate: synthesis.2,
        characters: synthesis.3,
        parts: synthesis.4,
        reused_parts: synthesis.5,
        line: numbers.0,
        audio_ms: numbers.1,
        channels: numbers.2,
        tries: numbers.3,
        billed_calls: numbers.4,
        cost: numbers.5.map(|cost| MicroUsd(i64::from(cost))),
        processing_ms: numbers.6,
        status: ends.0,
        error_kind: ends.1,
        error: ends.2,
        notes: ends.3,
        content_expiry: ends.4,
        transcript: ends.5,
        text: None,
        outputs: ends.6,
        submitted_at: rest.0,
        started_at: rest.1,
        finished_at: rest.2,
        own: Vec::new(),
        carried: rest.3,
    })
}

/// What happens to a line of a ledger.
#[derive(Debug, Clone)]
struct Fate {
    state: JobState,
    key: String,
    carried: Vec<String>,
    words: String,
    answered: bool,
    audio_ms: u64,
}

fn fate() -> impl Strategy<Value = Fate> {
    let states = JobState::ALL.iter().copied().filter(|state| *state != JobState::Superseded).collect::<Vec<_>>();
    let key =
        "[=+@'\",a-zé/-]{0,6}".prop_filter("looks disarmed", |key| plain(&format!("{key}1")) == format!("{key}1"));
    (sample::select(states), key, vec(text(), 2), text(), any::<bool>(), 0u64..9_000_000).prop_map(
        |(state, key, carried, words, answered, audio_ms)| Fate { state, key, carried, words, answered, audio_ms },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_field_of_every_row_is_read_back(rows in vec(row(), 0..5), synthesis in any::<bool>(), transcript in any::<bool>()) {
        let task: &dyn ReportTask = if synthesis { &Synthesize } else { &Transcribe };
        let names = ["who", "key", "=who"].map(str::to_owned);
        let further = FurtherColumns { own: &[], carried: &names };
        let mut report = ReportWriter::new(Vec::new(), task, further, LongColumns { transcript, text: false }).unwrap();
        rows.iter().for_each(|row| report.write(row).unwrap());
        let report = report.finish().unwrap();
        let expected: Vec<Row> = rows.into_iter().map(|row| seen_by(row, task, transcript)).collect();
        prop_assert_eq!(back(&report, names.len()), expected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_ledgers_report_says_what_happened_and_its_summary_adds_it_up(fates in vec(fate(), 1..9)) {
        tokio::runtime::Runtime::new().unwrap().block_on(message(fates));
    }
}

async fn message(fates: Vec<Fate>) {
    let lines = fates.iter().zip(1..).map(|(fate, line)| NewJob {
        key: format!("{}{line}", fate.key),
        carried: Some(serde_json::json!(fate.carried).to_string()),
        source: Some(format!("/r/{line}.wav")).filter(|_| fate.state != JobState::Skipped),
        overrides: None,
        ..job(line)
    });
    let keys: Vec<String> = lines.clone().map(|line| line.key).collect();
    let fixture = Fixture::of(Environment::Live, lines.collect()).await;
    let _me = fixture.store.enlist("{}".into()).await.unwrap();
    for hand in fixture.claim(Environment::Live).await {
        let fate = &fates[keys.iter().position(|key| *key == hand.key).unwrap()];
        live(&fixture, &hand, fate).await;
    }

    let (summary, _) = fixture.publish(SummaryState::Interrupted).await;
    let report = std::fs::read(fixture.dir.path().join("out/report.csv")).unwrap();
    let mut rows = back(&report, 2);
    let bad = rows.pop().unwrap();
    assert_eq!((bad.status, bad.error_kind), (RowStatus::Failed, Some(ErrorKind::BadLine)));
    assert_eq!(rows.iter().map(|row| row.key.clone()).collect::<Vec<_>>(), keys);
    for (row, fate) in rows.iter().zip(&fates) {
        assert_eq!(row.status.as_str(), fate.state.as_str());
        assert_eq!(row.carried, fate.carried);
        let heard = bought(fate).then(|| fate.words.clone());
        assert_eq!(row.transcript, heard);
        assert_eq!(row.error, (fate.state == JobState::Failed).then(|| fate.words.clone()));
        assert_eq!(
            (row.cost, row.billed_calls),
            (Some(MicroUsd(5_000 * i64::from(bought(fate)))), bought(fate).into())
        );
    }

    rows.push(bad);
    let mut lines: BTreeMap<RowStatus, u64> = BTreeMap::new();
    let mut failures: BTreeMap<ErrorKind, u64> = BTreeMap::new();
    for row in &rows {
        *lines.entry(row.status).or_default() += 1;
        if row.status == RowStatus::Failed {
            *failures.entry(row.error_kind.unwrap()).or_default() += 1;
        }
    }
    assert_eq!(summary.lines, lines);
    assert_eq!(summary.failures.iter().map(|some| (some.kind, some.count)).collect::<BTreeMap<_, _>>(), failures);
    assert_eq!(summary.suspects.iter().map(|some| some.count).sum::<u64>(), summary.count(RowStatus::Suspect));
    assert_eq!(summary.billed_calls, rows.iter().map(|row| u64::from(row.billed_calls)).sum::<u64>());
    assert_eq!(summary.spend.total_usd, rows.iter().filter_map(|row| row.cost).sum());
    let result = |row: &&Row| matches!(row.status, RowStatus::Succeeded | RowStatus::Suspect);
    let heard: u64 = rows.iter().filter(result).filter_map(|row| row.audio_ms).sum();
    assert!((summary.audio_seconds - heard as f64 / 1_000.0).abs() < 1e-6);
}

/// Whether a line of this fate has an answer.
fn bought(fate: &Fate) -> bool {
    match fate.state {
        JobState::Succeeded | JobState::Suspect => true,
        JobState::Failed | JobState::Queued => fate.answered,
        _ => false,
    }
}

async fn live(fixture: &Fixture, hand: &crate::store::Claimed, fate: &Fate) {
    if bought(fate) {
        fixture.answer(hand, &fate.words).await;
    }
    let later = fixture.store.clock().now() + 60_000;
    let finish = Finish {
        state: Some(fate.state),
        facts: Facts { audio_ms: Some(fate.audio_ms), ..Facts::default() },
        units: Some(fate.audio_ms),
        ..Finish::default()
    };
    match fate.state {
        JobState::Succeeded => fixture.settle(hand, finish).await,
        JobState::Suspect => fixture.settle(hand, Finish { error_kind: Some("empty".into()), ..finish }).await,
        JobState::Failed => fixture.settle(hand, Finish::failed(ErrorKind::SinkRefused, fate.words.clone())).await,
        JobState::Queued => fixture.place(hand, To::Queued { due_at: later, call: None, source_try: false }).await,
        JobState::Awaiting => {
            let call = fixture.permit(hand).await;
            fixture.end(call, End::Accepted { request_id: None }).await;
            fixture.place(hand, To::Awaiting { call, until: later }).await;
        }
        JobState::Cancelled => fixture.settle(hand, finish).await,
        JobState::Running | JobState::Skipped | JobState::Superseded => {}
    }
}
