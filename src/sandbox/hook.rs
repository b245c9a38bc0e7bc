//! What a call asks for about its callback, validated.

use axum::http::Method;
use serde_json::{Value, json};

/// Where a callback goes, and what goes with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hook {
    /// As sent.
    pub url: String,
    pub method: Method,
    /// Pairs that are added to the result.
    pub extra: Vec<(String, String)>,
}

impl Hook {
    /// What `query` asks for, if anything; what is wrong with it goes to `errors`.
    pub(super) fn parse(query: &str, errors: &mut Vec<Value>) -> Option<Self> {
        let sent = |wanted: &str| {
            let mut pairs = url::form_urlencoded::parse(query.as_bytes());
            pairs.find(|(name, _)| name == wanted).map(|(_, value)| value).filter(|value| !value.is_empty())
        };
        let mut wrong = |name: &str, message: &str| errors.push(json!({"path": [name], "message": message}));
        let url = sent("webhook_url")?;
        if !url::Url::parse(&url).is_ok_and(|url| matches!(url.scheme(), "http" | "https")) {
            wrong("webhook_url", "must be an http(s) URL");
        }
        let method = match sent("webhook_method").as_deref() {
            None | Some("POST") => Method::POST,
            Some("GET") => Method::GET,
            Some(_) => {
                wrong("webhook_method", "must be 'GET' or 'POST'");
                Method::POST
            }
        };
        let extra = pairs(&sent("webhook_extra").unwrap_or_default()).unwrap_or_else(|| {
            wrong("webhook_extra", "must be key:value pairs with commas between them");
            Vec::new()
        });
        Some(Self { url: url.into_owned(), method, extra })
    }
}

fn pairs(text: &str) -> Option<Vec<(String, String)>> {
    let pair = |pair: &str| pair.split_once(':').map(|(key, value)| (key.to_owned(), value.to_owned()));
    text.split(',').filter(|part| !part.is_empty()).map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_cut_at_their_first_colon() {
        let own = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
        assert_eq!(pairs("case:42,at:10:30,").unwrap(), [("case", "42"), ("at", "10:30")].map(own));
        assert_eq!((pairs(""), pairs("case")), (Some(Vec::new()), None));
    }
}
