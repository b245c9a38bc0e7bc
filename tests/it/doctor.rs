//! `wavebatch doctor`: each thing that a night depends on is found, working or not.

use std::{
    fs,
    process::{Command, Output, Stdio},
};

use serde_json::Value;

use crate::support::{
    Fixture,
    s3::S3Server,
    server::postgres,
    service::{Service, free_port, program},
};

fn examined(mut command: Command) -> (Option<i32>, Value) {
    let Output { status, stdout, stderr } = command.arg("--json").stdout(Stdio::piped()).output().unwrap();
    let said = String::from_utf8(stdout).unwrap();
    let view =
        serde_json::from_str(&said).unwrap_or_else(|e| panic!("{e}: {said} {}", String::from_utf8_lossy(&stderr)));
    (status.code(), view)
}

fn doctor(fixture: &Fixture, args: &[&str]) -> (Option<i32>, Value) {
    examined(program(fixture, &[&["doctor"], args].concat()))
}

/// The one thing of this name.
fn one<'v>(view: &'v Value, name: &str) -> &'v Value {
    let found: Vec<_> = view["examined"].as_array().unwrap().iter().filter(|one| one["name"] == name).collect();
    assert_eq!(found.len(), 1, "{name}: {view:#}");
    found[0]
}

fn fails(view: &Value, name: &str, words: &str) {
    let found = one(view, name);
    assert!(found["state"] == "failed" && found["what"].as_str().unwrap().contains(words), "{found:#}");
    assert!(!found["remedy"].as_str().unwrap_or_default().is_empty(), "{found:#}");
}

