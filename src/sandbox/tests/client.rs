//! The client of the API and its stand-in understand each other.

use std::io::Cursor;

use super::*;
use crate::{
    domain::{
        call::{ErrorKind, LogFilter, Outcome},
        extra::Extra,
        options::ExpireContent,
        synthesis_options::{AudioFormat, SampleRate, Speed, SynthesisOptions, TtsModel},
    },
    waves::{Client, Departure, Pronunciation, Settings, SynthesisCall, SynthesisOutcome, Transport},
};

const TEXT: &str = "The quick brown fox jumps over the lazy dog.";

fn client(sandbox: &Sandbox) -> Client {
    let settings = Settings {
        base_url: sandbox.base_url().parse().unwrap(),
        key: "sk_test".into(),
        connect_timeout: Duration::from_secs(5),
        user_agent: "wavebatch/test".into(),
    };
    Client::new(settings).unwrap()
}

fn options() -> SynthesisOptions {
    SynthesisOptions {
        model: TtsModel::Lightning,
        voice_id: "avery".into(),
        language: None,
        speed: Speed::NORMAL,
        number_pronunciation_language: None,
        extra: Extra::default(),
        math_notation: false,
        expire_content: ExpireContent::Try,
    }
}

async fn speak(
    sandbox: &Sandbox,
    format: AudioFormat,
    rate: SampleRate,
    transport: Transport,
) -> (SynthesisOutcome, Vec<u8>) {
    let (options, mut written) = (options(), Vec::new());
    let call = SynthesisCall {
        options: &options,
        text: TEXT,
        format,
        rate,
        dictionaries: &[],
        transport,
        call_id: "c1",
        session: "a batch",
    };
    let timeout = Duration::from_secs(20);
    let outcome = client(sandbox).synthesize(&call, || Departure::Go, timeout, &mut written).await.unwrap();
    (outcome, written)
}

#[tokio::test]
async fn every_format_and_rate_is_spoken_and_heard() {
    let sandbox = Sandbox::start(Config::default()).await.unwrap();
    for rate in SampleRate::ALL {
        let mut pcm = Vec::new();
        for format in AudioFormat::ALL {
            let (outcome, written) = speak(&sandbox, *format, *rate, Transport::Sync).await;
            let Outcome::Answered(spoken) = outcome else { panic!("{format} {rate}: {outcome:?}") };
            assert_eq!((spoken.bytes, spoken.format), (written.len() as u64, *format));
            assert_eq!(spoken.content_type.as_deref(), Some(format.content_type()));
            assert!(spoken.request_id.is_some() && spoken.content_expiry.as_deref() == Some("applied"));
            match format {
                AudioFormat::Wav => {
                    let comment = wav::read(&mut Cursor::new(&written)).unwrap().comment;
                    assert_eq!(comment.as_deref(), Some(TEXT));
                }
                AudioFormat::Pcm => pcm = written,
                _ => {}
            }
        }
        let (outcome, written) = speak(&sandbox, AudioFormat::Wav, *rate, Transport::Sse).await;
        assert!(matches!(outcome, Outcome::Answered(spoken) if spoken.format == AudioFormat::Pcm));
        assert!(written == pcm && !pcm.is_empty(), "{rate}");
    }
    let record = sandbox.books().requests.remove(0);
    assert_eq!(record.sent_id.as_deref(), Some("c1"));
    assert!(record.session.unwrap().starts_with("a-batch."));
}

