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

/// A voice of the sandbox that says these words, at 24 kHz.
fn voice(dir: &std::path::Path, id: &str, words: &str) -> Vec<i16> {
    std::fs::write(dir.join(format!("{id}.csv")), format!("key,text\n{id},\"{words}\"\n")).expect("a manifest");
    let manifest = format!("{id}.csv");
    let run = ["run", &manifest, "--task", "synthesize", "--model", "lightning_v3.1", "--formats", "pcm", "--sandbox"];
    let output =
        wavebatch(dir, &[&run[..], &["--voice-id", id, "--speed", "0.8"]].concat()).output().expect("the program");
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let pcm = std::fs::read(dir.join(format!("sandbox-out/{id}/{id}.pcm"))).expect("speech");
    pcm.chunks_exact(2).map(|bytes| i16::from_le_bytes([bytes[0], bytes[1]])).collect()
}

/// Two channels side by side, both as long as the longer one.
fn two_channels(first: &[i16], second: &[i16]) -> Vec<u8> {
    let at = |samples: &[i16], n: usize| samples.get(n).copied().unwrap_or_default();
    let frames = 0..first.len().max(second.len());
    let samples: Vec<i16> = frames.flat_map(|n| [at(first, n), at(second, n)]).collect();
    wav::pcm16(2, 24_000, None, &samples)
}

#[test]
fn recordings_are_heard_before_they_are_paid_for() {
    let dir = fixture();
    let agent = voice(dir.path(), "avery", "Good morning, this is the service desk, how can I help you today?");
    let customer = voice(dir.path(), "liam", "I have a question about my order, it has not come yet.");
    let later: Vec<i16> = std::iter::repeat_n(0, agent.len()).chain(customer).collect();
    std::fs::create_dir(dir.path().join("rec")).expect("a folder");
    let put =
        |name: &str, content: Vec<u8>| std::fs::write(dir.path().join("rec").join(name), content).expect("a file");
    put("apart.wav", two_channels(&agent, &later));
    put("broken.wav", b"RIFF\x10\0\0\0no audio".to_vec());
    put("dual.wav", two_channels(&agent, &agent));
    put("mono.wav", wav::pcm16(1, 24_000, None, &agent));
    put("one-sided.wav", two_channels(&agent, &[]));
    put("silent.wav", wav::pcm16(1, 24_000, None, &vec![0; 240_000]));
    let check = |more: &[&str]| {
        let analyze: &[&str] = &["check", "rec", "--channels", "split"];
        wavebatch(dir.path(), &[analyze, &AS_CALLS, more].concat()).output().expect("the program")
    };

    let view: Value = json(&check(&["--analyze", "all", "--json"]));
    let heard = &view["heard"];
    for kind in ["mono", "stereo", "dual_mono", "one_sided", "silent", "not_heard"] {
        assert_eq!((&heard[kind]["found"], &heard[kind]["of"]), (&1.into(), &6.into()), "{kind}: {heard:#}");
    }
    for kind in ["many_channels", "broken", "by_ffmpeg", "lacks_ffmpeg"] {
        assert_eq!(heard[kind]["found"], 0, "{kind}: {heard:#}");
    }
    let broken = heard["not_heard"]["example"].as_str().expect("one");
    assert!(broken.contains("broken.wav: "), "{broken}");
    let seconds = |samples: usize| samples as f64 / 24_000.0;
    let audio = 3.0 * seconds(agent.len()) + seconds(later.len()) + 10.0;
    let (mix, split) = (&heard["ways"]["mix"], &heard["ways"]["split"]);
    let near = |value: &Value, wanted: f64| (value.as_f64().expect("a number") - wanted).abs() < 0.05;
    assert!(near(&heard["audio_seconds"], audio) && near(&mix["audio_seconds"], audio), "{audio}: {heard:#}");
    assert!(
        near(&split["audio_seconds"], audio + seconds(later.len())),
        "the call of two sides is bought twice: {heard:#}"
    );
    assert_eq!((&mix["calls"], &split["calls"]), (&5.into(), &6.into()), "{heard:#}");
    // A pulse minute is half a cent.
    let cost = |seconds: f64| seconds / 60.0 * 0.005;
    assert!(
        (split["cost_usd"].as_f64().expect("a price") - cost(audio + seconds(later.len()))).abs() < 1e-5,
        "{heard:#}"
    );
    let speech = heard["speech_seconds"].as_f64().expect("a number");
    assert!(speech > seconds(agent.len()) * 2.0 && speech < audio - 10.0, "{speech}: {heard:#}");
    assert_eq!((&heard["silence"]["calls"], &heard["skips_silence"]), (&1.into(), &false.into()), "{heard:#}");
    assert!(near(&heard["silence"]["audio_seconds"], 10.0), "{heard:#}");
    // By headers alone three recordings have two channels; of the broken one nothing is known.
    let most = &view["plan"]["estimate"]["at_most"];
    assert!((8..=10).contains(&most["calls"].as_u64().expect("a number")), "{most}");
    assert!(most["cost_usd"].as_f64() > split["cost_usd"].as_f64(), "an upper bound: {most} {split}");

    let text = check(&["--analyze", "all"]);
    let said = String::from_utf8_lossy(&text.stdout).into_owned();
    assert!(said.contains("heard     6 recordings; nothing was sent\n"), "{said}");
    assert!(said.contains("1 mono, 1 stereo (two voices apart), 1 dual mono, 1 one-sided, 1 silent\n"), "{said}");
    assert!(said.contains("calls: recordings of two channels are two calls each where both speak\n"), "{said}");
    assert!(said.contains("no_speech = \"skip\" would save about $"), "{said}");
    assert!(stderr(&text).contains("listening to 6 recordings, on this machine; nothing is sent"), "{}", stderr(&text));
    let some = json(&check(&["--analyze", "3", "--json"]));
    assert_eq!((&some["heard"]["listened"], &some["heard"]["recordings"]), (&3.into(), &6.into()), "{some:#}");
    assert!(!dir.path().join("wavebatch.db").exists(), "nothing is left behind");
    assert!(json(&check(&["--json"]))["heard"].is_null(), "only if it is asked for");

    let wrong = check(&["--analyze", "0"]);
    assert_eq!(code(&wrong), 2);
    assert!(stderr(&wrong).contains("write a number of recordings, e.g. 200, or all"), "{}", stderr(&wrong));
    let texts = ["check", "liam.csv", "--task", "synthesize", "--model", "lightning_v3.1", "--voice-id", "liam"];
    let texts = wavebatch(dir.path(), &[&texts[..], &["--analyze", "all"]].concat()).output().expect("the program");
    assert_eq!(code(&texts), 2);
    assert!(stderr(&texts).contains("`--analyze` is for recordings"), "{}", stderr(&texts));
}