fn failed(view: &Value) -> Vec<&str> {
    let all = view["examined"].as_array().unwrap().iter();
    all.filter(|one| one["state"] == "failed").map(|one| one["name"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn where_everything_works_nothing_fails_and_nothing_is_bought() {
    let fixture = Fixture::new().await;
    fixture.calls(2);
    fixture.definition("", "");
    let said = program(&fixture, &["submit", "night.toml", "-q"]).output().unwrap();
    assert!(said.status.success(), "{said:?}");
    let before = fs::read_dir(fixture.dir.path()).unwrap().count();
    let (code, view) = doctor(&fixture, &["night.toml"]);
    assert!(code == Some(0) && view["is_well"] == true, "{view:#}");
    let names: Vec<_> = view["examined"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
    let shape = [
        "key",
        "api",
        "clock",
        "ledger",
        "integrity",
        "disk",
        "lock",
        "processes",
        "spool",
        "webhook",
        "files",
        "ffmpeg",
        "definition",
        "source",
        "output",
    ];
    assert_eq!(names, shape, "the shape of --json is kept");
    assert_eq!(one(&view, "source")["definition"], "night.toml");
    assert_eq!(fs::read_dir(fixture.dir.path()).unwrap().count(), before, "it leaves nothing behind");
    let books = fixture.sandbox.books();
    assert_eq!((books.calls, books.billed), (0, 0));
    let said = program(&fixture, &["doctor"]).stdout(Stdio::piped()).output().unwrap();
    let said = String::from_utf8(said.stdout).unwrap();
    assert!(
        said.contains("  ok    key        the API accepts SMALLEST_API_KEY") && said.ends_with("everything works\n"),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_work_is_named_with_what_to_do() {
    let fixture = Fixture::new().await;
    // Without a ledger, a key and an API.
    let mut command = program(&fixture, &["doctor", "none.toml", "--database", "none.db"]);
    command.env_remove("SMALLEST_API_KEY").env("SMALLEST_BASE_URL", format!("http://127.0.0.1:{}", free_port()));
    let (code, view) = examined(command);
    assert!(code == Some(1) && view["is_well"] == false, "{view:#}");
    fails(&view, "key", "SMALLEST_API_KEY is not set");
    fails(&view, "api", "no connection to http://127.0.0.1:");
    fails(&view, "definition", "none.toml: there is no such file");
    assert_eq!(failed(&view).len(), 3, "{view:#}");
    assert!(one(&view, "ledger")["what"].as_str().unwrap().contains("yet: the first `run`"));
    assert!(!fixture.path("none.db").exists(), "it makes none");

    let mut command = program(&fixture, &["doctor"]);
    command.env("SMALLEST_API_KEY", "wrong");
    let (code, view) = examined(command);
    assert_eq!((code, failed(&view)), (Some(1), vec!["key"]), "{view:#}");
    fails(&view, "key", "does not accept the key");

    // A manifest that is gone, and a callback that reaches nobody.
    fixture.calls(2);
    fixture.definition("", "");
    let said = program(&fixture, &["submit", "night.toml", "-q"]).output().unwrap();
    assert!(said.status.success(), "{said:?}");
    fixture.write("wavebatch.db-webhook-secret", "ab".repeat(32));
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(fixture.path("wavebatch.db-webhook-secret"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::remove_file(fixture.path("calls.csv")).unwrap();
    let port = free_port();
    fixture.write("wavebatch.toml", format!("[webhook]\npublic_url = \"http://127.0.0.1:{port}/\"\n"));
    let (_, view) = doctor(&fixture, &["night.toml"]);
    fails(&view, "webhook", "refuses the connection");
    assert_eq!(failed(&view), ["webhook", "definition"], "{view:#}");
    let listen = format!("127.0.0.1:{port}");
    let serve = Service::start(&fixture, &["--listen", &listen]);
    serve.hears_signals().await;
    // It receives callbacks, and it works.
    let has_lock = || {
        let names = fs::read_dir(fixture.dir.path()).unwrap().flatten().map(|entry| entry.file_name());
        names.into_iter().any(|name| name.to_string_lossy().starts_with("wavebatch.db-process-"))
    };
    while std::net::TcpStream::connect(&listen).is_err() || !has_lock() {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let (_, view) = doctor(&fixture, &[]);
    assert_eq!(failed(&view), Vec::<&str>::new(), "{view:#}");
    assert!(one(&view, "processes")["what"].as_str().unwrap().contains(&serve.pid().to_string()));
    serve.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_that_is_locked_or_damaged_is_found_with_who_holds_it() {
    let fixture = Fixture::new().await;
    fixture.calls(300);
    fixture.definition("", "");
    let said = program(&fixture, &["submit", "night.toml", "-q", "--database", "a.db"]).output().unwrap();
    assert!(said.status.success(), "{said:?}");
    let mut other: sqlx::SqliteConnection =
        sqlx::ConnectOptions::connect(&sqlx::sqlite::SqliteConnectOptions::new().filename(fixture.path("a.db")))
            .await
            .unwrap();
    sqlx::query("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();
    let locked = tokio::task::block_in_place(|| doctor(&fixture, &["--database", "a.db"]));
    sqlx::query("ROLLBACK").execute(&mut other).await.unwrap();
    fails(&locked.1, "lock", &format!("the write lock is held by process {}", std::process::id()));
    assert_eq!(failed(&locked.1), ["lock"]);
    sqlx::Connection::close(other).await.unwrap();

    let whole = fs::read(fixture.path("a.db")).unwrap();
    let mut damaged = whole.clone();
    let middle = whole.len() / 2 / 4096 * 4096;
    damaged[middle..middle + 3 * 4096].fill(0x5a);
    fixture.write("b.db", damaged);
    let (code, view) = doctor(&fixture, &["--database", "b.db"]);
    assert!(code == Some(1) && failed(&view).contains(&"integrity"), "{view:#}");
    fixture.write("c.db", "this is no ledger, but a text that somebody wrote into a file of that name");
    let (code, view) = doctor(&fixture, &["--database", "c.db"]);
    assert_eq!((code, failed(&view)), (Some(1), vec!["ledger"]), "{view:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn both_ends_in_s3_and_the_voices_of_a_definition_are_asked() {
    let fixture = Fixture::new().await;
    let s3 = S3Server::start().await;
    s3.bucket("calls");
    let store = format!("endpoint_url = \"{}\"\nregion = \"eu-west-1\"\n", s3.endpoint());
    let definition = |output: &str| {
        format!(
            "task = \"transcribe\"\nmanifest = \"s3://calls/in/\"\noutput = \"{output}\"\n[transcribe]\nmodel = \"pulse\"\nlanguage = \"en\"\n[source]\n{store}[sink]\n{store}"
        )
    };
    fixture.write("well.toml", definition("s3://calls/out/"));
    fixture.write("ill.toml", definition("s3://nothing/out/"));
    let ask = |name: &str| {
        let mut command = program(&fixture, &["doctor", name]);
        command.envs(s3.environment());
        tokio::task::block_in_place(|| examined(command))
    };
    let (code, view) = ask("well.toml");
    assert_eq!((code, failed(&view)), (Some(0), vec![]), "{view:#}");
    let (_, view) = ask("ill.toml");
    fails(&view, "output", "nothing");
    assert_eq!(failed(&view), ["output"], "{view:#}");

    fixture.write("texts.csv", "key,text\none,Hello there\n");
    fixture.write(
        "said.toml",
        "task = \"synthesize\"\nmanifest = \"texts.csv\"\n[synthesize]\nmodel = \"lightning_v3.1\"\nvoice_id = \"nobody\"\nlanguage = \"en\"\n",
    );
    let said = program(&fixture, &["submit", "said.toml", "-q", "--voice-check", "warn"]).output().unwrap();
    assert!(said.status.success(), "{said:?}");
    let (_, view) = tokio::task::block_in_place(|| doctor(&fixture, &["said.toml"]));
    fails(&view, "voices", "nobody");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_on_a_server_is_examined_with_the_clock_of_the_server() {
    let Some(cluster) = postgres::Cluster::get() else { return postgres::tell_skipped() };
    let fixture = Fixture::new().await;
    fixture.calls(2);
    fixture.definition("", "");
    let server = cluster.url(&format!("doctor_{}", uuid::Uuid::now_v7().simple()));
    let said = program(&fixture, &["submit", "night.toml", "-q", "--database", &server]).output().unwrap();
    assert!(said.status.success(), "{said:?}");
    let (code, view) = doctor(&fixture, &["--database", &server]);
    assert_eq!((code, failed(&view)), (Some(0), vec![]), "{view:#}");
    assert!(one(&view, "ledger")["what"].as_str().unwrap().contains("PostgreSQL "), "{view:#}");
    assert_eq!(one(&view, "spool")["state"], "warning");
    let clocks = view["examined"].as_array().unwrap().iter().filter(|one| one["name"] == "clock");
    assert_eq!(clocks.count(), 2, "{view:#}");
    let (code, view) = doctor(&fixture, &["--database", "postgres://u@127.0.0.1:1/db"]);
    assert_eq!((code, failed(&view)), (Some(1), vec!["ledger"]), "{view:#}");
}
