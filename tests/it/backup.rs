//! `wavebatch backup` and `restore`: a ledger is backed up while it is worked, and goes on elsewhere for nothing.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    process::{Command, Output, Stdio},
    time::Duration,
};

use wavebatch::sandbox::Config;

use crate::support::{
    Fixture,
    server::postgres,
    service::program,
    synthesis::{SynthesisSetup, prose},
};

fn ends(mut command: Command) -> (Option<i32>, String) {
    let Output { status, stdout, stderr } = command.stdout(Stdio::piped()).output().unwrap();
    (status.code(), [stdout, stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat())
}

fn says(fixture: &Fixture, args: &[&str]) -> (Option<i32>, String) {
    ends(program(fixture, args))
}

/// Runs a command that must work.
fn does(fixture: &Fixture, args: &[&str]) -> String {
    let (code, said) = says(fixture, args);
    assert_eq!(code, Some(0), "{args:?}: {said}");
    said
}

/// Runs a command that must be refused with these words and a hint.
fn refuses(fixture: &Fixture, args: &[&str], code: i32, words: &str) -> String {
    let (ended, said) = says(fixture, args);
    assert!(ended == Some(code) && said.contains(words) && said.contains("hint: "), "{args:?}: {ended:?} {said}");
    said
}

/// The names of what a test has in its folder that restores and backups might leave there.
fn drafts(fixture: &Fixture) -> Vec<String> {
    let names =
        fs::read_dir(fixture.dir.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with(".wavebatch")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_that_is_backed_up_while_it_is_worked_goes_on_elsewhere_and_is_paid_for_once() {
    const LINES: usize = 60;
    let config = Config { latency: Duration::from_millis(100), keep: 1_000, ..Config::default() };
    let fixture = Fixture::with(config).await;
    fixture.provable_calls(LINES);
    fixture.definition("", "concurrency = 6\nunknown_grace = \"1s\"");
    let mut run = program(&fixture, &["run", "night.toml", "-q", "--database", "here.db"]).spawn().unwrap();
    fixture.sandbox.arrivals(15).await;
    // The machine is lost right after the backup.
    let said = does(&fixture, &["backup", "night.tar", "--database", "here.db"]);
    run.kill().unwrap();
    run.wait().unwrap();
    assert!(said.contains("here.db backed up to ") && said.contains("1 batch, 60 lines, "), "{said}");
    let known: usize = said.split(" lines, ").nth(1).unwrap().split(" call").next().unwrap().parse().unwrap();
    assert!(known >= 15, "{said}");
    let mode = fs::metadata(fixture.path("night.tar")).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    for name in ["here.db", "here.db-wal", "here.db-shm"] {
        fs::remove_file(fixture.path(name)).unwrap();
    }
    let said = does(&fixture, &["restore", "night.tar", "--to", "there/ledger.db"]);
    assert!(said.contains("there/ledger.db restored from night.tar"), "{said}");
    does(&fixture, &["ledger", "check", "--database", "there/ledger.db"]);
    let mode = |name: &str| fs::metadata(fixture.path(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("there"), mode("there/ledger.db")), (0o700, 0o600));
    let (paid, twice) = billed(&fixture);
    assert_eq!(twice, 0);
    // What the backup knows is done, or is found in the vendor's log; what came after it is not known.
    does(&fixture, &["run", "night.toml", "--database", "there/ledger.db", "--take-over"]);
    let (all, twice) = billed(&fixture);
    assert!(all == LINES && twice <= paid - known, "{twice} twice; {paid} were paid for, the backup knew {known}");
    assert_eq!(drafts(&fixture), Vec::<String>::new());
}

/// How many recordings were billed, and how many of them more than once.
fn billed(fixture: &Fixture) -> (usize, usize) {
    let books = fixture.sandbox.books();
    let more_than = |times: u64| books.contents.values().filter(|content| content.billed > times).count();
    (more_than(0), more_than(1))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_backup_takes_no_newer_ledgers_place_and_the_loss_is_said() {
    let fixture = Fixture::new().await;
    fixture.calls(3);
    fixture.definition("", "");
    let run = ["run", "night.toml", "-q", "--database", "a.db"];
    does(&fixture, &run);
    does(&fixture, &["backup", "a.tar", "--database", "a.db"]);
    // What is there is no newer: it is replaced, and kept.
    let said = does(&fixture, &["restore", "a.tar", "--to", "a.db"]);
    assert!(said.contains("replaced  the ledger that was there is now ") && !said.contains("lost"), "{said}");
    fixture.calls(5);
    does(&fixture, &run);
    let restore = ["restore", "a.tar", "--database", "a.db"];
    let said = refuses(&fixture, &restore, 2, "a.tar is older than the ledger ");
    assert!(said.contains("would be lost: 2 calls that were paid for ($0.") && said.contains("--lose-newer"), "{said}");
    let said = does(&fixture, &["restore", "a.tar", "--database", "a.db", "--lose-newer", "--json"]);
    let view: serde_json::Value = serde_json::from_str(said.trim()).unwrap();
    assert!(view["lost"]["paid_calls"] == 2 && view["lost"]["batches"] == 0, "{said}");
    let kept = view["replaced"].as_str().unwrap().to_owned();
    let lines = |ledger: &str| {
        let said: serde_json::Value =
            serde_json::from_str(&does(&fixture, &["status", "--json", "--database", ledger])).unwrap();
        said["batches"][0]["total"].as_u64().unwrap()
    };
    assert_eq!((lines("a.db"), lines(&kept)), (3, 5));

    // What was forgotten does not come back without a word.
    does(&fixture, &["forget", "night", "--key", "call-0001", "--yes", "--receipt", "r.jsonl", "--database", "a.db"]);
    refuses(&fixture, &restore, 2, "1 forgotten line, whose content would be back");

    // Another ledger has another id.
    does(&fixture, &["submit", "night.toml", "--database", "b.db", "--output", "b/"]);
    refuses(&fixture, &["restore", "a.tar", "--to", "b.db", "--lose-newer"], 2, "b.db is another ledger than that of ");
    fixture.write("text.db", "this is no ledger, but a text that somebody wrote into a file of that name");
    let said = refuses(&fixture, &["restore", "a.tar", "--to", "text.db"], 3, "is damaged or is no wavebatch ledger");
    assert!(said.contains("nobody knows what would be lost") && said.contains("move it away"), "{said}");
    assert!(fs::read(fixture.path("text.db")).unwrap().starts_with(b"this is"));

    // The log of a ledger that is gone is not applied to the one that is restored.
    fixture.write("gone.db-wal", "what came last");
    refuses(&fixture, &["restore", "a.tar", "--to", "gone.db"], 3, "gone.db-wal is left of a ledger that is gone");
    assert!(!fixture.path("gone.db").exists());
    fs::remove_file(fixture.path("gone.db-wal")).unwrap();
    does(&fixture, &["restore", "a.tar", "--to", "gone.db"]);

    // A ledger in use stays as it is.
    let mut serve = program(&fixture, &["serve", "--listen", "off", "--admin-listen", "off", "--database", "a.db"]);
    let mut serve = serve.stderr(Stdio::null()).spawn().unwrap();
    let works = || {
        let names = fs::read_dir(fixture.dir.path()).unwrap().flatten();
        names
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .any(|name| name.starts_with("a.db-process-"))
    };
    while !works() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let said = refuses(&fixture, &["restore", "a.tar", "--to", "a.db"], 3, "a.db is in use by process ");
    assert!(said.contains(&serve.id().to_string()), "{said}");
    does(&fixture, &["backup", "b.tar", "--database", "a.db"]);
    serve.kill().unwrap();
    serve.wait().unwrap();
    assert_eq!(drafts(&fixture), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_there_stays_unless_it_is_a_backup_that_may_go() {
    let fixture = Fixture::new().await;
    fixture.calls(2);
    fixture.definition("", "");
    for (ledger, out) in [("a.db", "a/"), ("b.db", "b/")] {
        does(&fixture, &["submit", "night.toml", "-q", "--database", ledger, "--output", out]);
    }
    let backup = |more: &'static [&'static str]| {
        let args: Vec<&str> = ["backup", "--database", "a.db"].iter().chain(more).copied().collect();
        args
    };
    does(&fixture, &backup(&["x.tar"]));
    let before = fs::read(fixture.path("x.tar")).unwrap();
    refuses(&fixture, &backup(&["x.tar"]), 2, "x.tar is there already");
    assert_eq!(fs::read(fixture.path("x.tar")).unwrap(), before);
    does(&fixture, &backup(&["x.tar", "--replace"]));
    fixture.write("notes", "mine");
    refuses(&fixture, &backup(&["notes", "--replace"]), 2, "notes is no backup that this program reads");
    refuses(&fixture, &backup(&["a.db", "--replace"]), 2, "a.db is no backup that this program reads");
    refuses(&fixture, &["backup", "x.tar", "--replace", "--database", "b.db"], 2, "the backup of another ledger");
    fs::create_dir(fixture.path("folder")).unwrap();
    refuses(&fixture, &backup(&["folder", "--replace"]), 2, "folder is no file");
    refuses(&fixture, &backup(&["nowhere/x.tar"]), 3, "nowhere cannot be written: No such file");
    refuses(&fixture, &["backup", "y.tar", "--database", "none.db"], 3, "there is no ledger at ");
    assert!(!fixture.path("none.db").exists() && !fixture.path("y.tar").exists());
    assert_eq!(fs::read(fixture.path("notes")).unwrap(), b"mine");
    refuses(&fixture, &["restore", "notes"], 2, "notes is no backup of wavebatch");
    refuses(&fixture, &["restore", "nothing.tar"], 3, "nothing.tar cannot be read: No such file");
    assert_eq!(drafts(&fixture), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_that_is_killed_leaves_no_half_of_a_ledger() {
    let fixture = Fixture::new().await;
    fixture.calls(3);
    fixture.definition("", "");
    does(&fixture, &["run", "night.toml", "-q", "--database", "a.db"]);
    let secret = "ab".repeat(32);
    let path = fixture.write("a.db-webhook-secret", &secret);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let (code, said) = says(&fixture, &["backup", "a.tar", "--database", "a.db"]);
    assert!(code == Some(3) && said.contains("can be read by others") && !said.contains(&secret), "{said}");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let said = does(&fixture, &["backup", "a.tar", "--database", "a.db"]);
    assert!(said.contains("secrets   webhook") && !said.contains(&secret), "{said}");
    let mut restore = program(&fixture, &["restore", "a.tar", "--to", "b.db"]);
    restore.env("WAVEBATCH_CRASH_AT", "restore-before-ledger");
    let (code, said) = ends(restore);
    assert!(code.is_none() && !fixture.path("b.db").exists(), "{said}");
    does(&fixture, &["restore", "a.tar", "--to", "b.db"]);
    let kept = fixture.path("b.db-webhook-secret");
    assert_eq!(fs::read_to_string(&kept).unwrap().trim(), secret);
    assert_eq!(fs::metadata(&kept).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(drafts(&fixture), Vec::<String>::new(), "what the dead one left is swept");

    // Over a ledger that is there: the old one or the new one, never neither.
    let mut restore = program(&fixture, &["restore", "a.tar", "--to", "b.db"]);
    restore.env("WAVEBATCH_CRASH_AT", "restore-before-ledger");
    assert_eq!(ends(restore).0, None);
    does(&fixture, &["ledger", "check", "--database", "b.db"]);
    // A secret of somebody else stays, and so does everything.
    fs::write(&kept, "cd".repeat(32)).unwrap();
    let before = fs::read(fixture.path("b.db")).unwrap();
    let (code, said) = says(&fixture, &["restore", "a.tar", "--to", "b.db"]);
    assert!(code == Some(3) && said.contains("b.db-webhook-secret holds another secret than a.tar"), "{said}");
    assert_eq!(fs::read(fixture.path("b.db")).unwrap(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn speech_that_a_restore_lacks_is_counted_with_its_cost_and_a_backup_can_have_it() {
    let config = Config { latency: Duration::from_millis(40), ..Config::default() };
    let fixture = Fixture::with(config).await;
    let text = prose(12);
    let batch = fixture.speak(&SynthesisSetup::default(), &[("one", &text)]).await;
    let drain = tokio_util::sync::CancellationToken::new();
    let (_, ()) = tokio::join!(fixture.run_until(batch, drain.clone()), async {
        fixture.sandbox.arrivals(5).await;
        drain.cancel();
    });
    let said = does(&fixture, &["backup", "rows.tar"]);
    assert!(said.contains(" are listed and not in it; --with-cache takes them along"), "{said}");
    let said = does(&fixture, &["backup", "all.tar", "--with-cache", "--json"]);
    let made: serde_json::Value = serde_json::from_str(said.trim()).unwrap();
    let clips = made["clips_inside"]["clips"].as_u64().unwrap();
    assert!(clips > 3 && made["clips"] == made["clips_inside"], "{said}");
    let restore = |file: &str, to: &str| -> serde_json::Value {
        serde_json::from_str(does(&fixture, &["restore", file, "--to", to, "--json"]).trim()).unwrap()
    };
    let bare = restore("rows.tar", "bare/w.db");
    assert_eq!(bare["missing_clips"]["needed"], clips, "{bare}");
    assert!(bare["missing_clips"]["needed_usd"].as_f64().unwrap() > 0.0, "{bare}");
    let whole = restore("all.tar", "whole/w.db");
    assert!(whole["clips"]["clips"] == clips && whole["missing_clips"]["needed"] == 0, "{whole}");
    let (code, said) = says(&fixture, &["ledger", "check", "--database", "whole/w.db", "--json"]);
    assert!(code == Some(0) && said.contains("\"unknown_clips\": 0"), "{said}");
    let (code, said) = says(&fixture, &["ledger", "check", "--database", "bare/w.db"]);
    assert!(code == Some(1) && said.contains("an unfinished line has paid for is not in the spool"), "{said}");
    // What the first lacks, the second brings: nothing was worked there since.
    assert_eq!(restore("all.tar", "bare/w.db")["missing_clips"]["needed"], 0);
    does(&fixture, &["ledger", "check", "--database", "bare/w.db"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_ledger_on_a_server_the_rest_is_backed_up_and_the_dump_is_named() {
    let Some(cluster) = postgres::Cluster::get() else { return postgres::tell_skipped() };
    let fixture = Fixture::new().await;
    fixture.calls(2);
    fixture.definition("", "");
    let server = cluster.url(&format!("backup_{}", uuid::Uuid::now_v7().simple()));
    does(&fixture, &["run", "night.toml", "-q", "--database", &server]);
    let said = does(&fixture, &["backup", "rest.tar", "--database", &server]);
    assert!(said.contains("what stands outside postgres://") && said.contains("rest.tar"), "{said}");
    assert!(
        said.contains("-> umask 077; pg_dump --format=custom --file=") && said.contains("--schema=backup_"),
        "{said}"
    );
    // The command that is printed works as it stands.
    let dump = said.split("umask 077; ").nth(1).unwrap().lines().next().unwrap();
    let path = format!("{}:{}", postgres::programs().unwrap().display(), std::env::var("PATH").unwrap());
    let (code, dumped) = ends({
        let mut shell = Command::new("sh");
        shell.args(["-c", dump]).env("PATH", path);
        shell
    });
    assert!(code == Some(0) && fs::metadata(fixture.path("rest.tar.dump")).unwrap().len() > 1_000, "{dumped}");
    let said = does(&fixture, &["restore", "rest.tar", "--database", &server]);
    assert!(said.contains("restored from rest.tar"), "{said}");
    refuses(&fixture, &["restore", "rest.tar", "--to", "x.db"], 2, "has what stands outside the database postgres://");
    assert!(!fixture.path("x.db").exists());
    let other = cluster.url(&format!("other_{}", uuid::Uuid::now_v7().simple()));
    let said = refuses(&fixture, &["restore", "rest.tar", "--database", &other], 3, "and no ledger");
    assert!(said.contains("hint: restore the dump of the database first: `pg_restore --no-owner"), "{said}");
    does(&fixture, &["submit", "night.toml", "--database", &other, "--output", "o/"]);
    refuses(&fixture, &["restore", "rest.tar", "--database", &other], 2, "is another ledger than that of ");
    does(&fixture, &["submit", "night.toml", "--database", "f.db", "--output", "f/"]);
    does(&fixture, &["backup", "file.tar", "--database", "f.db"]);
    let said = refuses(&fixture, &["restore", "file.tar", "--database", &other], 2, "has a ledger in a file, and ");
    assert!(said.contains("wavebatch ledger copy"), "{said}");
}
