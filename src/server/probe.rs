//! The self-probe checks that callbacks would reach this receiver through `public_url` and all proxies. So an expired
//! certificate at a proxy is noticed at once.

use std::{error::Error, io, time::Duration};

use reqwest::{Client, StatusCode, redirect::Policy, retry};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use url::Url;
use uuid::Uuid;

use super::Metrics;
use crate::{
    clock::Clock,
    domain::callback::{Keyring, probe_address},
};

/// The settings of a probe.
#[derive(Debug, Clone)]
pub struct ProbeSettings {
    /// The URL at which the vendor reaches us.
    pub public_url: Url,
    /// The secrets of callback URLs.
    pub secrets: Keyring,
    /// The clock for the metric.
    pub clock: Clock,
    /// The interval between probes.
    pub every: Duration,
    /// The time limit of a probe.
    pub timeouts: Duration,
    /// The interval for repeated warnings about a lasting failure.
    pub again: Duration,
}

impl ProbeSettings {
    /// A probe each minute, with a repeated warning each hour.
    #[must_use]
    pub const fn new(public_url: Url, secrets: Keyring, clock: Clock) -> Self {
        let (every, timeouts, again) = (Duration::from_secs(60), Duration::from_secs(10), Duration::from_secs(3_600));
        Self { public_url, secrets, clock, every, timeouts, again }
    }
}

/// Why a callback would not reach us.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// No HTTP client can be made.
    #[error("TLS could not be set up; are the system's CA certificates installed?")]
    Tls(#[source] reqwest::Error),
    /// There is nothing to sign the address with.
    #[error("there is no secret of callbacks")]
    NoSecret,
    /// The host name does not resolve.
    #[error("the name {0} is not resolved; look at its DNS record")]
    Name(String),
    /// The connection is refused.
    #[error("{0} refuses the connection; is the reverse proxy running, and the port open?")]
    Refused(String),
    /// The TLS certificate is not valid.
    #[error("the certificate of {host} {why}")]
    Certificate {
        /// The host.
        host: String,
        /// What is wrong with it.
        why: String,
    },
    /// There was no answer in time.
    #[error("{host} did not answer within {} s; is a firewall in the way?", timeouts.as_secs())]
    TimedOut {
        /// The host.
        host: String,
        /// The time limit.
        timeouts: Duration,
    },
    /// The connection failed or broke.
    #[error("{host} cannot be talked to: {why}")]
    Broken {
        /// The host.
        host: String,
        /// The innermost cause.
        why: String,
    },
    /// Another server answered, or the receiver did not know the URL.
    #[error("{}", message_of(*.0))]
    Status(u16),
}

fn message_of(status: u16) -> String {
    let advice = match status {
        200..=299 => "somebody else answers there; let the proxy pass …/callbacks/ on to [webhook] listen",
        300..=399 => "it redirects, which a POST does not follow; set public_url to where it leads",
        401 | 403 => "the proxy wants to know who asks; let …/callbacks/ pass without",
        404 | 405 => {
            "the proxy does not pass the path on to this receiver, or that is another ledger's, with another secret"
        }
        408 | 504 => "the receiver did not answer the proxy in time",
        413 => "the proxy takes no large bodies; callbacks have up to 64 MB",
        502 | 503 => "the proxy does not reach the receiver; is [webhook] listen where it looks?",
        _ => "a receiver of wavebatch says 204",
    };
    format!("status {status}: {advice}")
}

/// Probes once.
///
/// # Errors
/// Why no callback would reach us now.
pub async fn once(settings: &ProbeSettings) -> Result<(), ProbeError> {
    probe(&client(settings)?, settings).await
}

/// Probes now and then periodically until it is stopped. Logs when it starts to fail, and when it succeeds again.
pub async fn watch(settings: ProbeSettings, metrics: Metrics, stop: CancellationToken) {
    let client = client(&settings);
    let mut tick = interval(settings.every);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut mood = Mood::default();
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            () = stop.cancelled() => return,
        }
        let probed = match &client {
            Ok(client) => tokio::select! {
                probed = probe(client, &settings) => probed.map_err(|e| e.to_string()),
                () = stop.cancelled() => return,
            },
            Err(error) => Err(error.to_string()),
        };
        metrics.probed(probed.is_ok(), settings.clock.now());
        let url = settings.public_url.as_str();
        match (mood.after(probed.is_ok(), Instant::now(), settings.again), probed) {
            (Some(Change::Fails), Err(why)) => {
                tracing::warn!(webhook.public_url = url, "callbacks cannot reach this receiver: {why}");
            }
            (Some(Change::Well), _) => {
                tracing::warn!(webhook.public_url = url, "callbacks can reach this receiver again")
            }
            _ => {}
        }
    }
}

/// A change to log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    Fails,
    Well,
}

/// When the current failure was last logged, if there is one.
#[derive(Debug, Default)]
struct Mood(Option<Instant>);

impl Mood {
    fn after(&mut self, well: bool, now: Instant, again: Duration) -> Option<Change> {
        if well {
            return self.0.take().map(|_| Change::Well);
        }
        if self.0.is_some_and(|logged_at| now.duration_since(logged_at) < again) {
            return None;
        }
        self.0 = Some(now);
        Some(Change::Fails)
    }
}

fn client(settings: &ProbeSettings) -> Result<Client, ProbeError> {
    // An error means that the process already has a provider, which is fine.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut builder = Client::builder()
        .timeout(settings.timeouts)
        .redirect(Policy::none())
        .retry(retry::never())
        .referer(false)
        // The vendor opens a new connection each time, and so sees the current certificate.
        .pool_max_idle_per_host(0)
        .user_agent(concat!("wavebatch/", env!("CARGO_PKG_VERSION")));
    if settings.public_url.scheme() == "http" {
        // Plain http is only for this machine: neither certificates nor a proxy are needed.
        builder = builder.tls_certs_only([]).no_proxy();
    }
    builder.build().map_err(ProbeError::Tls)
}

