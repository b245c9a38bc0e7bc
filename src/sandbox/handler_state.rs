//! What all calls share.

use std::{io, sync::Arc};

use axum::http::HeaderValue;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{
    Config,
    books::{Books, CallLog, ModelBooks},
    callbacks::Callbacks,
    dictionaries::Dictionaries,
    faults::Faults,
    gate::Gate,
    limits::{Lane, Limits},
    logs::Logs,
};

/// All that the handlers share.
#[derive(Debug)]
pub(super) struct HandlerState {
    pub config: Config,
    pub content_expiry: HeaderValue,
    pub limits: Arc<Limits>,
    pub books: CallLog,
    pub faults: Faults,
    pub logs: Logs,
    pub dictionaries: Dictionaries,
    pub callbacks: Callbacks,
    /// Where calls wait after their work.
    pub gate: Gate,
    pub arrivals: watch::Sender<u64>,
    pub client: reqwest::Client,
    pub stop: CancellationToken,
}

impl HandlerState {
    pub(super) fn new(config: Config) -> io::Result<Self> {
        // Another part of the process may have chosen a provider already; any will do.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::limited(5)).build();
        let limits = Limits::new(config.requests_per_minute, config.concurrency).with_tts(config.tts_concurrency);
        let stop = CancellationToken::new();
        Ok(Self {
            content_expiry: config.content_expiry.parse().map_err(io::Error::other)?,
            limits: Arc::new(limits),
            books: CallLog::new(config.keep),
            faults: Faults::default(),
            logs: Logs::new(config.keep),
            dictionaries: Dictionaries::default(),
            callbacks: Callbacks::new(&config, &stop).map_err(io::Error::other)?,
            gate: Gate::default(),
            arrivals: watch::Sender::default(),
            client: client.map_err(io::Error::other)?,
            stop,
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
            ..self.callbacks.tally.enter(self.books.copy())
        }
    }

    pub(super) fn reset(&self) {
        self.faults.clear();
        self.books.reset();
        self.logs.reset();
        self.dictionaries.reset();
        self.limits.reset();
        self.arrivals.send_replace(0);
        self.callbacks.reset();
        self.gate.release();
    }
}