#[tokio::test]
async fn every_fault_has_its_outcome() {
    let sync = |what| (what, Transport::Sync);
    let sse = |what| (what, Transport::Sse);
    let class = |outcome: SynthesisOutcome| match outcome {
        Outcome::Refused(failure) => ("refused", failure.kind),
        Outcome::Unknown(failure) => ("unknown", failure.kind),
        Outcome::Unusable(failure) => ("unusable", failure.kind),
        other => panic!("{other:?}"),
    };
    for ((what, transport), expected) in [
        (sync(What::status(500)), ("refused", ErrorKind::ServerError)),
        (sse(What::status(429)), ("refused", ErrorKind::RateLimited)),
        (sync(What::Html(502)), ("unknown", ErrorKind::Gateway)),
        (sync(What::CutBeforeWork), ("unknown", ErrorKind::ConnectionLost)),
        (sync(What::Truncated), ("unknown", ErrorKind::Truncated)),
        (sse(What::Truncated), ("unknown", ErrorKind::Truncated)),
        (sse(What::Unended), ("unknown", ErrorKind::Truncated)),
        (sse(What::Short200), ("unknown", ErrorKind::Truncated)),
        (sse(What::ErrorEvent), ("unusable", ErrorKind::UnusableAnswer)),
        (sse(What::EmptyText), ("unusable", ErrorKind::UnusableAnswer)),
        (sync(What::Short200), ("unusable", ErrorKind::UnusableAnswer)),
        (sync(What::EmptyText), ("unusable", ErrorKind::UnusableAnswer)),
        (sync(What::Json200), ("unusable", ErrorKind::UnusableAnswer)),
        (sync(What::Garbage200), ("unusable", ErrorKind::UnusableAnswer)),
        (sync(What::Empty200), ("unusable", ErrorKind::UnusableAnswer)),
        (sync(What::WrongType200), ("unusable", ErrorKind::UnusableAnswer)),
    ] {
        let sandbox = Sandbox::start(Config::default()).await.unwrap();
        sandbox.script([Fault::new(Match::Nth(1), what.clone())]);
        let (outcome, _) = speak(&sandbox, AudioFormat::Wav, SampleRate::Hz8000, transport).await;
        assert_eq!(class(outcome), expected, "{what:?}");
    }
}

#[tokio::test]
async fn a_lost_callback_is_found_in_the_log() {
    let peer = Peer::new().await;
    peer.sandbox.script([Fault::new(Match::Any, What::CallbackLost)]);
    let url = "https://hooks.example.com/callbacks/c1";
    let call = peer.call(&format!("model=pulse-pro&language=en&webhook_url={url}"));
    let accepted = json(call.body(recording(1))).await.1;
    peer.sandbox.callbacks_ended(1).await;
    let log = client(&peer.sandbox).stt_log(1, 50, LogFilter::default()).await.unwrap().entries;
    assert_eq!((log.len(), log[0].webhook_url.as_deref()), (1, Some(url)));
    assert!(accepted["request_id"] == *log[0].request_id && !log[0].transcription.is_empty());
}

#[tokio::test]
async fn voices_are_listed() {
    let sandbox = Sandbox::start(Config::default()).await.unwrap();
    let voices = client(&sandbox).voices().await.unwrap();
    let devansh = voices.iter().find(|voice| voice.id == "devansh").unwrap();
    assert_eq!((devansh.name.as_str(), &devansh.languages[..]), ("Devansh", &["hi".to_owned(), "en".to_owned()][..]));
    let untagged = voices.iter().find(|voice| voice.id == "jordan").unwrap();
    assert!(untagged.languages.is_empty() && untagged.gender.is_none());
    let of = |id: &str| voices.iter().find(|voice| voice.id == id).unwrap().models.clone();
    assert_eq!((of("avery"), of("meher")), (vec![TtsModel::Lightning], vec![TtsModel::LightningPro]));
    assert_eq!(sandbox.books().voice_calls, 2, "each model has a list of its own");
}

#[tokio::test]
async fn dictionaries_are_made_changed_and_taken_away() {
    let sandbox = Sandbox::start(Config::default()).await.unwrap();
    let client = client(&sandbox);
    let items = |said: &str| vec![Pronunciation { word: "nginx".into(), pronunciation: said.into() }];
    let made = client.create_dictionary(&items("engine-x")).await.unwrap();
    assert!(made.created_at.is_some() && made.items == items("engine-x"));
    let changed = client.update_dictionary(&made.id, &items("en-jinx")).await.unwrap();
    assert_eq!((&changed.id, &changed.items), (&made.id, &items("en-jinx")));
    let listed = client.dictionaries().await.unwrap();
    assert_eq!((listed.len(), &listed[0].items), (1, &items("en-jinx")));
    client.delete_dictionary(&made.id).await.unwrap();
    assert!(client.dictionaries().await.unwrap().is_empty());
    assert_eq!(client.delete_dictionary(&made.id).await.unwrap_err().kind, ErrorKind::BadRequest);
    assert_eq!(client.create_dictionary(&[]).await.unwrap_err().kind, ErrorKind::BadRequest);
}