#[tokio::test(flavor = "multi_thread")]
async fn recordings_elsewhere_are_fetched_heard_and_removed() {
    let (dir, s3, temp) = (fixture(), S3Server::start().await, tempfile::tempdir().expect("a folder"));
    s3.put("calls", "a.wav", recording(1));
    let web = Web::serve([("/b.wav", Page::File(recording(2)))]).await;
    let manifest = format!(
        "key,source\n1,s3://calls/a.wav\n2,{}\n3,s3://calls/none.wav\n4,{}\n5,none.wav\n",
        web.url("/b.wav"),
        web.url("/none.wav?token=secret"),
    );
    std::fs::write(dir.path().join("calls.csv"), manifest).expect("a manifest");
    let mut command =
        wavebatch(dir.path(), &[&["check", "calls.csv", "--analyze", "all", "--json"], &AS_CALLS[..]].concat());
    let output = command.envs(s3.environment()).env("TMPDIR", temp.path()).output().expect("the program");
    let heard = &json(&output)["heard"];
    assert_eq!((&heard["listened"], &heard["silent"]["found"]), (&5.into(), &2.into()), "{heard:#}");
    assert_eq!((&heard["not_heard"]["found"], &heard["audio_seconds"]), (&3.into(), &20.0.into()), "{heard:#}");
    assert!(heard["not_heard"]["example"].as_str().expect("one").contains("none.wav"), "{heard:#}");
    assert!(!heard.to_string().contains("secret"), "{heard:#}");
    let left: Vec<_> = std::fs::read_dir(temp.path()).expect("a folder").flatten().map(|entry| entry.path()).collect();
    assert!(left.is_empty(), "{left:?}");
}
