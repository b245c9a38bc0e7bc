//! `[webhook]`: the public URL for the vendor's callbacks, and how long a callback is awaited.

use std::{net::Ipv4Addr, time::Duration};

use toml::de::DeValue;
use url::{Host, Url};

use super::Listen;
use crate::{
    definition::{
        fields::fields,
        text::duration,
        walk::{Section, TomlWalk, Wrong},
    },
    domain::callback::Rule,
};

fields! {
    /// Where the vendor posts the answers for long recordings.
    pub(super) WEBHOOK = "webhook" {
        /// The URL at which the vendor reaches you: `https`, or `http` for this machine alone. Without it no answer is posted.
        "public_url": "a string" ();
        /// The address to listen on, where a reverse proxy passes callbacks on to; or `off`.
        "listen": "a string" (= "\"127.0.0.1:8080\"");
        /// How long a callback is awaited, or three times the audio's length if that is longer.
        "overdue": "a duration" (= "\"15m\"");
        /// How long after that the vendor's log may still lack the call.
        "grace": "a duration" (= "\"2m\"");
        /// From which length on a recording is long.
        "over": "a duration" (= "\"10m\"");
        /// From which size on a recording is long, in MB.
        "over_mb": "a whole number" (= "20");
    }
}

/// The address for callbacks, and the rule for their use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookConfig {
    /// The URL at which the vendor reaches us. Without it, no answer is sent by callback.
    pub public_url: Option<Url>,
    /// The address to listen on.
    pub listen: Listen,
    /// When callbacks are used, and how long they are awaited.
    pub rule: Rule,
}

impl Default for WebhookConfig {
    fn default() -> Self {
        Self { public_url: None, listen: Listen::On((Ipv4Addr::LOCALHOST, 8080).into()), rule: Rule::default() }
    }
}

pub(super) fn read<'t>(walk: &mut TomlWalk<'t>, mut section: Section<'t>) -> WebhookConfig {
    let default = WebhookConfig::default();
    let s = &mut section;
    let public_url = walk.text(s, "public_url", public_url);
    let listen = walk.text(s, "listen", str::parse);
    let mut ms = |name, otherwise| walk.text(s, name, duration).map_or(otherwise, millis);
    let (overdue_ms, grace_ms) = (ms("overdue", default.rule.overdue_ms), ms("grace", default.rule.grace_ms));
    let over_ms = ms("over", default.rule.over_ms);
    let over_mb = walk.take(s, "over_mb", |value| match value {
        DeValue::Integer(number) => {
            number.as_str().parse::<u32>().map_err(|_| Wrong::Value(format!("{number} is too much")))
        }
        _ => Err(Wrong::Type("a whole number")),
    });
    let over_bytes = over_mb.map_or(default.rule.over_bytes, |mb| u64::from(mb) * 1_000_000);
    walk.close(section);
    let rule = Rule { over_ms, over_bytes, overdue_ms, grace_ms };
    WebhookConfig { public_url, listen: listen.unwrap_or(default.listen), rule }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Only https, or this machine: callbacks carry transcripts.
///
/// # Errors
/// The fault of the text.
pub fn public_url(text: &str) -> Result<Url, String> {
    let url =
        Url::parse(text).map_err(|e| format!("is not an address like https://hooks.example.com/wavebatch ({e})"))?;
    let here = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    };
    match url.scheme() {
        "https" => {}
        "http" if here => {}
        "http" => {
            return Err("must begin with https://: transcripts come this way (http:// only for this machine)".into());
        }
        _ => return Err("must begin with https://".into()),
    }
    if url.query().is_some() || url.fragment().is_some() || !url.username().is_empty() || url.password().is_some() {
        return Err("has no user, password, `?` or `#`: the path of each call is added to it".into());
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callbacks_come_by_https_or_on_this_machine() {
        for good in ["https://hooks.example.com/w", "http://localhost:8080", "http://127.0.0.1/x", "http://[::1]:9/"] {
            assert!(public_url(good).is_ok(), "{good}");
        }
        for (bad, word) in [
            ("http://hooks.example.com", "https://"),
            ("ftp://h", "https://"),
            ("hooks", "is not an address"),
            ("https://u:p@h/", "no user"),
            ("https://h/?a=b", "no user"),
        ] {
            assert!(public_url(bad).unwrap_err().contains(word), "{bad}");
        }
    }
}
