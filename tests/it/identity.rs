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
    night::{AFTER, BEFORE, Night},
    support::{
        House,
        service::program,
        speech,
        web::{Page, Web},
    },
};

const AD_HOC: [&str; 6] = ["--task", "transcribe", "--model", "pulse", "--language", "en"];

/// A house whose program has no limit of requests.
async fn house() -> House {
    let house = House::with(Config::default()).await;
    house.write("wavebatch.toml", "[limits.pulse]\nrequests_per_minute = 0\n");
    house
}

/// Exit status, and all that was said.
fn run_in(house: &House, dir: &Path, args: &[&str]) -> (i32, String) {
    let mut command = program(house, args);
    let config = house.path("wavebatch.toml");
    let command = command.arg("--config").arg(config).current_dir(dir).stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = command.output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8_lossy(&said).into_owned())
}

fn run(house: &House, args: &[&str]) -> (i32, String) {
    run_in(house, house.dir.path(), args)
}

/// Runs recordings without a definition.
fn ad_hoc(house: &House, dir: &Path, args: &[&str]) -> (i32, String) {
    run_in(house, dir, &[&["run"], args, &AD_HOC].concat())
}

fn definition(house: &House, manifest: &str, more: &str) {
    let toml = format!(
        "name = \"calls\"\ntask = \"transcribe\"\nmanifest = \"{manifest}\"\noutput = \"out\"\n{more}\n\
         [transcribe]\nmodel = \"pulse\"\nlanguage = \"en\"\nformats = [\"txt\"]\nsend = \"bytes\"\n"
    );
    house.write("calls.toml", toml);
}

/// All recordings of these have one size.
fn record(house: &House, names: &[&str], first: usize) {
    for (n, name) in (first..).zip(names) {
        house.recording(name, &format!("words {n:04}"), 0.5, n);
    }
}

/// Gives every file below a folder another time.
fn touch(dir: &Path, secs: u64) {
    for entry in walkdir::WalkDir::new(dir).into_iter().map(Result::unwrap).filter(|e| e.file_type().is_file()) {
        let file = fs::File::options().write(true).open(entry.path()).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000 + secs)).unwrap();
    }
}

fn calls(house: &House) -> u64 {
    house.sandbox.books().calls
}

