//! The fields of the file.

use std::{collections::BTreeMap, path::PathBuf};

use toml::de::{DeTable, DeValue};
use url::Url;

use super::{
    BASE_URL, KEY, LimitOrigin, Plan, PoolLimits, audio, audio::Audio, metrics_file::metrics_file, serve,
    serve::ServeConfig, spend, spool, webhook, webhook::WebhookConfig,
};
use crate::{
    definition::{
        Fault, Notify,
        fields::{FieldTable, fields},
        notify,
        walk::{Section, TomlWalk, Wrong},
    },
    domain::{
        batch::MicroUsd,
        cost::{Rates, TokenPrices},
        pool::Pool,
        s3::S3Settings,
        spend::SpendRule,
    },
    store::{LedgerAddress, ServerAddress},
};

/// The tables of `wavebatch.toml`, in the order of the reference.
pub const TABLES: &[FieldTable] = &[
    ROOT,
    spool::S3,
    audio::AUDIO,
    LIMITS,
    POOL,
    RATES,
    TOKENS,
    spend::SPEND,
    webhook::WEBHOOK,
    serve::SERVE,
    notify::NOTIFY,
];

fields! {
    /// The ledger and the API.
    ROOT = "" {
        /// The ledger: a file, or a database on a server (`postgres://user@host/database`). A path is relative to this file.
        "database": "a string" (= "\"sqlite://wavebatch.db\"");
        /// Where bought speech is kept: `s3://bucket/prefix/`, or the path of a folder that all machines of the ledger share. A path is relative to this file. The ledger remembers it.
        "spool": "a string" (or "a folder beside the ledger; needed for speech where the ledger is on a server");
        /// The address of the API: a region's, or that of a self-hosted installation.
        "base_url": "a string" (= "\"https://api.smallest.ai\"");
        /// The file for the metrics of `run`, `work` and `deliver`, whose name ends in `.prom`. A path is relative to this file. Each timer
        /// needs a file of its own.
        "metrics_file": "a string" ();
    }
}

fields! {
    /// What the account allows, for all processes together. A definition can only go below it.
    LIMITS = "limits" {
        /// The vendor's plan. It decides the limits that are not set.
        "plan": [Plan] (= "\"standard\"");
        /// The share of the account that this ledger uses, where others use the account too: above 0, at most 1. It multiplies each limit, the plan's and those that are set. At least 1 is left.
        "share": "a number" (= "1");
    }
}

fields! {
    /// The limits of one pool: `[limits.pulse]`, `[limits.pulse-pro]`, `[limits.pulse-live]`, `[limits.tts]` for all models of speech together,
    /// `[limits.chat]`, `[limits.pca]` for analyses of calls, or the name of a model that this release does not know. 0 is no limit.
    POOL = "limits.POOL" {
        /// Calls that begin in a minute.
        "requests_per_minute": "a whole number" (or "25 for transcription, 10 for chat and for analyses, no limit for speech and live sessions");
        /// Calls in flight at the same time.
        "concurrency": "a whole number" (or "10 for speech, 3 for chat and for analyses, 100 for live sessions, no limit for other transcription");
    }
}

fields! {
    /// List prices in US dollars, for costs, estimates and spend limits.
    RATES = "rates" {
        /// The day of these prices, as reports show it.
        "as_of": "a string" (= "\"2026-09-07\"");
        /// A minute of audio by `pulse`.
        "pulse": "a number" (= "0.005");
        /// A minute of audio by `pulse-pro`.
        "pulse-pro": "a number" (= "0.004");
        /// A minute of audio by `pulse-live`.
        "pulse-live": "a number" (= "0.008");
        /// 10,000 characters of text by `lightning_v3.1`.
        "lightning": "a number" (= "0.175");
        /// 10,000 characters of text by `lightning_v3.1_pro`.
        "lightning-pro": "a number" (= "0.195");
        /// A request for an analysis of a call. The vendor publishes no price.
        "pca": "a number" (or "0; with a spend limit, a fault");
        /// A model that this release does not know, by its own name: a minute of audio, or 10,000 characters. Of a model that chats, a table like that of `electron`.
        "MODEL": "a number" (or "0; with a spend limit, a fault");
    }
}

