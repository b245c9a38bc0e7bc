//! What `check` sees of recordings before anything is paid.

use serde_json::Value;
use wavebatch::audio::wav;

use crate::{
    cli::{code, fixture, json, stderr, wavebatch},
    support::{
        s3::S3Server,
        web::{Page, Web},
    },
};

const AS_CALLS: [&str; 6] = ["--task", "transcribe", "--model", "pulse", "--language", "en"];

/// A recording of ten seconds.
fn recording(channels: u16) -> Vec<u8> {
    wav::pcm16(channels, 8_000, Some("some words that were said"), &vec![0; 80_000 * usize::from(channels)])
}

#[tokio::test(flavor = "multi_thread")]
async fn sources_of_every_kind_are_looked_at() {
    let (dir, s3) = (fixture(), S3Server::start().await);
    s3.put("calls", "a.wav", recording(1));
    s3.put("calls", "b.wav", recording(1));
    let web =
        Web::serve([("/c.wav", Page::File(recording(1))), ("/page.wav", Page::File(b"<html>no</html>".to_vec()))])
            .await;
    std::fs::write(dir.path().join("d.wav"), recording(2)).expect("a recording");
    let manifest = format!(
        "key,source\n1,s3://calls/a.wav\n2,s3://calls/b.wav\n3,s3://calls/none.wav\n4,{}\n5,{}\n6,{}\n7,d.wav\n8,none.wav\n",
        web.url("/c.wav"),
        web.url("/none.wav"),
        web.url("/page.wav")
    );
    std::fs::write(dir.path().join("calls.csv"), manifest).expect("a manifest");
    let check = |more: &[&str]| {
        let mut command = wavebatch(dir.path(), &[&["check", "calls.csv"], &AS_CALLS[..], more].concat());
        command.envs(s3.environment()).output().expect("the program")
    };
    let output = check(&["--json"]);
    let view: Value = json(&output);
    let (sources, estimate) = (&view["plan"]["sources"], &view["plan"]["estimate"]);
    assert_eq!((&sources["lines"], &sources["looked"]), (&8.into(), &8.into()), "{sources}");
    assert_eq!((&sources["missing"]["found"], &sources["missing"]["about"]), (&3.into(), &3.into()), "{sources}");
    assert_eq!(sources["unusable"]["found"], 1, "{sources}");
    assert!(sources["unusable"]["example"].as_str().expect("one").contains("HTML"), "{sources}");
    assert_eq!((&sources["stereo"]["found"], &sources["stereo"]["of"]), (&1.into(), &4.into()), "{sources}");
    assert_eq!(estimate["headers_read"], 4, "{estimate}");
    // Five are there, as far as is known; of one that is no audio nobody knows how long it is.
    assert_eq!(estimate["audio_seconds"], 50.0, "{estimate}");
    assert_eq!(code(&output), 1, "lines would fail");

    let text = check(&[]);
    let said = String::from_utf8_lossy(&text.stdout).into_owned() + &stderr(&text);
    assert!(said.contains("missing   3 of 8 recordings are not there, e.g. "), "{said}");
    assert!(said.contains("unusable  1 of 8 recordings cannot be used, e.g. "), "{said}");
    assert!(said.contains(", judging by the headers of 4 recordings, and 3 lines"), "{said}");
    assert!(said.contains("\nnot checked\n") && !said.contains("not looked at"), "all were: {said}");
    assert!(!dir.path().join("wavebatch.db").exists(), "nothing is left behind");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_known_is_null_and_a_limit_says_what_it_leaves_undone() {
    let dir = fixture();
    std::fs::write(dir.path().join("calls.csv"), "key,source\n1,https://127.0.0.1:1/a.wav\n").expect("a manifest");
    let output = wavebatch(dir.path(), &[&["check", "calls.csv", "--json"], &AS_CALLS[..]].concat()).output();
    let view: Value = json(&output.expect("the program"));
    let estimate = &view["plan"]["estimate"];
    assert_eq!((&estimate["audio_seconds"], &estimate["cost_usd"]), (&Value::Null, &Value::Null), "{estimate}");
    assert_eq!(view["plan"]["sources"]["looked"], 0);

    std::fs::create_dir(dir.path().join("rec")).expect("a folder");
    for n in 0..10 {
        std::fs::write(dir.path().join(format!("rec/{n}.wav")), recording(1)).expect("a recording");
    }
    // A minute and forty seconds, of which the limit pays for a half.
    let half = ["check", "rec", "--max-spend", "0.0036"];
    let output =
        wavebatch(dir.path(), &[&half[..], &["--json"], &AS_CALLS[..]].concat()).output().expect("the program");
    let limit = &json(&output)["plan"]["spend_limit"];
    let cost = json(&output)["plan"]["estimate"]["cost_usd"].as_f64().expect("a price");
    let undone = ((cost - 0.0036) / cost * 10.0).floor();
    assert_eq!(limit["undone"].as_f64(), Some(undone), "{limit} {cost}");
    assert!((1.0..9.0).contains(&undone), "{undone}");
    let text = wavebatch(dir.path(), &[&half[..], &AS_CALLS[..]].concat()).output().expect("the program");
    let said = String::from_utf8_lossy(&text.stdout).into_owned();
    assert!(said.contains("would be left undone"), "{said}");
}
