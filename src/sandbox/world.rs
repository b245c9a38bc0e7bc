//! What all calls share.

use std::{io, sync::Arc};

use axum::http::HeaderValue;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{
    Config,
    books::{Books, ModelBooks, Shelf},
    dictionaries::Dictionaries,
    faults::Faults,
    limits::{Lane, Limits},
    logs::Logs,
};

/// All that the handlers share.
#[derive(Debug)]
pub(super) struct World {
    pub config: Config,
    pub content_expiry: HeaderValue,
    pub limits: Arc<Limits>,
    pub books: Shelf,
    pub faults: Faults,
    pub logs: Logs,
    pub dictionaries: Dictionaries,
    gate: watch::Sender<Gate>,
    pub arrivals: watch::Sender<u64>,
    pub waiting: watch::Sender<usize>,
    pub client: reqwest::Client,
    pub stop: CancellationToken,
}

/// Where calls wait after their work.
#[derive(Debug, Clone, Copy, Default)]
struct Gate {
    held: bool,
    /// How often it was opened: a hanging call waits for the next time.
    releases: u64,
}

impl World {
    pub(super) fn new(config: Config) -> io::Result<Self> {
        // Another part of the process may have chosen a provider already; any will do.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::limited(5)).build();
        let limits = Limits::new(config.requests_per_minute, config.concurrency).with_tts(config.tts_concurrency);
        Ok(Self {
            content_expiry: config.content_expiry.parse().map_err(io::Error::other)?,
            limits: Arc::new(limits),
            books: Shelf::new(config.keep),
            faults: Faults::default(),
            logs: Logs::new(config.keep),
            dictionaries: Dictionaries::default(),
            gate: watch::Sender::default(),
            arrivals: watch::Sender::default(),
            waiting: watch::Sender::default(),
            client: client.map_err(io::Error::other)?,
            stop: CancellationToken::new(),
            config,
        })
    }

    pub(super) fn books(&self) -> Books {
        let all = self.limits.reading();
        let of = |lane: Lane| {
            let reading = self.limits.reading_of(lane);
            let books =
                ModelBooks { peak_in_flight: reading.peak_in_flight, most_in_a_minute: reading.most_in_a_minute };
            (lane.name().to_owned(), books)
        };
        Books {
            in_flight: all.in_flight,
            peak_in_flight: all.peak_in_flight,
            most_in_a_minute: all.most_in_a_minute,
            models: Lane::all().map(of).collect(),
            ..self.books.copy()
        }
    }

    pub(super) fn hold(&self) {
        self.gate.send_modify(|gate| gate.held = true);
    }

    pub(super) fn release(&self) {
        self.gate.send_modify(|gate| {
            gate.held = false;
            gate.releases += 1;
        });
    }

    pub(super) fn reset(&self) {
        self.faults.clear();
        self.books.reset();
        self.logs.reset();
        self.dictionaries.reset();
        self.limits.reset();
        self.arrivals.send_replace(0);
        self.release();
    }

    /// Waits while the gate is held; a call that `hangs`, until it is opened the next time.
    pub(super) async fn wait_at_gate(&self, hangs: bool) {
        /// Counts a call among the waiting while it is.
        struct Waits<'a>(&'a watch::Sender<usize>);
        impl Drop for Waits<'_> {
            fn drop(&mut self) {
                self.0.send_modify(|n| *n -= 1);
            }
        }

        let mut gate = self.gate.subscribe();
        let seen = *gate.borrow();
        if !seen.held && !hangs {
            return;
        }
        self.waiting.send_modify(|n| *n += 1);
        let _waits = Waits(&self.waiting);
        let opened = gate.wait_for(|now| !now.held && (!hangs || now.releases > seen.releases)).await;
        opened.expect("the world holds the sender");
    }
}
