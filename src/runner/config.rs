//! What a runner works with, and under which rules.

use std::{collections::HashMap, sync::Arc};

use url::Url;

use crate::{
    domain::{
        callback::{Rule, Secret},
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
    /// What the account may spend in a day and in a month, over all batches.
    pub spend: Option<Arc<SpendRule>>,
    /// List prices.
    pub rates: Rates,
    /// Where the API can post answers; `None`: every call waits for its answer.
    pub webhook: Option<Webhook>,
}

/// Where the API can post answers.
#[derive(Debug, Clone)]
pub struct Webhook {
    /// The URL at which the vendor reaches a receiver of this ledger.
    pub public_url: Url,
    /// The secret from which callback addresses are made.
    pub secret: Secret,
    /// When callbacks are used, and for how long they are awaited.
    pub rule: Rule,
}

impl RunnerConfig {
    /// The account's limits of a pool.
    #[must_use]
    pub fn limits(&self, pool: Pool) -> Limits {
        self.limits.get(&pool).copied().unwrap_or_else(|| pool.default_limits(self.environment))
    }
}
