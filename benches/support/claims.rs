//! How long claims take. For ledgers of either engine.

use std::time::{Duration, Instant};

use wavebatch::{
    domain::{environment::Environment, pool::Pool},
    store::{ClaimRequest, Store},
};

const CLAIMS: usize = 300;

/// Claims as one worker with room for 20 would; gives the 99th percentile.
pub async fn claims(store: &Store, queued: u64) -> Duration {
    let me = store.enlist("{}".into()).await.expect("enlisted");
    let mut took = Vec::with_capacity(CLAIMS);
    for turn in 0..CLAIMS {
        let want = ClaimRequest {
            environment: Environment::Live,
            free: 20,
            calls: vec![(Pool::Pulse, 20)],
            turn,
            ..ClaimRequest::default()
        };
        let began = Instant::now();
        let claimed = store.claim(want).await.expect("claimed");
        took.push(began.elapsed());
        assert!(!claimed.is_empty(), "there are lines enough");
    }
    took.sort_unstable();
    let (p50, p99) = (took[CLAIMS / 2], took[CLAIMS * 99 / 100]);
    println!("claim of 20 with {queued} queued: p50 {p50:.2?}, p99 {p99:.2?}");
    store.leave(me).await.expect("left");
    p99
}
