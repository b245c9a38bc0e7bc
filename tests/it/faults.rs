//! Every fault at every place where a call is made: the line that it befalls comes out right, at the cost of one more call
//! at most, and its neighbours do not notice. Which test holds which fault, also of stores and disks, stands at the top of
//! `fault_matrix`.

use std::{fs, time::Duration};

use futures::StreamExt;
use serde_json::json;
use wavebatch::{
    domain::{
        callback::{Rule, Secret},
        job::{BatchId, JobState},
        retry::PauseKind,
    },
    runner::RunEnd,
    sandbox::{Config, ErrorShape, Fault, Match, StatusFault, What},
    server::Receiver,
};

use crate::support::{Fixture, synthesis::SynthesisSetup, watching::Lock};

/// Houses at once.
const AT_ONCE: usize = 8;
const SECRET: Secret = Secret::new([5; 32]);
const TEXTS: [(&str, &str); 3] = [
    ("call-1", "The first line is spoken whole."),
    ("call-2", "The second line meets a fault."),
    ("call-3", "The third line is spoken too."),
];

/// Where calls are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// A transcription that is waited for.
    Sync,
    /// One whose answer is posted.
    Posted,
    /// Speech, as one answer.
    Speech,
    /// Speech, as a stream of events.
    Stream,
}

const PLACES: [Place; 4] = [Place::Sync, Place::Posted, Place::Speech, Place::Stream];

/// Three lines at a place, the second of which meets the fault at its first call.
async fn disturbed(place: Place, fault: &What) -> (Fixture, BatchId, Option<Receiver>) {
    let mut fixture = Fixture::with(Config { webhook_backoff: Duration::from_millis(20), ..Config::default() }).await;
    let scripted = |matches| Fault::new(matches, fault.clone()).times(1);
    if matches!(place, Place::Speech | Place::Stream) {
        fixture.sandbox.script([scripted(Match::Text("second".into()))]);
        let transport = if place == Place::Stream { "sse" } else { "sync" };
        let setup = SynthesisSetup { synthesize: json!({ "transport": transport }), ..SynthesisSetup::default() };
        let batch = fixture.speak(&setup, &TEXTS).await;
        return (fixture, batch, None);
    }
    fixture.provable_calls(3);
    let second = fs::metadata(fixture.path("rec/2.wav")).expect("a recording").len();
    fixture.sandbox.script([scripted(Match::Size(second))]);
    if place == Place::Sync {
        let batch = fixture.submit(&fixture.definition("formats = [\"txt\"]", "unknown_grace = \"200ms\"")).await;
        return (fixture, batch, None);
    }
    let rule = Rule { over_bytes: 0, overdue_ms: 600, grace_ms: 200, ..Rule::default() };
    let receiver = fixture.listens(SECRET, rule).await;
    let toml = "name = \"night\"\ntask = \"transcribe\"\nmanifest = \"calls.csv\"\noutput = \"out/\"\n\
                [transcribe]\nmodel = \"pulse-pro\"\nlanguage = \"en\"\nformats = [\"txt\"]\n\
                [run]\nunknown_grace = \"200ms\"\n";
    let batch = fixture.submit(&fixture.write("night.toml", toml)).await;
    (fixture, batch, Some(receiver))
}

/// What the line at a place must have become, if it went well.
fn is_right(fixture: &Fixture, place: Place, i: usize) -> bool {
    match place {
        Place::Sync | Place::Posted => fixture.output(&format!("call-{i}.txt")).trim() == format!("words of call {i}"),
        Place::Speech | Place::Stream => {
            let wav = fs::read(fixture.spoken(&format!("call-{i}.wav"))).expect("an output");
            // The sandbox speaks for as long as the text would take.
            wav.starts_with(b"RIFF") && wav.len() > 10_000
        }
    }
}