fields! {
    /// The prices of a million tokens of a model that chats, in US dollars: `[rates.electron]`, or the name of a model that this
    /// release does not know.
    TOKENS = "rates.electron" {
        /// Tokens that are read.
        "input": "a number" (= "0.4");
        /// Tokens that are read, and were in the vendor's cache.
        "cached": "a number" (= "0.1");
        /// Tokens that are written.
        "output": "a number" (= "1.6");
    }
}

/// The content of the file, with the defaults for absent fields.
pub(super) struct Draft {
    pub(super) database: Option<String>,
    pub(super) spool: Option<String>,
    pub(super) s3: S3Settings,
    pub(super) base_url: Option<Url>,
    pub(super) metrics_file: Option<PathBuf>,
    pub(super) audio: Audio,
    pub(super) limits: BTreeMap<Pool, PoolLimits>,
    pub(super) share: Option<f64>,
    pub(super) rates: Rates,
    pub(super) spend: Option<SpendRule>,
    pub(super) webhook: WebhookConfig,
    pub(super) serve: ServeConfig,
    pub(super) notify: Option<Notify>,
}

impl Default for Draft {
    fn default() -> Self {
        Self {
            database: None,
            spool: None,
            s3: S3Settings::default(),
            base_url: None,
            metrics_file: None,
            audio: Audio::default(),
            limits: preset(Plan::Standard),
            share: None,
            rates: Rates::default(),
            spend: None,
            webhook: WebhookConfig::default(),
            serve: ServeConfig::default(),
            notify: None,
        }
    }
}

fn preset(plan: Plan) -> BTreeMap<Pool, PoolLimits> {
    Pool::ALL.iter().map(|pool| (*pool, preset_of(plan, *pool))).collect()
}

pub(super) fn preset_of(plan: Plan, pool: Pool) -> PoolLimits {
    let by = || if pool == Pool::Pca { LimitOrigin::Assumed(pool) } else { LimitOrigin::Preset(plan) };
    PoolLimits { limits: plan.limits(pool), rate_by: by(), concurrency_by: by() }
}

/// A name that may be a model unknown to this release, and is not a typing error.
fn unknown_model<'n>(name: &'n str, known: &[&str]) -> Option<&'n str> {
    let slip = known.iter().any(|known| strsim::damerau_levenshtein(name, known) <= 1);
    (!slip && name != "plan" && name != "as_of").then_some(name)
}

/// Reads the file. Faults do not stop the reading: the rest is returned too, to find more faults.
pub(super) fn read(file: &str, text: &str) -> (Draft, Vec<Fault>) {
    let mut walk = TomlWalk::new(file, text);
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        walk.fault(error.span().map_or(0, |span| span.start), None, error.message());
    }
    if !errors.is_empty() {
        return (Draft::default(), walk.faults);
    }
    let mut root = Section::root(table.get_ref());
    let database = walk.text(&mut root, "database", |text| database(text).map(|_| text.to_owned()));
    let spool = walk.text(&mut root, "spool", |text| spool::address(text).map(|_| text.to_owned()));
    let base_url = walk.text(&mut root, "base_url", base_url);
    let metrics_file = walk.text(&mut root, "metrics_file", metrics_file);
    let s3 = walk.section(&mut root, "s3");
    let s3 = spool::read(&mut walk, s3);
    let audio = walk.section(&mut root, "audio");
    let audio = audio::read(&mut walk, audio);
    let limits = walk.section(&mut root, "limits");
    let (limits, share) = read_limits(file, &mut walk, limits);
    let rates = walk.section(&mut root, "rates");
    let rates = read_rates(&mut walk, rates);
    let spend = walk.section(&mut root, "spend");
    let spend = spend::read(&mut walk, spend);
    let webhook = walk.section(&mut root, "webhook");
    let webhook = webhook::read(&mut walk, webhook);
    let serve = walk.section(&mut root, "serve");
    let serve = serve::read(&mut walk, serve);
    let notify = notify::read(&mut walk, &mut root);
    walk.close(root);
    walk.report_unknown();
    (
        Draft {
            database,
            spool,
            s3,
            base_url,
            metrics_file,
            audio,
            limits,
            share,
            rates,
            spend,
            webhook,
            serve,
            notify,
        },
        walk.faults,
    )
}

