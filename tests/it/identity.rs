//! What a line is, and what it pays: recordings that were moved, touched, rotated, signed afresh or linked, as files, at URLs
//! and in S3, by the real binary.

use std::{
    fs,
    os::unix::fs::symlink,
    path::Path,
    process::Stdio,
    time::{Duration, SystemTime},
};

use wavebatch::{domain::job::JobState, sandbox::Config};

use crate::{
    dated_batch::{AFTER, BEFORE, DatedBatch},
    support::{
        Fixture,
        service::program,
        synthesis,
        web::{Page, Web},
    },
};

const AD_HOC: [&str; 6] = ["--task", "transcribe", "--model", "pulse", "--language", "en"];

/// A house whose program has no limit of requests.
async fn fixture() -> Fixture {
    let fixture = Fixture::with(Config::default()).await;
    fixture.write("wavebatch.toml", "[limits.pulse]\nrequests_per_minute = 0\n");
    fixture
}

/// Exit status, and all that was said.
fn run_in(fixture: &Fixture, dir: &Path, args: &[&str]) -> (i32, String) {
    let mut command = program(fixture, args);
    let config = fixture.path("wavebatch.toml");
    let command = command.arg("--config").arg(config).current_dir(dir).stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = command.output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8_lossy(&said).into_owned())
}

fn run(fixture: &Fixture, args: &[&str]) -> (i32, String) {
    run_in(fixture, fixture.dir.path(), args)
}

/// Runs recordings without a definition.
fn ad_hoc(fixture: &Fixture, dir: &Path, args: &[&str]) -> (i32, String) {
    run_in(fixture, dir, &[&["run"], args, &AD_HOC].concat())
}

fn definition(fixture: &Fixture, manifest: &str, more: &str) {
    let toml = format!(
        "name = \"calls\"\ntask = \"transcribe\"\nmanifest = \"{manifest}\"\noutput = \"out\"\n{more}\n\
         [transcribe]\nmodel = \"pulse\"\nlanguage = \"en\"\nformats = [\"txt\"]\nsend = \"bytes\"\n"
    );
    fixture.write("calls.toml", toml);
}

/// All recordings of these have one size.
fn record(fixture: &Fixture, names: &[&str], first: usize) {
    for (n, name) in (first..).zip(names) {
        fixture.recording(name, &format!("words {n:04}"), 0.5, n);
    }
}

/// Gives every file below a folder another time.
fn touch(dir: &Path, secs: u64) {
    for entry in walkdir::WalkDir::new(dir).into_iter().map(Result::unwrap).filter(|e| e.file_type().is_file()) {
        let file = fs::File::options().write(true).open(entry.path()).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000 + secs)).unwrap();
    }
}

fn calls(fixture: &Fixture) -> u64 {
    fixture.sandbox.books().calls
}

