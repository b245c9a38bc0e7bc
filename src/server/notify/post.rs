//! A notification by a signed POST request.

use std::{error::Error, time::Duration};

use reqwest::{Client, header, redirect::Policy};
use url::Url;

use crate::{clock::Millis, domain::callback::Secret};

/// The header with the signed time, in seconds since 1970.
pub const TIMESTAMP: &str = "wavebatch-timestamp";
/// The header with the signature.
pub const SIGNATURE: &str = "wavebatch-signature";
/// The header with the notification's id.
pub const NOTIFICATION: &str = "wavebatch-notification";

/// Posts `body`; any 2xx status is a success. The error message never contains the URL.
pub(super) async fn send(
    url: &Url,
    secret: &Secret,
    (uid, body): (&str, String),
    now: Millis,
    limit: Duration,
) -> Result<(), String> {
    let timestamp = (now / 1_000).to_string();
    let signature = format!("v1={}", secret.sign(&[timestamp.as_bytes(), b".", body.as_bytes()]));
    // An error means that the process already has a provider, which is fine.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = || {
        Client::builder()
            .redirect(Policy::none())
            .referer(false)
            .timeout(limit)
            .user_agent(concat!("wavebatch/", env!("CARGO_PKG_VERSION")))
    };
    // Without system certificates, http:// still works.
    let client = builder().build().or_else(|_| builder().tls_certs_only([]).build()).map_err(|e| innermost(&e))?;
    let request = client
        .post(url.clone())
        .header(header::CONTENT_TYPE, "application/json")
        .header(TIMESTAMP, timestamp)
        .header(SIGNATURE, signature)
        .header(NOTIFICATION, uid)
        .body(body);
    match request.send().await {
        Ok(answer) if answer.status().is_success() => Ok(()),
        Ok(answer) if answer.status().is_redirection() => {
            Err(format!("it was answered with HTTP {}, and redirects are not followed", answer.status().as_u16()))
        }
        Ok(answer) => Err(format!("it was answered with HTTP {}", answer.status().as_u16())),
        Err(e) if e.is_timeout() => Err(format!("there was no answer within {} s", limit.as_secs())),
        Err(e) => Err(format!("it could not be posted: {}", innermost(&e.without_url()))),
    }
}

/// The innermost cause, which has the useful message.
fn innermost(error: &(dyn Error + 'static)) -> String {
    let mut error = error;
    while let Some(cause) = error.source() {
        error = cause;
    }
    error.to_string()
}