fn read_limits<'t>(
    file: &str,
    walk: &mut TomlWalk<'t>,
    mut section: Section<'t>,
) -> (BTreeMap<Pool, PoolLimits>, Option<f64>) {
    let plan = walk.text(&mut section, "plan", |text| text.parse::<Plan>().map_err(|e| e.to_string()));
    let plan = plan.unwrap_or(Plan::Standard);
    let share = walk.take(&mut section, "share", |value| {
        let number = match value {
            DeValue::Integer(number) => number.as_str().parse(),
            DeValue::Float(number) => number.as_str().parse::<f64>(),
            _ => return Err(Wrong::Type("a number")),
        };
        let share = number.ok().filter(|share| *share > 0.0 && *share <= 1.0);
        share.ok_or_else(|| Wrong::Value("it must be above 0 and at most 1, e.g. 0.5".into()))
    });
    let share = share.filter(|share| *share < 1.0);
    let mut limits = preset(plan);
    let may_be_pool = |value: &DeValue<'_>| value.is_table() || value.is_integer();
    for pool in section
        .others_with(may_be_pool)
        .iter()
        .filter_map(|name| unknown_model(name, Pool::NAMES)?.parse::<Pool>().ok())
    {
        limits.insert(pool, preset_of(plan, pool));
    }
    for (pool, set) in &mut limits {
        let mut table = walk.section(&mut section, pool.as_str());
        for (name, limit, by) in [
            ("requests_per_minute", &mut set.limits.requests_per_minute, &mut set.rate_by),
            ("concurrency", &mut set.limits.concurrency, &mut set.concurrency_by),
        ] {
            let said = walk.take(&mut table, name, |value| {
                let number = value.as_integer().ok_or(Wrong::Type("a whole number"))?;
                u32::from_str_radix(number.as_str(), number.radix())
                    .map_err(|_| Wrong::Value(format!("{number} is not between 0 (no limit) and {}", u32::MAX)))
            });
            if let Some(said) = said {
                let line = walk.places.get(&format!("limits.{pool}.{name}")).map_or(0, |place| place.0);
                (*limit, *by) = (Some(said).filter(|said| *said > 0), LimitOrigin::Line(file.to_owned(), line));
            }
        }
        walk.close(table);
        if let Some(share) = share {
            *set = set.clone().shared(share);
        }
    }
    walk.close(section);
    (limits, share)
}