#[tokio::test(flavor = "multi_thread")]
async fn another_folder_under_a_batchs_name_is_another_batch() {
    let house = house().await;
    record(&house, &["day1/calls/0001.wav", "day1/calls/0002.wav"], 1);
    record(&house, &["day2/calls/0001.wav", "day2/calls/0003.wav"], 5);
    // Recordings may have all their times in common, as from an archive.
    ["day1", "day2"].iter().for_each(|day| touch(&house.path(day), 0));
    let here = house.dir.path();
    let (code, told) = ad_hoc(&house, here, &["day1/calls"]);
    assert_eq!((code, calls(&house)), (0, 2), "{told}");
    let before = house.path("out/calls/0001.json");
    let first = fs::read(&before).unwrap();
    let (code, told) = ad_hoc(&house, here, &["day2/calls"]);
    assert_eq!((code, calls(&house)), (2, 2), "{told}");
    for words in ["day1/calls", "day2/calls", "1 key stands for another recording", "--batch NAME", "--update-source"] {
        assert!(told.contains(words), "{words}: {told}");
    }
    assert_eq!(fs::read(&before).unwrap(), first);
    // Only new keys are another batch as well.
    record(&house, &["day3/calls/0009.wav"], 9);
    let (code, told) = ad_hoc(&house, here, &["day3/calls"]);
    assert_eq!((code, calls(&house)), (2, 2), "{told}");
    assert!(told.contains("none of its 1 key is among the batch's"), "{told}");
    let check = run(&house, &[&["check", "day2/calls"], &AD_HOC[..]].concat());
    assert_eq!(check.0, 2, "{}", check.1);
    // The ways out.
    let (code, told) = ad_hoc(&house, here, &["day2/calls", "--batch", "two"]);
    assert_eq!((code, calls(&house)), (0, 4), "{told}");
    let (code, told) = ad_hoc(&house, here, &["day2/calls", "--update-source"]);
    assert_eq!((code, calls(&house)), (0, 6), "{told}");
    let (code, told) = ad_hoc(&house, here, &["day2/calls"]);
    assert_eq!((code, calls(&house)), (0, 6), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_manifest_of_one_name_is_another_batch() {
    let house = house().await;
    for (day, first) in [("day1", 1), ("day2", 5)] {
        record(&house, &[&format!("{day}/1.wav"), &format!("{day}/2.wav")], first);
        house.write(&format!("{day}/calls.csv"), "key,source\na,1.wav\nb,2.wav\n");
    }
    let here = house.dir.path();
    let (code, told) = ad_hoc(&house, here, &["day1/calls.csv"]);
    assert_eq!((code, calls(&house)), (0, 2), "{told}");
    let (code, told) = ad_hoc(&house, here, &["day2/calls.csv"]);
    assert_eq!((code, calls(&house)), (2, 2), "{told}");
    assert!(told.contains("2 keys stand for other recordings"), "{told}");
    // Submitted and never sent, the lines of the first day are no less its own.
    record(&house, &["day3/1.wav"], 7);
    record(&house, &["day4/1.wav"], 8);
    let submit = |source: &str| run(&house, &[&["submit", source, "--batch", "b"], &AD_HOC[..]].concat());
    ["day3", "day4"].iter().for_each(|day| touch(&house.path(day), 0));
    assert_eq!(submit("day3").0, 0);
    let (code, told) = submit("day4");
    assert_eq!(code, 2, "{told}");
    // Half of the lines are known: the one that clashes decides.
    house.write("day5/calls.csv", "key,source\na,../day1/1.wav\nb,../day2/2.wav\nc,../day2/1.wav\n");
    let (code, told) = ad_hoc(&house, here, &["day5/calls.csv"]);
    assert_eq!((code, calls(&house)), (2, 2), "{told}");
    assert!(told.contains("1 key stands for another recording or text there (1 the same in both, 1 new)"), "{told}");
    // None clashes: the address is renewed, and what is new is bought.
    house.write("day5/calls.csv", "key,source\na,../day1/1.wav\nc,../day2/1.wav\n");
    let (code, told) = ad_hoc(&house, here, &["day5/calls.csv"]);
    assert_eq!((code, calls(&house)), (0, 3), "{told}");
    assert!(told.contains("the batch's manifest was at") && told.contains("day1/calls.csv"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_moved_or_touched_pays_nothing() {
    let house = house().await;
    let names = ["a/rec/1.wav", "a/rec/2.wav", "a/rec/deep/3.wav"];
    record(&house, &names, 1);
    let list: String =
        (1..=2).map(|n| format!("call-{n},{}\n", house.path(&format!("a/rec/{n}.wav")).display())).collect();
    house.write("a/list.csv", format!("key,source\n{list}"));
    for source in ["rec", "list.csv"] {
        let (code, told) = ad_hoc(&house, &house.path("a"), &[source]);
        assert_eq!(code, 0, "{told}");
    }
    let paid = calls(&house);
    assert_eq!(paid, 5);
    // The same command reads nothing: another content that nothing else shows is not seen.
    let (hidden, kept) = (house.path("a/rec/1.wav"), house.path("a/kept"));
    fs::rename(&hidden, &kept).unwrap();
    let time = fs::metadata(&kept).unwrap().modified().unwrap();
    record(&house, &["a/rec/1.wav"], 9);
    fs::File::options().write(true).open(&hidden).unwrap().set_modified(time).unwrap();
    let (code, told) = ad_hoc(&house, &house.path("a"), &["rec"]);
    assert_eq!((code, calls(&house)), (0, paid), "{told}");
    assert!(!told.contains("reading") && told.contains("3 there already"), "{told}");
    fs::rename(&kept, &hidden).unwrap();
    let (code, told) = ad_hoc(&house, &house.path("a"), &["rec"]);
    assert_eq!((code, calls(&house)), (0, paid), "{told}");
    // Moved, with the ledger: another home.
    fs::rename(house.path("a"), house.path("b")).unwrap();
    let moved: String =
        (1..=2).map(|n| format!("call-{n},{}\n", house.path(&format!("b/rec/{n}.wav")).display())).collect();
    house.write("b/list.csv", format!("key,source\n{moved}"));
    for source in ["rec", "list.csv"] {
        let (code, told) = ad_hoc(&house, &house.path("b"), &[source]);
        assert_eq!((code, calls(&house)), (0, paid), "{told}");
        assert!(told.contains("the batch's manifest was at"), "{told}");
        assert!(!told.contains("reading"), "size, time and path below the folder are the same: {told}");
    }
    // Another time: read, and nothing bought; then known by it.
    touch(&house.path("b/rec"), 7);
    let check = [&["check", "rec"], &AD_HOC[..]].concat();
    let (code, told) = run_in(&house, &house.path("b"), &check);
    assert_eq!(code, 0, "{told}");
    assert!(told.contains("read      3 recordings") && told.contains("renewed   3 recordings"), "{told}");
    let (code, told) = ad_hoc(&house, &house.path("b"), &["rec"]);
    assert_eq!((code, calls(&house)), (0, paid), "{told}");
    assert!(told.contains("reading   3 recordings (") && told.contains("renewed   3 recordings"), "{told}");
    let (_, told) = ad_hoc(&house, &house.path("b"), &["rec"]);
    assert!(!told.contains("reading") && !told.contains("renewed"), "{told}");
    // Elsewhere below the folder, under the same keys.
    fs::create_dir(house.path("b/other")).unwrap();
    fs::rename(house.path("b/rec/2.wav"), house.path("b/other/2.wav")).unwrap();
    house.write("b/list.csv", "key,source\ncall-1,rec/1.wav\ncall-2,other/2.wav\n");
    let (code, told) = ad_hoc(&house, &house.path("b"), &["list.csv"]);
    assert_eq!((code, calls(&house)), (0, paid), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotated_recording_is_a_changed_line() {
    let house = house().await;
    record(&house, &["rec/0001.wav", "rec/0002.wav"], 1);
    definition(&house, "rec", "");
    assert_eq!(run(&house, &["run", "calls.toml"]).0, 0);
    let size = fs::metadata(house.path("rec/0001.wav")).unwrap().len();
    record(&house, &["rec/0001.wav"], 9);
    assert_eq!(fs::metadata(house.path("rec/0001.wav")).unwrap().len(), size);
    let (code, told) = run(&house, &["check", "calls.toml"]);
    assert_eq!(code, 0, "{told}");
    assert!(told.contains("1 changed, 1 done") && told.contains("1 recording is another one than before"), "{told}");
    let (code, told) = run(&house, &["run", "calls.toml"]);
    assert_eq!((code, calls(&house)), (0, 3), "{told}");
    assert_eq!(house.output("0001.txt").trim(), "words 0009");
    // One of another size needs not be read to be another one.
    house.recording("rec/0002.wav", "a longer one", 1.5, 3);
    let (code, told) = run(&house, &["run", "calls.toml"]);
    assert_eq!((code, calls(&house)), (0, 4), "{told}");
    assert!(!told.contains("reading"), "{told}");
    assert_eq!(house.output("0002.txt").trim(), "a longer one");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_keeps_what_is_known_of_it() {
    let house = house().await;
    record(&house, &["rec/1.wav", "rec/2.wav"], 1);
    house.write("calls.csv", "key,source\na,rec/1.wav\nb,rec/2.wav\n");
    definition(&house, "calls.csv", "");
    assert_eq!(run(&house, &["run", "calls.toml"]).0, 0);
    // It is archived elsewhere.
    fs::remove_file(house.path("rec/1.wav")).unwrap();
    let (code, told) = run(&house, &["run", "calls.toml"]);
    assert_eq!((code, calls(&house)), (0, 2), "{told}");
    assert!(told.contains("1 recording cannot be read to be compared"), "{told}");
    assert_eq!(house.output("a.txt").trim(), "words 0001");
    // It comes back, as it was: with the same path, size and time, or with another time.
    record(&house, &["rec/1.wav"], 1);
    let (code, told) = run(&house, &["run", "calls.toml"]);
    assert_eq!((code, calls(&house)), (0, 2), "{told}");
    assert!(told.contains("renewed   1 recording"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_was_never_sent_takes_the_file_as_it_is() {
    let house = house().await;
    record(&house, &["rec/1.wav"], 1);
    definition(&house, "rec", "");
    assert_eq!(run(&house, &["submit", "calls.toml"]).0, 0);
    record(&house, &["rec/1.wav"], 2);
    let (code, told) = run(&house, &["run", "calls.toml"]);
    assert_eq!((code, calls(&house)), (0, 1), "{told}");
    assert!(told.contains("1 there already") && !told.contains("reading"), "{told}");
    assert_eq!(house.output("1.txt").trim(), "words 0002");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_night_of_recordings_of_one_length_is_not_the_night_before() {
    let night = Night::new().await;
    let house = &night.house;
    let toml = "name = \"calls\"\ntask = \"transcribe\"\ndate = \"today\"\ntimezone = \"Asia/Kolkata\"\nbatch = \"{name}-{date}\"\n\
        manifest = \"rec\"\noutput = \"out/{date}\"\n[transcribe]\nmodel = \"pulse\"\nlanguage = \"en\"\nformats = [\"txt\"]\n";
    house.write("calls.toml", toml);
    record(house, &["rec/0001.wav", "rec/0002.wav"], 1);
    let (code, told) = night.run(BEFORE, &["run", "calls.toml"]).await;
    assert_eq!((code, calls(house)), (0, 2), "{told}");
    // Only times differ: it is the night before, read to be sure.
    touch(&house.path("rec"), 5);
    let (code, told) = night.run(AFTER, &["run", "calls.toml"]).await;
    assert_eq!((code, calls(house)), (0, 2), "{told}");
    assert!(told.contains("goes on   calls-2026-11-20"), "{told}");
    assert_eq!(told.matches("reading   2 recordings").count(), 1, "{told}");
    // The next recordings under the same names, of the same size.
    record(house, &["rec/0001.wav", "rec/0002.wav"], 11);
    let (code, told) = night.run(AFTER, &["run", "calls.toml"]).await;
    assert_eq!((code, calls(house)), (0, 4), "{told}");
    assert_eq!(house.output("2026-11-21/0001.txt").trim(), "words 0011");
    assert_eq!(house.output("2026-11-20/0001.txt").trim(), "words 0001");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_real_file_is_bought_once() {
    let house = house().await;
    let names = ["1", "2", "3"].map(|n| format!("rec/2026-11-20/{n}.wav"));
    record(&house, &names.each_ref().map(String::as_str), 1);
    record(&house, &["far/7.wav"], 7);
    symlink("2026-11-20", house.path("rec/latest")).unwrap();
    symlink(house.path("far"), house.path("rec/far")).unwrap();
    definition(&house, "rec", "");
    let (code, told) = run(&house, &["run", "calls.toml"]);
    assert_eq!((code, calls(&house)), (0, 3), "{told}");
    assert!(told.contains("2 symbolic link to a folder"), "{told}");
    definition(&house, "rec", "follow_links = true");
    let (code, told) = run(&house, &["run", "calls.toml"]);
    assert_eq!((code, calls(&house)), (0, 4), "{told}");
    assert!(told.contains("1 symbolic link to what is listed already"), "{told}");
    assert_eq!(house.output("far/7.txt").trim(), "words 0007");
    house.write("calls.csv", "key,source\na,rec/2026-11-20/1.wav\n");
    definition(&house, "calls.csv", "follow_links = true");
    let (code, told) = run(&house, &["check", "calls.toml"]);
    assert_eq!(code, 2);
    assert!(told.contains("follow_links") && told.contains("is for directories and globs"), "{told}");
}

/// A web server with a recording below each of these paths.
async fn web(paths: &[String]) -> Web {
    let page = |(n, path): (usize, &String)| (&*path.clone().leak(), Page::File(speech(&format!("words {n}"), 0.5, n)));
    Web::serve(paths.iter().enumerate().map(page).collect::<Vec<_>>()).await
}

fn report(house: &House) -> String {
    fs::read_to_string(house.path("out/report.csv")).unwrap()
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
    let house = house().await;
    let web = web(&[signed(1111), signed(2222)].concat()).await;
    let export = |paths: &[String]| {
        let lines: String = paths.iter().enumerate().map(|(n, path)| format!("call-{n},{}\n", web.url(path))).collect();
        house.write("calls.csv", format!("key,source\n{lines}"));
    };
    definition(&house, "calls.csv", "");
    export(&signed(1111));
    let (code, told) = run(&house, &["run", "calls.toml"]);
    assert_eq!((code, calls(&house)), (0, 10), "{told}");
    export(&signed(2222));
    let (code, told) = run(&house, &["run", "calls.toml"]);
    assert_eq!((code, calls(&house)), (0, 10), "{told}");
    assert!(report(&house).contains("/0.wav,") && !report(&house).contains('?'), "{}", report(&house));
    let batch = house.store.batch("calls").await.unwrap().unwrap().id;
    let sources: Vec<_> = house.rows(batch).await.into_iter().filter_map(|row| row.source).collect();
    assert!(sources.iter().all(|source| source.contains("2222")), "the fresher one is kept: {sources:?}");
    let (_, listed) = run(&house, &["jobs", "calls", "--key", "call-0"]);
    assert!(!listed.contains("2222"), "{listed}");
    definition(&house, "calls.csv", "[source]\nreport_query = [\"leg\"]");
    assert_eq!(run(&house, &["report", "calls"]).0, 0);
    let (code, told) = run(&house, &["run", "calls.toml"]);
    assert_eq!((code, calls(&house)), (0, 10), "{told}");
    assert!(report(&house).contains("/0.wav?leg=2,") && !report(&house).contains("s2222"), "{}", report(&house));
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_that_wait_are_fetched_by_the_fresher_signature() {
    let house = house().await;
    let (old, new) = ("/a.wav?Signature=old&Expires=1", "/a.wav?Signature=new&Expires=2");
    let web = Web::serve([(old, Page::Status(403)), (new, Page::File(speech("words", 0.5, 1)))]).await;
    definition(&house, "calls.csv", "");
    for path in [old, new] {
        house.write("calls.csv", format!("key,source\na,{}\n", web.url(path)));
        assert_eq!(run(&house, &["submit", "calls.toml"]).0, 0);
    }
    let (code, told) = run(&house, &["work"]);
    assert_eq!((code, calls(&house)), (0, 1), "{told}");
    assert!(web.asked(old).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parameter_that_differs_everywhere_is_named_before_anything_is_bought() {
    let house = house().await;
    let paths = |n: u32| (0..4).map(|i| format!("/{i}.wav?id={i}&ticket=t{n}")).collect::<Vec<_>>();
    let web = web(&[paths(1), paths(2), paths(3)].concat()).await;
    let export = |paths: &[String]| {
        let lines: String = paths.iter().enumerate().map(|(n, path)| format!("call-{n},{}\n", web.url(path))).collect();
        house.write("calls.csv", format!("key,source\n{lines}"));
    };
    definition(&house, "calls.csv", "");
    export(&paths(1));
    assert_eq!(run(&house, &["run", "calls.toml"]).0, 0);
    export(&paths(2));
    for verb in ["check", "run"] {
        let (code, told) = run(&house, &[verb, "calls.toml"]);
        assert_eq!((code, calls(&house)), (2, 4), "{told}");
        assert!(told.contains("`ticket`") && told.contains("ignore_query") && !told.contains("`id`"), "{told}");
    }
    definition(&house, "calls.csv", "[source]\nignore_query = [\"ticket\"]");
    let (code, told) = run(&house, &["run", "calls.toml"]);
    assert_eq!((code, calls(&house)), (0, 4), "{told}");
    export(&paths(3));
    let (code, told) = run(&house, &["run", "calls.toml"]);
    assert_eq!((code, calls(&house)), (0, 4), "{told}");
    // One corrected cell is that line alone, and no parameter of all.
    let mut corrected = paths(3);
    corrected[2] = "/0.wav?id=0&ticket=t1".to_owned();
    export(&corrected);
    let (code, told) = run(&house, &["run", "calls.toml"]);
    assert_eq!((code, calls(&house)), (0, 5), "{told}");
    assert!(told.contains("1 changed, 3 there already"), "{told}");
    // `all`, and other recordings after all.
    definition(&house, "calls.csv", "[source]\nignore_query = \"all\"");
    export(&["/0.wav?id=9", "/1.wav", "/0.wav?x", "/3.wav?y=1"].map(str::to_owned));
    let (code, told) = run(&house, &["run", "calls.toml"]);
    assert_eq!((code, calls(&house)), (0, 5), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_are_known_by_what_the_store_says_of_them() {
    let night = Night::new().await;
    let put = |key: &str, n: usize| night.s3.put("acme-calls", key, speech(&format!("words {n:04}"), 0.5, n));
    let definition = |manifest: &str| {
        night.house.write(
            "calls.toml",
            format!(
                "name = \"calls\"\ntask = \"transcribe\"\nmanifest = \"{manifest}\"\noutput = \"out\"\n\
                 [transcribe]\nmodel = \"pulse\"\nlanguage = \"en\"\nformats = [\"txt\"]\n"
            ),
        );
    };
    let paid = || night.house.sandbox.books().calls;
    put("day1/0001.wav", 1);
    put("day1/0002.wav", 2);
    definition("s3://acme-calls/day1/");
    let (code, told) = night.run(BEFORE, &["run", "calls.toml"]).await;
    assert_eq!((code, paid()), (0, 2), "{told}");
    // Put there again, the same; then another one of the same size.
    put("day1/0001.wav", 1);
    let (code, told) = night.run(BEFORE, &["run", "calls.toml"]).await;
    assert_eq!((code, paid()), (0, 2), "{told}");
    put("day1/0001.wav", 5);
    let (code, told) = night.run(BEFORE, &["run", "calls.toml"]).await;
    assert_eq!((code, paid()), (0, 3), "{told}");
    assert_eq!(night.house.output("0001.txt").trim(), "words 0005");
    // Another prefix with other recordings under the same keys, and with the same ones.
    put("day2/0001.wav", 5);
    put("day2/0002.wav", 9);
    definition("s3://acme-calls/day2/");
    let (code, told) = night.run(BEFORE, &["run", "calls.toml"]).await;
    assert_eq!((code, paid()), (2, 3), "{told}");
    for words in ["s3://acme-calls/day1/", "s3://acme-calls/day2/", "1 key stands for another", "--update-source"] {
        assert!(told.contains(words), "{words}: {told}");
    }
    put("moved/0001.wav", 5);
    put("moved/0002.wav", 2);
    definition("s3://acme-calls/moved/");
    let (code, told) = night.run(BEFORE, &["run", "calls.toml"]).await;
    assert_eq!((code, paid()), (0, 3), "{told}");
    assert!(told.contains("the batch's manifest was at s3://acme-calls/day1/"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_definition_keeps_its_manifests_address_as_it_is_written() {
    let house = house().await;
    record(&house, &["jobs/2026-11-20/1.wav"], 1);
    record(&house, &["jobs/2026-11-21/1.wav"], 2);
    touch(&house.path("jobs"), 0);
    definition(&house, "{date}", "date = \"2026-11-20\"");
    fs::rename(house.path("calls.toml"), house.path("jobs/calls.toml")).unwrap();
    let (code, told) = run(&house, &["run", "jobs/calls.toml"]);
    assert_eq!((code, calls(&house)), (0, 1), "{told}");
    // Another date is the same address: its line is a changed one.
    let (code, told) = run(&house, &["run", "jobs/calls.toml", "--date", "2026-11-21"]);
    assert_eq!((code, calls(&house)), (0, 2), "{told}");
    // Moved with its recordings, the definition has it still.
    fs::rename(house.path("jobs"), house.path("tasks")).unwrap();
    let (code, told) = run(&house, &["run", "tasks/calls.toml", "--date", "2026-11-21", "--output", "tasks/out"]);
    assert_eq!((code, calls(&house)), (0, 2), "{told}");
    assert!(!told.contains("manifest was at"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_book_that_was_moved_is_not_spoken_again() {
    let house = house().await;
    house.write("a/texts.csv", "key,text\none,Hello and welcome.\ntwo,Goodbye!\n");
    house.write("b/texts.csv", "key,text\none,Hello and welcome.\ntwo,Good night!\n");
    let speak = ["--task", "synthesize", "--model", "lightning_v3.1", "--voice-id", "avery"];
    let run = |source: &str| run(&house, &[&["run", source], &speak[..]].concat());
    let (code, told) = run("a/texts.csv");
    assert_eq!((code, calls(&house)), (0, 2), "{told}");
    let (code, told) = run("b/texts.csv");
    assert_eq!((code, calls(&house)), (2, 2), "{told}");
    assert!(told.contains("1 key stands for another recording or text there"), "{told}");
    fs::rename(house.path("a"), house.path("c")).unwrap();
    let (code, told) = run("c/texts.csv");
    assert_eq!((code, calls(&house)), (0, 2), "{told}");
    assert!(told.contains("the batch's manifest was at"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recording_that_changes_while_it_is_sent_is_never_taken_for_what_it_was() {
    let house = House::new().await;
    house.recording("rec/1.wav", "words 0001", 5.0, 1);
    house.lines(&[("a", "rec/1.wav")]);
    let batch = house.submit(&house.definition("", "")).await;
    house.sandbox.hold();
    let (_, ()) = tokio::join!(house.run(batch), async {
        house.sandbox.waiting(1).await;
        // The vendor has it; another one of its size takes its place before the answer comes.
        house.recording("rec/1.wav", "words 0002", 5.0, 2);
        house.sandbox.release();
    });
    assert_eq!(house.job(batch, "a").await.row.state, JobState::Succeeded);
    // Whatever is found there now is not known to be what was heard.
    let again = house.submit(&house.definition("", "")).await;
    assert_eq!(again, batch);
    house.run(batch).await;
    assert_eq!((house.sandbox.books().calls, house.output("a.txt").trim()), (2, "words 0002"));
    let _ = house.submit(&house.definition("", "")).await;
    house.run(batch).await;
    assert_eq!(house.sandbox.books().calls, 2);
}