async fn probe(client: &Client, settings: &ProbeSettings) -> Result<(), ProbeError> {
    let Some(secret) = settings.secrets.newest() else { return Err(ProbeError::NoSecret) };
    let address = probe_address(&settings.public_url, Uuid::now_v7(), &secret);
    match client.post(address).send().await {
        Ok(answer) if answer.status() == StatusCode::NO_CONTENT => Ok(()),
        Ok(answer) => Err(ProbeError::Status(answer.status().as_u16())),
        Err(error) => Err(of_transport(&error, settings)),
    }
}

fn of_transport(error: &reqwest::Error, settings: &ProbeSettings) -> ProbeError {
    let url = &settings.public_url;
    let host = url.host_str().unwrap_or_default().to_owned();
    let place = url.port_or_known_default().map_or_else(|| host.clone(), |port| format!("{host}:{port}"));
    if error.is_timeout() {
        return ProbeError::TimedOut { host: place, timeouts: settings.timeouts };
    }
    of_causes(error.source(), host, place)
}

fn of_causes(mut next: Option<&(dyn Error + 'static)>, host: String, place: String) -> ProbeError {
    let mut why = "the connection broke".to_owned();
    while let Some(cause) = next {
        why = cause.to_string();
        if why.starts_with("dns error") {
            return ProbeError::Name(host);
        }
        if let Some(tls) = cause.downcast_ref::<rustls::Error>() {
            return of_tls(tls, host);
        }
        let io = cause.downcast_ref::<io::Error>();
        if io.is_some_and(|io| io.kind() == io::ErrorKind::ConnectionRefused) {
            return ProbeError::Refused(place);
        }
        // The `source` of an I/O error leaves out its inner error.
        next = match io.and_then(io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => cause.source(),
        };
    }
    ProbeError::Broken { host: place, why }
}

fn of_tls(error: &rustls::Error, host: String) -> ProbeError {
    use rustls::CertificateError as Bad;
    let rustls::Error::InvalidCertificate(bad) = error else {
        return ProbeError::Broken { host, why: error.to_string() };
    };
    let why = match bad {
        Bad::Expired | Bad::ExpiredContext { .. } => "has expired; renew it".to_owned(),
        Bad::NotValidYet | Bad::NotValidYetContext { .. } => {
            "is not valid yet; is this machine's clock right?".to_owned()
        }
        Bad::NotValidForName | Bad::NotValidForNameContext { .. } => "is made out to another name".to_owned(),
        Bad::UnknownIssuer => "is signed by nobody whom this machine trusts (or its chain is not all there)".to_owned(),
        Bad::Revoked => "was revoked".to_owned(),
        other => format!("will not do ({other})"),
    };
    ProbeError::Certificate { host, why }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_told_at_once_each_hour_and_when_it_is_over() {
        let (start, hour) = (Instant::now(), Duration::from_secs(3_600));
        let mut mood = Mood::default();
        let mut after = |well, minutes: u64| mood.after(well, start + Duration::from_secs(60 * minutes), hour);
        assert_eq!(after(true, 0), None, "well from the start");
        assert_eq!(after(false, 1), Some(Change::Fails));
        assert_eq!((after(false, 2), after(false, 60)), (None, None));
        assert_eq!(after(false, 61), Some(Change::Fails));
        assert_eq!(after(false, 62), None);
        assert_eq!((after(true, 63), after(true, 64)), (Some(Change::Well), None));
        assert_eq!(after(false, 65), Some(Change::Fails), "again, at once");
    }

    #[test]
    fn certificates_are_told_apart() {
        use rustls::{CertificateError as Bad, Error};
        let message = |bad| of_tls(&Error::InvalidCertificate(bad), "h.example".into()).to_string();
        assert_eq!(message(Bad::Expired), "the certificate of h.example has expired; renew it");
        assert!(message(Bad::NotValidForName).contains("another name"));
        assert!(message(Bad::UnknownIssuer).contains("nobody whom this machine trusts"));
        let other = of_tls(&Error::DecryptError, "h.example".into()).to_string();
        assert!(other.starts_with("h.example cannot be talked to"), "{other}");
    }

    #[test]
    fn causes_are_found_however_deep_they_are_wrapped() {
        let message = |error: io::Error| {
            let error = io::Error::other(error);
            of_causes(Some(&error), "h.example".into(), "h.example:443".into()).to_string()
        };
        let expired = rustls::Error::InvalidCertificate(rustls::CertificateError::Expired);
        assert!(message(io::Error::new(io::ErrorKind::InvalidData, expired)).contains("has expired"));
        assert!(message(io::ErrorKind::ConnectionRefused.into()).starts_with("h.example:443 refuses"));
        assert!(message(io::Error::other("dns error")).contains("not resolved"));
        assert_eq!(message(io::Error::other("strange")), "h.example:443 cannot be talked to: strange");
    }

    #[test]
    fn each_status_has_its_advice() {
        for (status, word) in [
            (200, "somebody else"),
            (301, "redirects"),
            (404, "does not pass the path on"),
            (405, "does not pass"),
            (502, "listen"),
        ] {
            let message = ProbeError::Status(status).to_string();
            assert!(message.starts_with(&format!("status {status}: ")) && message.contains(word), "{message}");
        }
    }
}
