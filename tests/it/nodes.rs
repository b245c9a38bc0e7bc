//! Several services on one ledger, each with a folder of its own, as on several machines.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use uuid::Uuid;
use wavebatch::{
    domain::callback::{Secret, probe_address},
    sandbox::Config,
};

use crate::support::{
    Fixture,
    server::address_for,
    service::{Service, free_port, program},
};

/// Machines on one ledger.
struct Nodes {
    fixture: Fixture,
}

impl Nodes {
    async fn new() -> Self {
        Self { fixture: Fixture::with(Config::default()).await }
    }

    /// The folder of a machine.
    fn folder(&self, node: &str) -> PathBuf {
        let folder = self.fixture.path(node);
        std::fs::create_dir_all(&folder).unwrap();
        folder
    }

    /// The program on a machine.
    fn command(&self, node: &str, args: &[&str]) -> Command {
        let ledger = self.fixture.path("wavebatch.db");
        let mut command = program(&self.fixture, args);
        if address_for(&ledger).is_none() {
            command.env("WAVEBATCH_DATABASE", format!("sqlite://{}", ledger.display()));
        }
        command.current_dir(self.folder(node));
        command
    }

    fn serve(&self, node: &str, args: &[&str]) -> Service {
        let args: Vec<&str> = ["serve", "--admin-listen", "off"].iter().chain(args).copied().collect();
        Service::of(self.command(node, &args))
    }

    fn output(&self, node: &str, args: &[&str]) -> Output {
        self.command(node, args).stdout(Stdio::piped()).output().unwrap()
    }

