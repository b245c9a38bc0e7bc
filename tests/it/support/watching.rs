//! Watching from outside: the page of `/metrics`, and a ledger that another program holds locked.

use std::{collections::BTreeMap, net::SocketAddr, path::Path};
use wavebatch::domain::environment::Environment;

use sqlx::{ConnectOptions, Connection, SqliteConnection, sqlite::SqliteConnectOptions};
use wavebatch::server::{Admin, AdminSettings, Metrics, WatchedLedger};

use super::Fixture;

/// A page of `/metrics`.
pub struct Page(pub String);

impl Page {
    pub async fn of(at: SocketAddr) -> Self {
        let answer = reqwest::get(format!("http://{at}/metrics")).await.expect("an answer");
        assert_eq!(answer.status().as_u16(), 200);
        let kind = answer.headers()["content-type"].to_str().expect("text").to_owned();
        assert_eq!(kind, "application/openmetrics-text; version=1.0.0; charset=utf-8");
        let page = answer.text().await.expect("a page");
        assert!(page.ends_with("# EOF\n"), "the whole page");
        Self(page)
    }

    /// The number of a sample, with its labels, if it is there.
    pub fn find(&self, sample: &str) -> Option<f64> {
        let found = self.samples().find(|(name, _)| *name == sample);
        found.map(|(_, number)| number.parse().unwrap_or_else(|_| panic!("{sample} {number}")))
    }

    pub fn get(&self, sample: &str) -> f64 {
        self.find(sample).unwrap_or_else(|| panic!("no {sample} in\n{}", self.0))
    }

    fn samples(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.rsplit_once(' '))
    }

    /// Each name, as one asks for it, without labels.
    pub fn names(&self) -> Vec<&str> {
        self.samples().map(|(sample, _)| sample.split('{').next().unwrap_or_default()).collect()
    }

    /// Each metric, by the name that one asks for it, with its type and the names of its labels.
    pub fn metrics(&self) -> BTreeMap<String, (String, Vec<String>)> {
        let types = self.0.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
        let metric = |(name, kind): (&str, &str)| {
            let asked = match kind {
                // Prometheus' text format has the whole name.
                "counter" if name.ends_with("_total") => name.to_owned(),
                "counter" => format!("{name}_total"),
                "info" => format!("{name}_info"),
                _ => name.to_owned(),
            };
            let counted = if kind == "histogram" { format!("{name}_count") } else { asked.clone() };
            let (sample, _) = self
                .samples()
                .find(|(sample, _)| sample.split('{').next() == Some(&counted))
                .unwrap_or_else(|| panic!("no sample of {counted}"));
            let labels = sample.split_once('{').map_or("", |(_, labels)| labels);
            let labels = labels.split("\",").filter_map(|label| label.split_once('=')).map(|(name, _)| name.to_owned());
            (asked, (kind.to_owned(), labels.collect()))
        };
        types.map(metric).collect()
    }
}

impl Fixture {
    /// What metrics of this house are about.
    pub fn watched(&self) -> WatchedLedger {
        WatchedLedger {
            store: self.store.clone(),
            account: self.account(),
            environment: Environment::Live,
            limits: self.limits.clone(),
            spend: self.spend.clone(),
            tasks: wavebatch::tasks::Registry::built_in().reports().iter().map(|task| task.name()).collect(),
        }
    }

    /// An admin address of this house.
    pub async fn admin(&self, metrics: &Metrics) -> Admin {
        let watched = self.watched();
        let settings = AdminSettings { listen: ([127, 0, 0, 1], 0).into(), metrics: metrics.clone(), watched };
        Admin::start(settings).await.expect("an address")
    }
}

/// Another program that has begun to write, and does not go on.
pub struct Lock(SqliteConnection);

impl Lock {
    pub async fn on(ledger: &Path) -> Self {
        let mut other = SqliteConnectOptions::new().filename(ledger).connect().await.expect("a ledger");
        sqlx::query("BEGIN IMMEDIATE").execute(&mut other).await.expect("a lock");
        Self(other)
    }

    pub async fn release(mut self) {
        sqlx::query("ROLLBACK").execute(&mut self.0).await.expect("nothing was written");
        self.0.close().await.expect("closed");
    }
}