#[tokio::test(flavor = "multi_thread")]
async fn another_folder_under_a_batchs_name_is_another_batch() {
    let fixture = fixture().await;
    record(&fixture, &["day1/calls/0001.wav", "day1/calls/0002.wav"], 1);
    record(&fixture, &["day2/calls/0001.wav", "day2/calls/0003.wav"], 5);
    // Recordings may have all their times in common, as from an archive.
    ["day1", "day2"].iter().for_each(|day| touch(&fixture.path(day), 0));
    let here = fixture.dir.path();
    let (code, message) = ad_hoc(&fixture, here, &["day1/calls"]);
    assert_eq!((code, calls(&fixture)), (0, 2), "{message}");
    let before = fixture.path("out/calls/0001.json");
    let first = fs::read(&before).unwrap();
    let (code, message) = ad_hoc(&fixture, here, &["day2/calls"]);
    assert_eq!((code, calls(&fixture)), (2, 2), "{message}");
    for words in ["day1/calls", "day2/calls", "1 key stands for another recording", "--batch NAME", "--update-source"] {
        assert!(message.contains(words), "{words}: {message}");
    }
    assert_eq!(fs::read(&before).unwrap(), first);
    // Only new keys are another batch as well.
    record(&fixture, &["day3/calls/0009.wav"], 9);
    let (code, message) = ad_hoc(&fixture, here, &["day3/calls"]);
    assert_eq!((code, calls(&fixture)), (2, 2), "{message}");
    assert!(message.contains("none of its 1 key is among the batch's"), "{message}");
    let check = run(&fixture, &[&["check", "day2/calls"], &AD_HOC[..]].concat());
    assert_eq!(check.0, 2, "{}", check.1);
    // The ways out.
    let (code, message) = ad_hoc(&fixture, here, &["day2/calls", "--batch", "two"]);
    assert_eq!((code, calls(&fixture)), (0, 4), "{message}");
    let (code, message) = ad_hoc(&fixture, here, &["day2/calls", "--update-source"]);
    assert_eq!((code, calls(&fixture)), (0, 6), "{message}");
    let (code, message) = ad_hoc(&fixture, here, &["day2/calls"]);
    assert_eq!((code, calls(&fixture)), (0, 6), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_manifest_of_one_name_is_another_batch() {
    let fixture = fixture().await;
    for (day, first) in [("day1", 1), ("day2", 5)] {
        record(&fixture, &[&format!("{day}/1.wav"), &format!("{day}/2.wav")], first);
        fixture.write(&format!("{day}/calls.csv"), "key,source\na,1.wav\nb,2.wav\n");
    }
    let here = fixture.dir.path();
    let (code, message) = ad_hoc(&fixture, here, &["day1/calls.csv"]);
    assert_eq!((code, calls(&fixture)), (0, 2), "{message}");
    let (code, message) = ad_hoc(&fixture, here, &["day2/calls.csv"]);
    assert_eq!((code, calls(&fixture)), (2, 2), "{message}");
    assert!(message.contains("2 keys stand for other recordings"), "{message}");
    // Submitted and never sent, the lines of the first day are no less its own.
    record(&fixture, &["day3/1.wav"], 7);
    record(&fixture, &["day4/1.wav"], 8);
    let submit = |source: &str| run(&fixture, &[&["submit", source, "--batch", "b"], &AD_HOC[..]].concat());
    ["day3", "day4"].iter().for_each(|day| touch(&fixture.path(day), 0));
    assert_eq!(submit("day3").0, 0);
    let (code, message) = submit("day4");
    assert_eq!(code, 2, "{message}");
    // Half of the lines are known: the one that clashes decides.
    fixture.write("day5/calls.csv", "key,source\na,../day1/1.wav\nb,../day2/2.wav\nc,../day2/1.wav\n");
    let (code, message) = ad_hoc(&fixture, here, &["day5/calls.csv"]);
    assert_eq!((code, calls(&fixture)), (2, 2), "{message}");
    assert!(
        message.contains("1 key stands for another recording or text there (1 the same in both, 1 new)"),
        "{message}"
    );
    // None clashes: the address is renewed, and what is new is bought.
    fixture.write("day5/calls.csv", "key,source\na,../day1/1.wav\nc,../day2/1.wav\n");
    let (code, message) = ad_hoc(&fixture, here, &["day5/calls.csv"]);
    assert_eq!((code, calls(&fixture)), (0, 3), "{message}");
    assert!(message.contains("the batch's manifest was at") && message.contains("day1/calls.csv"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_moved_or_touched_pays_nothing() {
    let fixture = fixture().await;
    let names = ["a/rec/1.wav", "a/rec/2.wav", "a/rec/deep/3.wav"];
    record(&fixture, &names, 1);
    let list: String =
        (1..=2).map(|n| format!("call-{n},{}\n", fixture.path(&format!("a/rec/{n}.wav")).display())).collect();
    fixture.write("a/list.csv", format!("key,source\n{list}"));
    for source in ["rec", "list.csv"] {
        let (code, message) = ad_hoc(&fixture, &fixture.path("a"), &[source]);
        assert_eq!(code, 0, "{message}");
    }
    let paid = calls(&fixture);
    assert_eq!(paid, 5);
    // The same command reads nothing: another content that nothing else shows is not seen.
    let (hidden, kept) = (fixture.path("a/rec/1.wav"), fixture.path("a/kept"));
    fs::rename(&hidden, &kept).unwrap();
    let time = fs::metadata(&kept).unwrap().modified().unwrap();
    record(&fixture, &["a/rec/1.wav"], 9);
    fs::File::options().write(true).open(&hidden).unwrap().set_modified(time).unwrap();
    let (code, message) = ad_hoc(&fixture, &fixture.path("a"), &["rec"]);
    assert_eq!((code, calls(&fixture)), (0, paid), "{message}");
    assert!(!message.contains("reading") && message.contains("3 there already"), "{message}");
    fs::rename(&kept, &hidden).unwrap();
    let (code, message) = ad_hoc(&fixture, &fixture.path("a"), &["rec"]);
    assert_eq!((code, calls(&fixture)), (0, paid), "{message}");
    // Moved, with the ledger: another home.
    fs::rename(fixture.path("a"), fixture.path("b")).unwrap();
    let moved: String =
        (1..=2).map(|n| format!("call-{n},{}\n", fixture.path(&format!("b/rec/{n}.wav")).display())).collect();
    fixture.write("b/list.csv", format!("key,source\n{moved}"));
    for source in ["rec", "list.csv"] {
        let (code, message) = ad_hoc(&fixture, &fixture.path("b"), &[source]);
        assert_eq!((code, calls(&fixture)), (0, paid), "{message}");
        assert!(message.contains("the batch's manifest was at"), "{message}");
        assert!(!message.contains("reading"), "size, time and path below the folder are the same: {message}");
    }
    // Another time: read, and nothing bought; then known by it.
    touch(&fixture.path("b/rec"), 7);
    let check = [&["check", "rec"], &AD_HOC[..]].concat();
    let (code, message) = run_in(&fixture, &fixture.path("b"), &check);
    assert_eq!(code, 0, "{message}");
    assert!(message.contains("read      3 recordings") && message.contains("renewed   3 recordings"), "{message}");
    let (code, message) = ad_hoc(&fixture, &fixture.path("b"), &["rec"]);
    assert_eq!((code, calls(&fixture)), (0, paid), "{message}");
    assert!(message.contains("reading   3 recordings (") && message.contains("renewed   3 recordings"), "{message}");
    let (_, message) = ad_hoc(&fixture, &fixture.path("b"), &["rec"]);
    assert!(!message.contains("reading") && !message.contains("renewed"), "{message}");
    // Elsewhere below the folder, under the same keys.
    fs::create_dir(fixture.path("b/other")).unwrap();
    fs::rename(fixture.path("b/rec/2.wav"), fixture.path("b/other/2.wav")).unwrap();
    fixture.write("b/list.csv", "key,source\ncall-1,rec/1.wav\ncall-2,other/2.wav\n");
    let (code, message) = ad_hoc(&fixture, &fixture.path("b"), &["list.csv"]);
    assert_eq!((code, calls(&fixture)), (0, paid), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotated_recording_is_a_changed_line() {
    let fixture = fixture().await;
    record(&fixture, &["rec/0001.wav", "rec/0002.wav"], 1);
    definition(&fixture, "rec", "");
    assert_eq!(run(&fixture, &["run", "calls.toml"]).0, 0);
    let size = fs::metadata(fixture.path("rec/0001.wav")).unwrap().len();
    record(&fixture, &["rec/0001.wav"], 9);
    assert_eq!(fs::metadata(fixture.path("rec/0001.wav")).unwrap().len(), size);
    let (code, message) = run(&fixture, &["check", "calls.toml"]);
    assert_eq!(code, 0, "{message}");
    assert!(
        message.contains("1 changed, 1 done") && message.contains("1 recording is another one than before"),
        "{message}"
    );
    let (code, message) = run(&fixture, &["run", "calls.toml"]);
    assert_eq!((code, calls(&fixture)), (0, 3), "{message}");
    assert_eq!(fixture.output("0001.txt").trim(), "words 0009");
    // One of another size needs not be read to be another one.
    fixture.recording("rec/0002.wav", "a longer one", 1.5, 3);
    let (code, message) = run(&fixture, &["run", "calls.toml"]);
    assert_eq!((code, calls(&fixture)), (0, 4), "{message}");
    assert!(!message.contains("reading"), "{message}");
    assert_eq!(fixture.output("0002.txt").trim(), "a longer one");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_keeps_what_is_known_of_it() {
    let fixture = fixture().await;
    record(&fixture, &["rec/1.wav", "rec/2.wav"], 1);
    fixture.write("calls.csv", "key,source\na,rec/1.wav\nb,rec/2.wav\n");
    definition(&fixture, "calls.csv", "");
    assert_eq!(run(&fixture, &["run", "calls.toml"]).0, 0);
    // It is archived elsewhere.
    fs::remove_file(fixture.path("rec/1.wav")).unwrap();
    let (code, message) = run(&fixture, &["run", "calls.toml"]);
    assert_eq!((code, calls(&fixture)), (0, 2), "{message}");
    assert!(message.contains("1 recording cannot be read to be compared"), "{message}");
    assert_eq!(fixture.output("a.txt").trim(), "words 0001");
    // It comes back, as it was: with the same path, size and time, or with another time.
    record(&fixture, &["rec/1.wav"], 1);
    let (code, message) = run(&fixture, &["run", "calls.toml"]);
    assert_eq!((code, calls(&fixture)), (0, 2), "{message}");
    assert!(message.contains("renewed   1 recording"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_was_never_sent_takes_the_file_as_it_is() {
    let fixture = fixture().await;
    record(&fixture, &["rec/1.wav"], 1);
    definition(&fixture, "rec", "");
    assert_eq!(run(&fixture, &["submit", "calls.toml"]).0, 0);
    record(&fixture, &["rec/1.wav"], 2);
    let (code, message) = run(&fixture, &["run", "calls.toml"]);
    assert_eq!((code, calls(&fixture)), (0, 1), "{message}");
    assert!(message.contains("1 there already") && !message.contains("reading"), "{message}");
    assert_eq!(fixture.output("1.txt").trim(), "words 0002");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_night_of_recordings_of_one_length_is_not_the_night_before() {
    let dated = DatedBatch::new().await;
    let fixture = &dated.fixture;
    let toml = "name = \"calls\"\ntask = \"transcribe\"\ndate = \"today\"\ntimezone = \"Asia/Kolkata\"\nbatch = \"{name}-{date}\"\n\
        manifest = \"rec\"\noutput = \"out/{date}\"\n[transcribe]\nmodel = \"pulse\"\nlanguage = \"en\"\nformats = [\"txt\"]\n";
    fixture.write("calls.toml", toml);
    record(fixture, &["rec/0001.wav", "rec/0002.wav"], 1);
    let (code, message) = dated.run(BEFORE, &["run", "calls.toml"]).await;
    assert_eq!((code, calls(fixture)), (0, 2), "{message}");
    // Only times differ: it is the night before, read to be sure.
    touch(&fixture.path("rec"), 5);
    let (code, message) = dated.run(AFTER, &["run", "calls.toml"]).await;
    assert_eq!((code, calls(fixture)), (0, 2), "{message}");
    assert!(message.contains("goes on   calls-2026-11-20"), "{message}");
    assert_eq!(message.matches("reading   2 recordings").count(), 1, "{message}");
    // The next recordings under the same names, of the same size.
    record(fixture, &["rec/0001.wav", "rec/0002.wav"], 11);
    let (code, message) = dated.run(AFTER, &["run", "calls.toml"]).await;
    assert_eq!((code, calls(fixture)), (0, 4), "{message}");
    assert_eq!(fixture.output("2026-11-21/0001.txt").trim(), "words 0011");
    assert_eq!(fixture.output("2026-11-20/0001.txt").trim(), "words 0001");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_real_file_is_bought_once() {
    let fixture = fixture().await;
    let names = ["1", "2", "3"].map(|n| format!("rec/2026-11-20/{n}.wav"));
    record(&fixture, &names.each_ref().map(String::as_str), 1);
    record(&fixture, &["far/7.wav"], 7);
    symlink("2026-11-20", fixture.path("rec/latest")).unwrap();
    symlink(fixture.path("far"), fixture.path("rec/far")).unwrap();
    definition(&fixture, "rec", "");
    let (code, message) = run(&fixture, &["run", "calls.toml"]);
    assert_eq!((code, calls(&fixture)), (0, 3), "{message}");
    assert!(message.contains("2 symbolic link to a folder"), "{message}");
    definition(&fixture, "rec", "follow_links = true");
    let (code, message) = run(&fixture, &["run", "calls.toml"]);
    assert_eq!((code, calls(&fixture)), (0, 4), "{message}");
    assert!(message.contains("1 symbolic link to what is listed already"), "{message}");
    assert_eq!(fixture.output("far/7.txt").trim(), "words 0007");
    fixture.write("calls.csv", "key,source\na,rec/2026-11-20/1.wav\n");
    definition(&fixture, "calls.csv", "follow_links = true");
    let (code, message) = run(&fixture, &["check", "calls.toml"]);
    assert_eq!(code, 2);
    assert!(message.contains("follow_links") && message.contains("is for directories and globs"), "{message}");
}

/// A web server with a recording below each of these paths.
async fn web(paths: &[String]) -> Web {
    let page =
        |(n, path): (usize, &String)| (&*path.clone().leak(), Page::File(synthesis(&format!("words {n}"), 0.5, n)));
    Web::serve(paths.iter().enumerate().map(page).collect::<Vec<_>>()).await
}

fn report(fixture: &Fixture) -> String {
    fs::read_to_string(fixture.path("out/report.csv")).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fresh_signature_buys_nothing_and_stands_in_no_report() {
    let signed = |n: u32| {
        [
            format!("/0.wav?x-oss-date={n}&x-oss-signature=s{n}&leg=2"),
            format!("/1.wav?q-sign-algorithm=sha1&q-ak=a{n}&q-key-time={n}&q-signature=s{n}"),
            format!("/2.wav?md5=s{n}&expires={n}"),
            format!("/3.wav?hdnts=exp={n}~hmac=s{n}"),
            format!("/4.wav?Authorization=s{n}"),
            format!("/5.wav?jwt=s{n}"),
            format!("/6.wav?auth=s{n}"),
            format!("/7.wav?sig=s{n}"),
            format!("/8.wav?token=s{n}&exp={n}"),
            format!("/9.wav?sv=2024-11-04&se={n}&sp=r&sig=s{n}"),
        ]
    };
    let fixture = fixture().await;
    let web = web(&[signed(1111), signed(2222)].concat()).await;
    let export = |paths: &[String]| {
        let lines: String = paths.iter().enumerate().map(|(n, path)| format!("call-{n},{}\n", web.url(path))).collect();
        fixture.write("calls.csv", format!("key,source\n{lines}"));
    };
    definition(&fixture, "calls.csv", "");
    export(&signed(1111));
    let (code, message) = run(&fixture, &["run", "calls.toml"]);
    assert_eq!((code, calls(&fixture)), (0, 10), "{message}");
    export(&signed(2222));
    let (code, message) = run(&fixture, &["run", "calls.toml"]);
    assert_eq!((code, calls(&fixture)), (0, 10), "{message}");
    assert!(report(&fixture).contains("/0.wav,") && !report(&fixture).contains('?'), "{}", report(&fixture));
    let batch = fixture.store.batch("calls").await.unwrap().unwrap().id;
    let sources: Vec<_> = fixture.rows(batch).await.into_iter().filter_map(|row| row.source).collect();
    assert!(sources.iter().all(|source| source.contains("2222")), "the fresher one is kept: {sources:?}");
    let (_, listed) = run(&fixture, &["jobs", "calls", "--key", "call-0"]);
    assert!(!listed.contains("2222"), "{listed}");
    definition(&fixture, "calls.csv", "[source]\nreport_query = [\"leg\"]");
    assert_eq!(run(&fixture, &["report", "calls"]).0, 0);
    let (code, message) = run(&fixture, &["run", "calls.toml"]);
    assert_eq!((code, calls(&fixture)), (0, 10), "{message}");
    assert!(report(&fixture).contains("/0.wav?leg=2,") && !report(&fixture).contains("s2222"), "{}", report(&fixture));
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_that_wait_are_fetched_by_the_fresher_signature() {
    let fixture = fixture().await;
    let (old, new) = ("/a.wav?Signature=old&Expires=1", "/a.wav?Signature=new&Expires=2");
    let web = Web::serve([(old, Page::Status(403)), (new, Page::File(synthesis("words", 0.5, 1)))]).await;
    definition(&fixture, "calls.csv", "");
    for path in [old, new] {
        fixture.write("calls.csv", format!("key,source\na,{}\n", web.url(path)));
        assert_eq!(run(&fixture, &["submit", "calls.toml"]).0, 0);
    }
    let (code, message) = run(&fixture, &["work"]);
    assert_eq!((code, calls(&fixture)), (0, 1), "{message}");
    assert!(web.asked(old).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parameter_that_differs_everywhere_is_named_before_anything_is_bought() {
    let fixture = fixture().await;
    let paths = |n: u32| (0..4).map(|i| format!("/{i}.wav?id={i}&ticket=t{n}")).collect::<Vec<_>>();
    let web = web(&[paths(1), paths(2), paths(3)].concat()).await;
    let export = |paths: &[String]| {
        let lines: String = paths.iter().enumerate().map(|(n, path)| format!("call-{n},{}\n", web.url(path))).collect();
        fixture.write("calls.csv", format!("key,source\n{lines}"));
    };
    definition(&fixture, "calls.csv", "");
    export(&paths(1));
    assert_eq!(run(&fixture, &["run", "calls.toml"]).0, 0);
    export(&paths(2));
    for verb in ["check", "run"] {
        let (code, message) = run(&fixture, &[verb, "calls.toml"]);
        assert_eq!((code, calls(&fixture)), (2, 4), "{message}");
        assert!(
            message.contains("`ticket`") && message.contains("ignore_query") && !message.contains("`id`"),
            "{message}"
        );
    }
    definition(&fixture, "calls.csv", "[source]\nignore_query = [\"ticket\"]");
    let (code, message) = run(&fixture, &["run", "calls.toml"]);
    assert_eq!((code, calls(&fixture)), (0, 4), "{message}");
    export(&paths(3));
    let (code, message) = run(&fixture, &["run", "calls.toml"]);
    assert_eq!((code, calls(&fixture)), (0, 4), "{message}");
    // One corrected cell is that line alone, and no parameter of all.
    let mut corrected = paths(3);
    corrected[2] = "/0.wav?id=0&ticket=t1".to_owned();
    export(&corrected);
    let (code, message) = run(&fixture, &["run", "calls.toml"]);
    assert_eq!((code, calls(&fixture)), (0, 5), "{message}");
    assert!(message.contains("1 changed, 3 there already"), "{message}");
    // `all`, and other recordings after all.
    definition(&fixture, "calls.csv", "[source]\nignore_query = \"all\"");
    export(&["/0.wav?id=9", "/1.wav", "/0.wav?x", "/3.wav?y=1"].map(str::to_owned));
    let (code, message) = run(&fixture, &["run", "calls.toml"]);
    assert_eq!((code, calls(&fixture)), (0, 5), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_are_known_by_what_the_store_says_of_them() {
    let dated = DatedBatch::new().await;
    let put = |key: &str, n: usize| dated.s3.put("acme-calls", key, synthesis(&format!("words {n:04}"), 0.5, n));
    let definition = |manifest: &str| {
        dated.fixture.write(
            "calls.toml",
            format!(
                "name = \"calls\"\ntask = \"transcribe\"\nmanifest = \"{manifest}\"\noutput = \"out\"\n\
                 [transcribe]\nmodel = \"pulse\"\nlanguage = \"en\"\nformats = [\"txt\"]\n"
            ),
        );
    };
    let paid = || dated.fixture.sandbox.books().calls;
    put("day1/0001.wav", 1);
    put("day1/0002.wav", 2);
    definition("s3://acme-calls/day1/");
    let (code, message) = dated.run(BEFORE, &["run", "calls.toml"]).await;
    assert_eq!((code, paid()), (0, 2), "{message}");
    // Put there again, the same; then another one of the same size.
    put("day1/0001.wav", 1);
    let (code, message) = dated.run(BEFORE, &["run", "calls.toml"]).await;
    assert_eq!((code, paid()), (0, 2), "{message}");
    put("day1/0001.wav", 5);
    let (code, message) = dated.run(BEFORE, &["run", "calls.toml"]).await;
    assert_eq!((code, paid()), (0, 3), "{message}");
    assert_eq!(dated.fixture.output("0001.txt").trim(), "words 0005");
    // Another prefix with other recordings under the same keys, and with the same ones.
    put("day2/0001.wav", 5);
    put("day2/0002.wav", 9);
    definition("s3://acme-calls/day2/");
    let (code, message) = dated.run(BEFORE, &["run", "calls.toml"]).await;
    assert_eq!((code, paid()), (2, 3), "{message}");
    for words in ["s3://acme-calls/day1/", "s3://acme-calls/day2/", "1 key stands for another", "--update-source"] {
        assert!(message.contains(words), "{words}: {message}");
    }
    put("moved/0001.wav", 5);
    put("moved/0002.wav", 2);
    definition("s3://acme-calls/moved/");
    let (code, message) = dated.run(BEFORE, &["run", "calls.toml"]).await;
    assert_eq!((code, paid()), (0, 3), "{message}");
    assert!(message.contains("the batch's manifest was at s3://acme-calls/day1/"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_definition_keeps_its_manifests_address_as_it_is_written() {
    let fixture = fixture().await;
    record(&fixture, &["jobs/2026-11-20/1.wav"], 1);
    record(&fixture, &["jobs/2026-11-21/1.wav"], 2);
    touch(&fixture.path("jobs"), 0);
    definition(&fixture, "{date}", "date = \"2026-11-20\"");
    fs::rename(fixture.path("calls.toml"), fixture.path("jobs/calls.toml")).unwrap();
    let (code, message) = run(&fixture, &["run", "jobs/calls.toml"]);
    assert_eq!((code, calls(&fixture)), (0, 1), "{message}");
    // Another date is the same address: its line is a changed one.
    let (code, message) = run(&fixture, &["run", "jobs/calls.toml", "--date", "2026-11-21"]);
    assert_eq!((code, calls(&fixture)), (0, 2), "{message}");
    // Moved with its recordings, the definition has it still.
    fs::rename(fixture.path("jobs"), fixture.path("tasks")).unwrap();
    let (code, message) = run(&fixture, &["run", "tasks/calls.toml", "--date", "2026-11-21", "--output", "tasks/out"]);
    assert_eq!((code, calls(&fixture)), (0, 2), "{message}");
    assert!(!message.contains("manifest was at"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_book_that_was_moved_is_not_spoken_again() {
    let fixture = fixture().await;
    fixture.write("a/texts.csv", "key,text\none,Hello and welcome.\ntwo,Goodbye!\n");
    fixture.write("b/texts.csv", "key,text\none,Hello and welcome.\ntwo,Good night!\n");
    let speak = ["--task", "synthesize", "--model", "lightning_v3.1", "--voice-id", "avery"];
    let run = |source: &str| run(&fixture, &[&["run", source], &speak[..]].concat());
    let (code, message) = run("a/texts.csv");
    assert_eq!((code, calls(&fixture)), (0, 2), "{message}");
    let (code, message) = run("b/texts.csv");
    assert_eq!((code, calls(&fixture)), (2, 2), "{message}");
    assert!(message.contains("1 key stands for another recording or text there"), "{message}");
    fs::rename(fixture.path("a"), fixture.path("c")).unwrap();
    let (code, message) = run("c/texts.csv");
    assert_eq!((code, calls(&fixture)), (0, 2), "{message}");
    assert!(message.contains("the batch's manifest was at"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recording_that_changes_while_it_is_sent_is_never_taken_for_what_it_was() {
    let fixture = Fixture::new().await;
    fixture.recording("rec/1.wav", "words 0001", 5.0, 1);
    fixture.lines(&[("a", "rec/1.wav")]);
    let batch = fixture.submit(&fixture.definition("", "")).await;
    fixture.sandbox.hold();
    let (_, ()) = tokio::join!(fixture.run(batch), async {
        fixture.sandbox.waiting(1).await;
        // The vendor has it; another one of its size takes its place before the answer comes.
        fixture.recording("rec/1.wav", "words 0002", 5.0, 2);
        fixture.sandbox.release();
    });
    assert_eq!(fixture.job(batch, "a").await.row.state, JobState::Succeeded);
    // Whatever is found there now is not known to be what was heard.
    let again = fixture.submit(&fixture.definition("", "")).await;
    assert_eq!(again, batch);
    fixture.run(batch).await;
    assert_eq!((fixture.sandbox.books().calls, fixture.output("a.txt").trim()), (2, "words 0002"));
    let _ = fixture.submit(&fixture.definition("", "")).await;
    fixture.run(batch).await;
    assert_eq!(fixture.sandbox.books().calls, 2);
}

crate::support::server::on_postgres_in_the_gate! {
    another_folder_under_a_batchs_name_is_another_batch,
    another_manifest_of_one_name_is_another_batch,
    what_was_moved_or_touched_pays_nothing,
    a_rotated_recording_is_a_changed_line,
    what_cannot_be_read_keeps_what_is_known_of_it,
    a_line_that_was_never_sent_takes_the_file_as_it_is,
    a_night_of_recordings_of_one_length_is_not_the_night_before,
    each_real_file_is_bought_once,
    a_fresh_signature_buys_nothing_and_stands_in_no_report,
    lines_that_wait_are_fetched_by_the_fresher_signature,
    a_parameter_that_differs_everywhere_is_named_before_anything_is_bought,
    objects_are_known_by_what_the_store_says_of_them,
    a_definition_keeps_its_manifests_address_as_it_is_written,
    a_book_that_was_moved_is_not_spoken_again,
    a_recording_that_changes_while_it_is_sent_is_never_taken_for_what_it_was,
}