    fn says(&self, node: &str, args: &[&str]) -> String {
        let output = self.output(node, args);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn secret(&self, node: &str, purpose: &str) -> String {
        self.says(node, &["secrets", "show", purpose]).trim().to_owned()
    }
}

/// What a receiver says to an address that this secret signed.
async fn probed(listen: &str, secret: &str) -> u16 {
    let public_url = format!("http://{listen}").parse().unwrap();
    let address = probe_address(&public_url, Uuid::now_v7(), &Secret::parse(secret).unwrap());
    reqwest::Client::new().post(address).send().await.unwrap().status().as_u16()
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_share_the_secrets_of_their_ledger() {
    if address_for(Path::new("wavebatch.db")).is_none() {
        // A ledger in a file is on one machine.
        return;
    }
    let nodes = Nodes::new().await;
    let listen = [0; 2].map(|_| format!("127.0.0.1:{}", free_port()));
    // Both start at once on a ledger that has no secret.
    let services: Vec<Service> = ["a", "b"]
        .iter()
        .zip(&listen)
        .map(|(node, listen)| nodes.serve(node, &["--no-workers", "--listen", listen]))
        .collect();
    for service in &services {
        service.says("workers   none").await;
    }
    let first = nodes.secret("a", "webhook");
    assert_eq!(nodes.secret("b", "webhook"), first);
    let notify = nodes.secret("a", "notify");
    assert_eq!(nodes.secret("b", "notify"), notify);
    assert_ne!(notify, first);
    assert_eq!([probed(&listen[0], &first).await, probed(&listen[1], &first).await], [204; 2]);

    // A new one is known everywhere at once, and so is the one before it; that before both is not.
    let renewed = nodes.output("a", &["secrets", "renew", "webhook"]);
    let message = String::from_utf8_lossy(&renewed.stderr).into_owned();
    assert!(renewed.status.success() && message.contains("a new secret signs from now on"), "{message}");
    let second = nodes.secret("b", "webhook");
    assert_ne!(second, first);
    for secret in [&second, &first] {
        assert_eq!([probed(&listen[0], secret).await, probed(&listen[1], secret).await], [204; 2]);
    }
    nodes.output("b", &["secrets", "renew", "webhook"]);
    let third = nodes.secret("a", "webhook");
    tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
    assert_eq!(probed(&listen[0], &third).await, 204);
    assert_eq!(probed(&listen[0], &first).await, 404);
    assert_eq!(nodes.secret("b", "notify"), notify, "it is another one");

    // No file has them, and nobody shows them unasked.
    let mut said = nodes.says("a", &["status", "--json"]);
    for service in services {
        said.push_str(&service.stop().await.2);
    }
    for secret in [&first, &second, &third, &notify] {
        assert!(!said.contains(secret.as_str()), "{said}");
    }
    let files = walkdir::WalkDir::new(nodes.fixture.dir.path()).into_iter().flatten();
    let names: Vec<_> = files.map(|file| file.file_name().to_string_lossy().into_owned()).collect();
    assert!(!names.iter().any(|name| name.contains("secret")), "{names:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_in_a_variable_or_a_file_is_not_renewed_in_the_ledger() {
    let nodes = Nodes::new().await;
    let refused = |variable: Option<&str>| {
        let mut command = program(&nodes.fixture, &["secrets", "renew", "webhook"]);
        if let Some(secret) = variable {
            command.env("WAVEBATCH_WEBHOOK_SECRET", secret);
        }
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, message) = refused(Some(&"ab".repeat(32)));
    assert!(code == Some(2) && message.contains("WAVEBATCH_WEBHOOK_SECRET is set"), "{message}");
    let (code, message) = refused(None);
    assert!(code == Some(2) && message.contains("of a ledger in a file are not in it"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_and_their_settings_are_told_with_hosts_and_values() {
    let nodes = Nodes::new().await;
    let fixture = &nodes.fixture;
    fixture.provable_calls(8);
    fixture.submit(&fixture.definition("", "concurrency = 2")).await;
    let limits = |node: &str, text: &str| {
        std::fs::write(nodes.folder(node).join("wavebatch.toml"), format!("[limits.pulse]\nconcurrency = 2\n{text}"))
            .unwrap();
    };
    limits("a", "requests_per_minute = 60\n");
    limits("b", "requests_per_minute = 120\n[spend]\nday_usd = 5\ntimezone = \"UTC\"\n");
    fixture.sandbox.hold();
    let a = nodes.serve("a", &["--listen", "off"]);
    a.says("workers   at work").await;
    fixture.sandbox.arrivals(2).await;
    let b = nodes.serve("b", &["--listen", "off"]);
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let of = |service: &Service| format!("process {} on {host}", service.pid());
    let differs = format!(
        "limits.pulse.requests_per_minute is 60 for {} and 120 for {}; spend.day_usd is not set for {} and 5.0 for {}",
        of(&a),
        of(&b),
        of(&a),
        of(&b)
    );
    // Who starts says it at once, and who is there as soon as it looks.
    b.says(&differs).await;
    a.says(&differs).await;
    assert!(!a.log().contains("limits.pulse.concurrency"), "{}", a.log());

    let view: serde_json::Value = serde_json::from_str(&nodes.says("a", &["status", "--json"])).unwrap();
    let processes = view["processes"].as_array().unwrap();
    assert_eq!(processes.len(), 2, "{view:#}");
    let first = processes.iter().find(|process| process["pid"] == a.pid()).unwrap();
    assert_eq!(first["host"], host.as_str());
    assert_eq!(first["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(first["state"], "at_work");
    assert_eq!(first["calls_in_flight"], serde_json::json!({ "pulse": 2 }), "{view:#}");
    assert!(first["lines"].as_u64().unwrap() >= 2 && first["beat_age_seconds"].as_f64().unwrap() < 3.0, "{view:#}");
    assert_eq!(view["processes_differ"], true);
    let setting = &view["differing_settings"][0];
    assert_eq!(setting["setting"], "limits.pulse.requests_per_minute");
    assert_eq!(setting["values"][1]["value"], 120);
    assert_eq!(setting["values"][1]["processes"][0]["pid"], b.pid());
    fixture.sandbox.release();
}

crate::support::server::on_postgres_too! {
    nodes_share_the_secrets_of_their_ledger,
    processes_and_their_settings_are_told_with_hosts_and_values,
}