/// The row of the table: place × fault.
async fn comes_out_right(place: Place, fault: What) {
    let message = format!("{place:?} × {fault:?}");
    let (fixture, batch, _receiver) = disturbed(place, &fault).await;
    assert_eq!(fixture.run_ahead(batch).await.end, RunEnd::Done, "{message}");
    for row in fixture.rows(batch).await {
        // Half of the samples, complete by all signs but their number: the text itself is the only witness.
        let short = place == Place::Speech && fault == What::Short200 && row.key == "call-2";
        let expected = if short { JobState::Suspect } else { JobState::Succeeded };
        assert_eq!(row.state, expected, "{message}: {} {:?}", row.key, row.error);
        let most = if row.key == "call-2" { 2 } else { 1 };
        assert!(row.billed_calls <= most && row.billed_calls >= 1, "{message}: {} of {}", row.billed_calls, row.key);
    }
    assert!((1..=3).all(|i| is_right(&fixture, place, i)), "{message}");
    let books = fixture.sandbox.books();
    assert!(
        books.most_billed() <= 2 && books.calls <= 4 + u64::from(place == Place::Posted),
        "{message}: {}",
        books.calls
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn each_fault_at_each_place_costs_one_more_call_at_most_and_no_line() {
    let faults = [
        What::Delay(150),
        What::CutBeforeWork,
        What::CutAfterWork,
        What::Truncated,
        What::Short200,
        What::Garbage200,
        What::Json200,
        What::Empty200,
        What::WrongType200,
        What::Drip(5),
        What::Html(502),
        What::Html(504),
        What::status(429),
        What::status(500),
        What::status(503),
    ];
    let table = PLACES.into_iter().flat_map(|place| faults.iter().map(move |fault| (place, fault.clone())));
    let rows = table.map(|(place, fault)| tokio::spawn(comes_out_right(place, fault)));
    let done = futures::stream::iter(rows).buffer_unordered(AT_ONCE).collect::<Vec<_>>().await;
    assert_eq!(done.len(), 60);
    done.into_iter().for_each(|row| row.expect("a row that holds"));
}

const SHAPES: [ErrorShape; 9] = [
    ErrorShape::Stt,
    ErrorShape::SttOlder,
    ErrorShape::SttRegion,
    ErrorShape::NoToken,
    ErrorShape::BadKey,
    ErrorShape::Tts,
    ErrorShape::Chat,
    ErrorShape::Html,
    ErrorShape::Nothing,
];

/// The row of the table: place × status × shape.
async fn means_what_it_says(place: Place, code: u16, shape: ErrorShape) {
    let message = format!("{place:?} × {code} as {shape:?}");
    let fault = What::Status(StatusFault { code, shape: Some(shape), ..StatusFault::default() });
    let (fixture, batch, _receiver) = disturbed(place, &fault).await;
    let ran = fixture.run_ahead(batch).await;
    let counts = fixture.counts(batch).await;
    let row = fixture.row(batch, "call-2").await;
    match code {
        // Its words are about the account's region, whatever the status.
        400 | 401 if shape == ErrorShape::SttRegion => {
            assert_eq!(ran.end, RunEnd::Paused, "{message}");
            let pause = fixture.store.batch_by_id(batch).await.expect("a ledger").pause.expect("a pause");
            assert_eq!(pause.0, PauseKind::Region, "{message}");
            assert_eq!((counts.of(JobState::Failed), row.tries), (0, 0), "{message}");
        }
        // Whoever refuses the account blames no line.
        401 => {
            assert_eq!(ran.end, RunEnd::Paused, "{message}");
            let pause = fixture.store.batch_by_id(batch).await.expect("a ledger").pause.expect("a pause");
            assert_eq!(pause.0, PauseKind::Credentials, "{message}");
            assert_eq!((counts.of(JobState::Failed), row.tries), (0, 0), "{message}");
        }
        400 => {
            assert_eq!(ran.end, RunEnd::Done, "{message}");
            assert_eq!((counts.of(JobState::Failed), counts.of(JobState::Succeeded)), (1, 2), "{message}");
            assert_eq!((row.state, row.billed_calls), (JobState::Failed, 0), "{message}: {:?}", row.error);
            assert!(row.error.is_some_and(|error| !error.is_empty()), "{message}");
        }
        _ => {
            assert_eq!(ran.end, RunEnd::Done, "{message}");
            assert_eq!(counts.of(JobState::Succeeded), 3, "{message}: {:?}", row.error);
            assert!(row.billed_calls <= 2, "{message}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_shape_of_an_error_means_what_its_status_says() {
    let places = [Place::Sync, Place::Speech];
    let codes = [400, 401, 500];
    let table = places.into_iter().flat_map(|place| {
        codes.into_iter().flat_map(move |code| SHAPES.into_iter().map(move |shape| (place, code, shape)))
    });
    let rows = table.map(|(place, code, shape)| tokio::spawn(means_what_it_says(place, code, shape)));
    let done = futures::stream::iter(rows).buffer_unordered(AT_ONCE).collect::<Vec<_>>().await;
    assert_eq!(done.len(), 54);
    done.into_iter().for_each(|row| row.expect("a row that holds"));
}

/// Forty recordings, in the middle of being worked: `disturb` happens once ten have arrived.
async fn in_the_middle<F: Future<Output = ()>>(message: &str, disturb: impl FnOnce(Fixture) -> (Fixture, F)) {
    const LINES: u64 = 40;
    let fixture = Fixture::with(Config { latency: Duration::from_millis(30), ..Config::default() }).await;
    fixture.provable_calls(usize::try_from(LINES).expect("few"));
    let batch = fixture.submit(&fixture.definition("", "concurrency = 4\nunknown_grace = \"200ms\"")).await;
    let (fixture, disturbed) = disturb(fixture);
    let (ran, ()) = tokio::join!(fixture.run(batch), async {
        fixture.sandbox.arrivals(10).await;
        disturbed.await;
    });
    assert_eq!(ran.end, RunEnd::Done, "{message}");
    fixture.all_well(batch, LINES, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_that_is_locked_for_eight_seconds_costs_nothing() {
    in_the_middle("locked", |fixture| {
        let path = fixture.path("wavebatch.db");
        let disturb = async move {
            let lock = Lock::on(&path).await;
            tokio::time::sleep(Duration::from_secs(8)).await;
            lock.release().await;
        };
        (fixture, disturb)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_jumps_by_an_hour_costs_nothing() {
    for hour in [3_600_000, -3_600_000] {
        in_the_middle(&format!("{hour} ms"), |fixture| {
            let clock = fixture.clock.clone();
            (fixture, async move { clock.advance(hour) })
        })
        .await;
    }
}

crate::support::server::on_postgres_in_the_gate! {
    each_fault_at_each_place_costs_one_more_call_at_most_and_no_line,
    each_shape_of_an_error_means_what_its_status_says,
    a_clock_that_jumps_by_an_hour_costs_nothing,
}
