//! Folders as they are: some of their files grow, come and go while they are listed; names are spelled otherwise than in the
//! manifest, or as on another system.

use std::{
    collections::HashMap,
    fs::{self, File, FileTimes},
    io::Write,
    path::Path,
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, SystemTime},
};

use wavebatch::{
    domain::{
        job::JobState::{self, Failed, Queued, Succeeded},
        pool::{Limits, Pool},
    },
    sandbox::Config,
};

use crate::support::{Fixture, service::program};

/// Whoever records into a folder while it is submitted.
struct Recorder {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Recorder {
    /// Lets `growing` files grow, makes new ones, renames and removes them.
    fn start(folder: &Path, growing: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut threads = Vec::new();
        for n in 1..=growing {
            let path = folder.join(format!("growing-{n}.wav"));
            fs::write(&path, vec![0; 2_000_000]).unwrap();
            let stop = Arc::clone(&stop);
            threads.push(std::thread::spawn(move || {
                let mut file = File::options().append(true).open(path).unwrap();
                while !stop.load(Ordering::Relaxed) {
                    file.write_all(b"x").unwrap();
                    std::thread::sleep(Duration::from_micros(100));
                }
            }));
        }
        let (folder, stopped) = (folder.to_owned(), Arc::clone(&stop));
        threads.push(std::thread::spawn(move || {
            let at = |name: &str| folder.join(name);
            fs::create_dir_all(at("later")).unwrap();
            for n in 0.. {
                fs::write(at(&format!("later/{n}.wav.part")), "x").unwrap();
                fs::rename(at(&format!("later/{n}.wav.part")), at("later/now.wav")).unwrap();
                fs::remove_file(at("later/now.wav")).unwrap();
                if stopped.load(Ordering::Relaxed) {
                    break;
                }
            }
        }));
        Self { stop, threads }
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.drain(..).for_each(|thread| thread.join().unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_grows_goes_through_and_what_grows_fails_alone() {
    let mut fixture = Fixture::new().await;
    fixture.limits.insert(Pool::Pulse, Limits { requests_per_minute: None, concurrency: None });
    for n in 1..=40 {
        fixture.recording(&format!("rec/call-{n}.wav"), &format!("words of call {n}"), 0.5, n);
    }
    let definition = fixture.definition("formats = [\"txt\"]\nsend = \"bytes\"", "max_tries = 1");
    let toml = fs::read_to_string(&definition).unwrap().replace("calls.csv", "rec");
    fs::write(&definition, toml.replace("task =", "exclude = [\"later/*\"]\ntask =")).unwrap();
    let recorder = Recorder::start(&fixture.path("rec"), 5);
    let mut batch = fixture.submit(&definition).await;
    for _ in 0..4 {
        batch = fixture.submit(&definition).await;
    }
    fixture.run(batch).await;
    let check = |ends: HashMap<String, (JobState, String)>, of_growing: &[(JobState, &str)]| {
        assert_eq!(ends.len(), 45);
        for (key, (state, kind)) in ends {
            let well = match key.starts_with("growing") {
                true => of_growing.contains(&(state, &*kind)),
                false => (state, &*kind) == (Succeeded, ""),
            };
            assert!(well, "{key}: {state} {kind}");
        }
    };
    check(fixture.ends(batch).await, &[(Failed, "source_changed")]);
    // Known lines whose files grow are compared again. A file that stood still meanwhile is another recording now.
    fixture.submit(&definition).await;
    drop(recorder);
    check(fixture.ends(batch).await, &[(Failed, "source_changed"), (Queued, "")]);
    assert_eq!(fixture.output("call-10.txt"), "words of call 10\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_come_and_go_break_no_submission() {
    let fixture = Fixture::new().await;
    for n in 1..=200 {
        fixture.recording(&format!("rec/call-{n}.wav"), "words", 0.1, n);
    }
    let definition = fixture.definition("", "");
    fs::write(&definition, fs::read_to_string(&definition).unwrap().replace("calls.csv", "rec")).unwrap();
    let recorder = Recorder::start(&fixture.path("rec"), 3);
    for _ in 0..10 {
        fixture.submit(&definition).await;
    }
    drop(recorder);
}

/// Exit status, and all that was said.
fn run(fixture: &Fixture, args: &[&str]) -> (i32, String) {
    let mut command = program(fixture, args);
    let output = command.stdout(Stdio::piped()).stderr(Stdio::piped()).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8_lossy(&said).into_owned())
}

async fn fixture() -> Fixture {
    let fixture = Fixture::with(Config::default()).await;
    fixture.write("wavebatch.toml", "[limits.pulse]\nrequests_per_minute = 0\n");
    fixture
}

fn definition(fixture: &Fixture, manifest: &str, source: &str) {
    let toml = format!(
        "name = \"calls\"\ntask = \"transcribe\"\nmanifest = \"{manifest}\"\noutput = \"out\"\n[source]\n{source}\n\
         [transcribe]\nmodel = \"pulse\"\nlanguage = \"en\"\nformats = [\"txt\"]\nsend = \"bytes\"\n"
    );
    fixture.write("calls.toml", toml);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changed_lately_waits_for_the_next_run() {
    let fixture = fixture().await;
    for n in [1, 2, 10] {
        fixture.recording(&format!("rec/chapter-{n}.wav"), &format!("words {n}"), 0.5, n);
    }
    let aged = |n: u32, by: u64| {
        let file = File::options().write(true).open(fixture.path(&format!("rec/chapter-{n}.wav"))).unwrap();
        file.set_times(FileTimes::new().set_modified(SystemTime::now() - Duration::from_secs(by))).unwrap();
    };
    aged(2, 3_600);
    aged(10, 3_600);
    definition(&fixture, "rec", "settle = \"10m\"");
    let (code, message) = run(&fixture, &["run", "calls.toml"]);
    assert_eq!((code, fixture.sandbox.books().calls), (0, 2), "{message}");
    assert!(message.contains("1 changed less than 10 min ago (settle)"), "{message}");
    let mut report = csv::Reader::from_path(fixture.path("out/report.csv")).unwrap();
    let column = report.headers().unwrap().iter().position(|name| name == "key").unwrap();
    let keys: Vec<_> = report.records().map(|row| row.unwrap()[column].to_owned()).collect();
    assert_eq!(keys, ["chapter-2", "chapter-10"]);
    // A flag goes before the definition.
    let (code, message) = run(&fixture, &["run", "calls.toml", "--settle", "0s"]);
    assert_eq!((code, fixture.sandbox.books().calls), (0, 3), "{message}");
    fixture.write("calls.csv", "key,source\na,rec/chapter-1.wav\n");
    definition(&fixture, "calls.csv", "settle = \"10m\"");
    let (code, message) = run(&fixture, &["check", "calls.toml"]);
    assert_eq!(code, 2);
    assert!(message.contains("calls.toml:6:10: `source.settle`: is for directories, globs"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn names_are_found_in_the_form_that_the_disk_has() {
    let fixture = fixture().await;
    let (composed, decomposed) = ("Gespr\u{e4}ch", "Gespra\u{308}ch");
    fixture.recording(&format!("rec/{decomposed}/1.wav"), "words one", 0.5, 1);
    fixture.recording(&format!("rec/{composed}.wav"), "words two", 0.5, 2);
    fixture.write("calls.csv", format!("key,source\none,rec/{composed}/1.wav\ntwo,rec/{decomposed}.wav\n"));
    definition(&fixture, "calls.csv", "");
    let (code, message) = run(&fixture, &["run", "calls.toml"]);
    assert_eq!(code, 0, "{message}");
    assert_eq!((fixture.output("one.txt"), fixture.output("two.txt")), ("words one\n".into(), "words two\n".into()));
    let (code, message) = run(&fixture, &["run", "calls.toml"]);
    assert_eq!((code, fixture.sandbox.books().calls), (0, 2), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn paths_of_windows_are_told_and_mapped() {
    let fixture = fixture().await;
    for (n, name) in ["srv/2026/1.wav", "disk/2.wav", "rec/3.wav", "rec/4\\4.wav"].into_iter().enumerate() {
        fixture.recording(name, &format!("words {}", n + 1), 0.5, n);
    }
    let rows = "key,source\na,\\\\server\\rec\\2026\\1.wav\nb,c:\\Calls\\2.wav\nc,rec\\3.wav\nd,rec/4\\4.wav\n";
    fixture.write("calls.csv", rows);
    definition(&fixture, "calls.csv", "");
    let (code, message) = run(&fixture, &["run", "calls.toml"]);
    assert_eq!((code, fixture.sandbox.books().calls), (2, 0), "{message}");
    for told in [
        r#"calls.csv:2: column `source`: is a share of Windows; say where that is here, in [source]: path_map = { '\\server\rec' = "/mnt/rec" }"#,
        r#"calls.csv:3: column `source`: is on a drive of Windows; say where that is here, in [source]: path_map = { 'c:\Calls' ="#,
        "calls.csv:4: column `source`: is written as on Windows, and here `/` stands between folders;",
    ] {
        assert!(message.contains(told), "{told}\n{message}");
    }
    assert!(!message.contains("calls.csv:5"), "such a file is there: {message}");
    let at = |name: &str| fixture.path(name).to_str().unwrap().to_owned();
    let map = format!(
        "path_map = {{ '\\\\SERVER\\rec' = \"{}\", \"C:\\\\calls\" = \"{}\", rec = \"{}\" }}",
        at("srv"),
        at("disk"),
        at("rec")
    );
    definition(&fixture, "calls.csv", &map);
    let (code, message) = run(&fixture, &["run", "calls.toml"]);
    assert_eq!(code, 1, "the name with a backslash is mapped like the others: {message}");
    for (key, words) in [("a", "words 1\n"), ("b", "words 2\n"), ("c", "words 3\n")] {
        assert_eq!(fixture.output(&format!("{key}.txt")), words);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_of_a_folder_name_the_file() {
    let fixture = fixture().await;
    for (n, name) in ["rec/1.wav", "rec/1.mp3", "rec/report.wav"].into_iter().enumerate() {
        fixture.recording(name, "words", 0.5, n);
    }
    definition(&fixture, "rec", "");
    let (code, message) = run(&fixture, &["run", "calls.toml"]);
    assert_eq!(code, 2, "{message}");
    assert!(message.contains("rec/1.wav: column `key`: the key `1` is also that of `rec/1.mp3`"), "{message}");
    assert!(message.contains("rec/report.wav: column `key`: `report`: `summary` and `report` are"), "{message}");
    assert!(!message.contains("line 1") && !message.contains("rec:"), "{message}");
}
