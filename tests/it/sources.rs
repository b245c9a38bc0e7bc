//! Each bad source is its own line's failure, under its own name; the rest goes on.

use std::{fs, io::Write, time::Duration};

use flate2::{Compression, write::GzEncoder};
use wavebatch::{
    domain::{
        job::JobState::{Failed, Succeeded},
        pool::{Limits, Pool},
    },
    runner::RunEnd,
};

use crate::support::{
    Fixture,
    service::program,
    synthesis,
    web::{Page, Web},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_file_is_its_own_lines_failure_before_any_call() {
    let fixture = Fixture::new().await;
    fixture.recording("rec/good.wav", "good words", 1.0, 1);
    fixture.write("rec/empty.wav", "");
    fs::create_dir(fixture.path("rec/folder.wav")).unwrap();
    let large = fs::File::create(fixture.path("rec/large.wav")).unwrap();
    large.set_len(250 * 1024 * 1024 + 1).unwrap();
    fixture.write("rec/page.wav", "<!DOCTYPE html><html><body>not found</body></html>");
    fixture.write("rec/error.wav", "{\"error\": \"expired\"}");
    fixture.write("rec/error.xml.wav", "<?xml version=\"1.0\"?><Error/>");
    fixture.write("rec/paper.wav", "%PDF-1.7 ...");
    fixture.write("rec/pack.wav", b"PK\x03\x04....");
    // 8 kHz µ-law without a header: nobody can know, so the vendor decides.
    fixture.write("rec/phone.ulaw", (0..16_000_u32).map(|i| (i * 37 % 251) as u8 | 0x80).collect::<Vec<_>>());
    let expected = [
        ("good", "rec/good.wav", ""),
        ("missing", "rec/missing.wav", "source_missing"),
        ("empty", "rec/empty.wav", "source_empty"),
        ("folder", "rec/folder.wav", "source_unreadable"),
        ("large", "rec/large.wav", "source_too_large"),
        ("html", "rec/page.wav", "source_not_audio"),
        ("json", "rec/error.wav", "source_not_audio"),
        ("xml", "rec/error.xml.wav", "source_not_audio"),
        ("pdf", "rec/paper.wav", "source_not_audio"),
        ("zip", "rec/pack.wav", "source_not_audio"),
        ("phone", "rec/phone.ulaw", ""),
    ];
    fixture.lines(&expected.map(|(key, source, _)| (key, source)));
    let (batch, ran) = fixture.go("", "").await;
    assert_eq!(ran.end, RunEnd::Done);
    let ends = fixture.ends(batch).await;
    for (key, _, kind) in expected {
        let state = if kind.is_empty() { Succeeded } else { Failed };
        assert_eq!(ends[key], (state, kind.to_owned()), "{key}");
    }
    let books = fixture.sandbox.books();
    assert_eq!((books.calls, books.billed), (2, 2), "nothing was sent of what is known to be wrong");
    assert!(fixture.rows(batch).await.iter().filter(|r| r.state == Failed).all(|r| r.error.is_some() && r.cost == 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_address_is_its_own_lines_failure() {
    let fixture = Fixture::new().await;
    let good = synthesis("words from afar", 1.0, 1);
    let web = Web::serve([
        ("/good.wav", Page::File(good.clone())),
        ("/busy.wav", Page::Then(500, 1, synthesis("busy", 1.0, 2))),
        ("/busier.wav", Page::Then(503, 2, synthesis("busier", 1.0, 3))),
        ("/down.wav", Page::Status(500)),
        ("/denied.wav", Page::Status(403)),
        ("/hang.wav", Page::Hang),
        ("/circle.wav", Page::Redirect("/circle.wav")),
        ("/moved.wav", Page::Redirect("/good.wav")),
        ("/cut.wav", Page::CutOnce(synthesis("cut and mended", 8.0, 4))),
        ("/locked.wav", Page::Locked(synthesis("locked", 1.0, 5))),
        ("/page.wav", Page::File(b"<html>sorry</html>".to_vec())),
        ("/nothing.wav", Page::File(vec![])),
    ])
    .await;
    let expected = [
        ("signed", web.url("/gone.wav?X-Amz-Signature=secret"), "source_missing"),
        ("plain", web.url("/good.wav"), ""),
        ("missing", web.url("/nowhere.wav"), "source_missing"),
        ("busy", web.url("/busy.wav"), ""),
        ("busier", web.url("/busier.wav"), ""),
        ("down", web.url("/down.wav"), "source_unavailable"),
        ("denied", web.url("/denied.wav"), "source_refused"),
        ("hang", web.url("/hang.wav"), "source_timed_out"),
        ("circle", web.url("/circle.wav"), "source_refused"),
        ("moved", web.url("/moved.wav"), ""),
        ("cut", web.url("/cut.wav"), ""),
        ("locked", web.url_for("user:password", "/locked.wav"), ""),
        ("page", web.url("/page.wav"), "source_not_audio"),
        ("nothing", web.url("/nothing.wav"), "source_empty"),
        ("nobody", "http://127.0.0.1:1/a.wav".to_owned(), "source_unavailable"),
    ];
    fixture.lines(&expected.clone().map(|(key, source, _)| (key, source)));
    let (batch, ran) = fixture.go("", "max_tries = 2").await;
    assert_eq!(ran.end, RunEnd::Done);
    let ends = fixture.ends(batch).await;
    for (key, _, kind) in &expected {
        let state = if kind.is_empty() { Succeeded } else { Failed };
        assert_eq!(ends[*key], (state, (*kind).to_owned()), "{key}");
    }
    assert_eq!(fixture.row(batch, "busy").await.tries, 0, "one hiccup is the download's own affair");
    assert_eq!(fixture.row(batch, "busier").await.tries, 1);
    assert_eq!(fixture.output("cut.txt").trim(), "cut and mended");
    let asked = web.asked("/cut.wav");
    assert_eq!(asked.len(), 2);
    assert!(asked[1].to_ascii_lowercase().contains("range: bytes="), "it was resumed");
    let books = fixture.sandbox.books();
    assert!(books.requests.iter().all(|r| r.url.is_none()), "a private host is fetched, never handed on");
    let errors: Vec<_> = fixture.rows(batch).await.into_iter().filter_map(|r| r.error).collect();
    assert!(!errors.iter().any(|e| e.contains("secret") || e.contains("password")), "{errors:?}");
    let spooled = fs::read_dir(fixture.store.spool().join("fetch")).unwrap().count();
    assert_eq!(spooled, 0, "copies go when they were sent");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_is_handed_on_where_the_definition_says_so() {
    let fixture = Fixture::new().await;
    let web = Web::serve([("/a.wav", Page::File(synthesis("sent as a URL", 1.0, 1)))]).await;
    fixture.lines(&[("a", web.url("/a.wav")), ("b", web.url("/nowhere.wav"))]);
    let (batch, _) = fixture.go("send = \"url\"", "").await;
    assert_eq!(fixture.ends(batch).await["a"], (Succeeded, String::new()));
    assert_eq!(fixture.ends(batch).await["b"], (Failed, "bad_request".to_owned()));
    assert_eq!(fixture.output("a.txt").trim(), "sent as a URL");
    let books = fixture.sandbox.books();
    assert!(books.requests.iter().any(|r| r.url.as_deref() == Some(web.url("/a.wav").as_str())));
    assert!(!fixture.store.spool().join("fetch").exists(), "nothing was fetched");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recording_that_changes_before_it_is_sent_is_sent_as_it_is_then() {
    let mut fixture = Fixture::new().await;
    fixture.limits.insert(Pool::Pulse, Limits { requests_per_minute: None, concurrency: Some(1) });
    fixture.calls(2);
    for i in [1, 2] {
        // Too long to be read before its permit.
        fixture.recording(&format!("rec/{i}.wav"), &format!("words of call {i}"), 5.0, i);
    }
    let batch = fixture.submit(&fixture.definition("", "")).await;
    fixture.sandbox.hold();
    let (ran, ()) = tokio::join!(fixture.run(batch), async {
        fixture.sandbox.waiting(1).await;
        // The other line has been looked at meanwhile, and waits for its permit.
        tokio::time::sleep(Duration::from_millis(300)).await;
        for i in [1, 2] {
            fixture.recording(&format!("rec/{i}.wav"), &format!("new words {i}"), 5.5, 9 + i);
        }
        fixture.sandbox.release();
    });
    assert_eq!(ran.end, RunEnd::Done);
    fixture.all_well(batch, 2, 1).await;
    let rows = fixture.rows(batch).await;
    assert_eq!(rows.iter().map(|r| r.tries).sum::<u32>(), 1, "one of them was seen to change: {rows:?}");
    assert_eq!(rows.iter().map(|r| r.billed_calls).sum::<u32>(), 2);
    let texts = [fixture.output("call-0001.txt"), fixture.output("call-0002.txt")];
    assert_eq!(texts.iter().filter(|t| t.starts_with("new words")).count(), 1, "{texts:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_does_not_wait_for_downloads() {
    let fixture = Fixture::new().await;
    let web = Web::serve([("/hang.wav", Page::Hang)]).await;
    fixture.lines(&[("a", web.url("/hang.wav"))]);
    let batch = fixture.submit(&fixture.definition("", "")).await;
    let drain = tokio_util::sync::CancellationToken::new();
    let (ran, ()) = tokio::join!(fixture.run_until(batch, drain.clone()), async {
        fixture.until("the download", || async { web.asked("/hang.wav").len() == 1 }).await;
        drain.cancel();
    });
    assert_eq!(ran.end, RunEnd::Interrupted);
    assert_eq!(web.asked("/hang.wav").len(), 1, "it was not tried to its end");
    assert_eq!(fixture.job(batch, "a").await.row.tries, 0);
}

/// Everything looks like the internet through a proxy, and the machine's own metadata do not.
#[tokio::test(flavor = "multi_thread")]
async fn the_internet_leads_into_no_private_network_unless_that_is_meant() {
    let fixture = Fixture::new().await;
    let proxy = Web::serve([("*", Page::Redirect("http://169.254.169.254/latest/meta-data"))]).await;
    fixture.lines(&[("call", "http://rec.example.com/1.wav")]);
    for (source, message, inside) in
        [("", "into a private network, to `169.254.169.254`", 0), ("private_redirects = true", "in a circle", 1)]
    {
        let toml = format!(
            "name = \"night\"\ntask = \"transcribe\"\nmanifest = \"calls.csv\"\n[source]\n{source}\n\
             [transcribe]\nmodel = \"pulse\"\nlanguage = \"en\"\nsend = \"bytes\"\n"
        );
        fixture.write("night.toml", toml);
        let mut run = program(&fixture, &["run", "night.toml"]);
        run.env("HTTP_PROXY", proxy.url("")).env_remove("http_proxy").env_remove("NO_PROXY").env_remove("no_proxy");
        let output = run.output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert!(stderr.contains("source_refused"), "{stderr}");
        let batch = fixture.store.batch("night").await.unwrap().unwrap().id;
        let row = fixture.row(batch, "call").await;
        assert!(row.error.as_deref().is_some_and(|error| error.contains(message)), "{:?}", row.error);
        assert_eq!(proxy.asked("http://169.254.169.254/latest/meta-data").len(), inside);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_packed_recording_is_sent_unpacked() {
    let fixture = Fixture::new().await;
    let packed = |bytes: &[u8]| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    };
    let wav = synthesis("packed words", 20.0, 1);
    let web = Web::serve([
        ("/a.wav", Page::Packed("gzip", packed(&wav))),
        ("/plain.wav", Page::Packed("gzip", synthesis("plain words", 1.0, 2))),
        ("/bomb.wav", Page::Packed("gzip", packed(&vec![0; 300 << 20]))),
        ("/br.wav", Page::Packed("br", wav.clone())),
        ("/cut.wav", Page::Packed("gzip", packed(&wav)[..900].to_vec())),
        ("/calls.csv", Page::Packed("gzip", packed(b"key,source\na,/a.wav\n"))),
    ])
    .await;
    fixture.lines(&["a", "plain", "bomb", "br", "cut"].map(|key| (key, web.url(&format!("/{key}.wav")))));
    let (batch, _) = fixture.go("send = \"bytes\"\nformats = [\"txt\"]", "").await;
    let ends = fixture.ends(batch).await;
    for (key, kind) in [
        ("a", ""),
        ("plain", ""),
        ("bomb", "source_too_large"),
        ("br", "source_unreadable"),
        ("cut", "source_unreadable"),
    ] {
        let state = if kind.is_empty() { Succeeded } else { Failed };
        assert_eq!(ends[key], (state, kind.to_owned()), "{key}");
    }
    assert_eq!(fixture.output("a.txt"), "packed words\n");
    let manifest = web.url("/calls.csv");
    let args = ["run", &manifest, "--task", "transcribe", "--model", "pulse", "--language", "en", "--output", "web"];
    let output = program(&fixture, &args).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
}

crate::support::server::on_postgres_in_the_gate! {
    a_bad_file_is_its_own_lines_failure_before_any_call,
    a_bad_address_is_its_own_lines_failure,
    an_address_is_handed_on_where_the_definition_says_so,
    a_recording_that_changes_before_it_is_sent_is_sent_as_it_is_then,
    a_drain_does_not_wait_for_downloads,
    the_internet_leads_into_no_private_network_unless_that_is_meant,
    a_packed_recording_is_sent_unpacked,
}