fn read_rates<'t>(walk: &mut TomlWalk<'t>, mut section: Section<'t>) -> Rates {
    let mut rates = Rates::default();
    let as_of = walk.text(&mut section, "as_of", |text| Ok(text.to_owned()));
    for (name, rate, unit) in [
        ("pulse", &mut rates.pulse, "a minute, e.g. 0.005"),
        ("pulse-pro", &mut rates.pulse_pro, "a minute, e.g. 0.005"),
        ("pulse-live", &mut rates.pulse_live, "a minute, e.g. 0.008"),
        ("lightning", &mut rates.lightning, "per 10,000 characters, e.g. 0.175"),
        ("lightning-pro", &mut rates.lightning_pro, "per 10,000 characters, e.g. 0.195"),
    ] {
        let price = walk.take(&mut section, name, |value| price_of(value, unit));
        *rate = price.unwrap_or(*rate);
    }
    rates.pca = walk.take(&mut section, "pca", |value| price_of(value, "a request, e.g. 0.02"));
    rates.electron = read_token_prices(walk, &mut section, "electron", rates.electron);
    for name in section.others_with(|value| value.is_table()) {
        if unknown_model(&name, &["electron"]).is_some() {
            let prices = read_token_prices(walk, &mut section, &name, TokenPrices::default());
            rates.chat.insert(name, prices);
        }
    }
    let may_be_price = |value: &DeValue<'_>| match value {
        DeValue::String(text) => text.parse::<f64>().is_ok(),
        value => value.is_integer() || value.is_float(),
    };
    for name in section.others_with(may_be_price) {
        let known = ["pulse", "pulse-pro", "pulse-live", "lightning", "lightning-pro", "pca", "as_of"];
        if unknown_model(&name, &known).is_none() {
            continue;
        }
        let price = walk.take(&mut section, &name, |value| price_of(value, "a minute, or per 10,000 characters"));
        rates.models.extend(price.map(|price| (name, price)));
    }
    walk.close(section);
    rates.as_of = as_of.unwrap_or(rates.as_of);
    rates
}

/// The prices of a model's tokens; those that are not set are as in `base`.
fn read_token_prices<'t>(
    walk: &mut TomlWalk<'t>,
    section: &mut Section<'t>,
    name: &str,
    base: TokenPrices,
) -> TokenPrices {
    let mut table = walk.section(section, name);
    let mut price = |name, base: MicroUsd| {
        walk.take(&mut table, name, |value| price_of(value, "for a million tokens, e.g. 0.4")).unwrap_or(base)
    };
    let (input, cached, output) =
        (price("input", base.input), price("cached", base.cached), price("output", base.output));
    walk.close(table);
    TokenPrices { input, cached, output }
}

fn price_of(value: &DeValue<'_>, unit: &str) -> Result<MicroUsd, Wrong> {
    let text = match value {
        DeValue::Integer(number) => number.to_string(),
        DeValue::Float(number) => number.as_str().to_owned(),
        _ => return Err(Wrong::Type("a number")),
    };
    let price = text.parse().ok().and_then(MicroUsd::from_usd).filter(|price| price.0 >= 0);
    price.ok_or_else(|| Wrong::Value(format!("`{text}` is not a price; write US dollars {unit}")))
}

/// A ledger's address: `sqlite://path`, a plain path, or that of a server.
pub(super) fn database(text: &str) -> Result<LedgerAddress, String> {
    if ServerAddress::is_meant(text) {
        return ServerAddress::parse(text).map(LedgerAddress::from);
    }
    let path = match text.split_once(':') {
        Some(("sqlite", path)) => path.strip_prefix("//").unwrap_or(path),
        Some((scheme, rest)) if rest.starts_with("//") => {
            return Err(format!(
                "`{scheme}://` ledgers are not supported; write sqlite://path/wavebatch.db, or postgres://user@host/database"
            ));
        }
        _ => text,
    };
    match path {
        "" => Err("names no file; write sqlite://path/wavebatch.db".into()),
        ":memory:" => Err("a ledger in memory would forget what was bought; write sqlite://path/wavebatch.db".into()),
        path if path.contains('?') => Err("takes no options after `?`".into()),
        path if path.ends_with('/') => Err("names a directory; write sqlite://path/wavebatch.db".into()),
        path => Ok(LedgerAddress::File(path.into())),
    }
}

/// The base URL of an API.
pub(super) fn base_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|e| format!("is not an address like {BASE_URL} ({e})"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("must begin with https:// or http://".into());
    }
    if !url.username().is_empty() || url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
        return Err(format!("may have no user, query or fragment; the key goes into {KEY}"));
    }
    Ok(url)
}
