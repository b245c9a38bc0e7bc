//! What a runner works with, and under which rules.

use std::{collections::HashMap, path::PathBuf, sync::Arc};

use url::Url;

use crate::{
    domain::{
        callback::{Keyring, Rule},
        cost::Rates,
        environment::Environment,
        pool::{Limits, Pool},
        spend::SpendRule,
    },
    media::fetch::Fetcher,
    store::Store,
    waves::Client,
};

/// What a runner works with. Clones share it.
#[derive(Debug, Clone)]
pub struct Means {
    /// The ledger.
    pub store: Store,
    /// The API.
    pub client: Client,
    /// Downloads remote sources.
    pub fetcher: Fetcher,
}

/// What a runner works under.
#[derive(Debug, Clone)]
pub struct RunnerConfig {
    /// Batches of the other environment are not touched.
    pub environment: Environment,
    /// The account: a hash of base URL and key.
    pub account: String,
    /// The account's limits by pool.
    pub limits: HashMap<Pool, Limits>,
    /// The share of the account that this ledger uses, above 0 and at most 1. The limits have it in.
    pub share: f64,
    /// What the account may spend in a day and in a month, over all batches.
    pub spend: Option<Arc<SpendRule>>,
    /// List prices.
    pub rates: Rates,
    /// Where the API can post answers; `None`: every call waits for its answer.
    pub webhook: Option<Webhook>,
    /// The ffmpeg that decodes what this program does not; `None`: the one on PATH.
    pub ffmpeg: Option<PathBuf>,
    /// More voices that send the times of their words over a socket.
    pub word_voices: Vec<String>,
}

/// Where the API can post answers.
#[derive(Debug, Clone)]
pub struct Webhook {
    /// The URL at which the vendor reaches a receiver of this ledger.
    pub public_url: Url,
    /// The secrets, of which the newest makes callback addresses.
    pub secrets: Keyring,
    /// When callbacks are used, and for how long they are awaited.
    pub rule: Rule,
}

impl RunnerConfig {
    /// The account's limits of a pool.
    #[must_use]
    pub fn limits(&self, pool: Pool) -> Limits {
        self.limits.get(&pool).copied().unwrap_or_else(|| pool.default_limits(self.environment).shared(self.share))
    }
}
