//! Query parameters of recordings' addresses: which ones only sign or expire an address, and which may be shown.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use url::Url;

/// A definition's rules for queries, in `[source]`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct QueryRules {
    /// Parameters that are not a part of a recording's identity, in addition to those of known signers.
    #[serde(skip_serializing_if = "Ignored::is_default")]
    pub ignore: Ignored,
    /// Parameters that reports and lists show; all others are omitted there.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub report: Vec<String>,
}

/// Parameters that are not a part of a recording's identity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ignored {
    /// The whole query.
    All,
    /// Only these.
    Names(Vec<String>),
}

impl Default for Ignored {
    fn default() -> Self {
        Self::Names(Vec::new())
    }
}

impl Ignored {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// The parameters that a signer adds to an address. All names are in lower case; a final `*` matches any ending.
struct Signer {
    /// The address is signed only if all of these are present.
    needs: &'static [&'static str],
    /// Further parameters that the signer may add.
    adds: &'static [&'static str],
}

const fn signer(needs: &'static [&'static str], adds: &'static [&'static str]) -> Signer {
    Signer { needs, adds }
}

/// The known signers. A single name is enough only if nobody would use it for anything else.
const SIGNERS: &[Signer] = &[
    // AWS, and stores with the same protocol.
    signer(&["x-amz-signature"], &["x-amz-*"]),
    signer(&["awsaccesskeyid", "expires", "signature"], &["x-amz-security-token"]),
    // CloudFront: a canned policy has `Expires`, a custom one `Policy`.
    signer(&["signature", "key-pair-id"], &["expires", "policy", "hash-algorithm"]),
    // Google Cloud Storage and Cloud CDN.
    signer(&["x-goog-signature"], &["x-goog-*"]),
    signer(&["googleaccessid", "expires", "signature"], &[]),
    signer(&["keyname", "expires", "signature"], &["urlprefix"]),
    // Alibaba OSS and CDN. `x-oss-process` selects other content, and stays.
    signer(&["x-oss-signature"], &["x-oss-*"]),
    signer(&["ossaccesskeyid", "expires", "signature"], &["security-token"]),
    signer(&["auth_key"], &[]),
    // Tencent COS and CDN.
    signer(&["q-signature"], &["q-*", "x-cos-security-token"]),
    signer(&["sign", "t"], &[]),
    // Azure shared access signatures.
    signer(
        &["sv", "sig"],
        &[
            "se", "sp", "sr", "st", "ss", "srt", "spr", "sip", "si", "sdd", "ses", "skoid", "sktid", "skt", "ske",
            "sks", "skv", "saoid", "suoid", "scid",
        ],
    ),
    // Akamai, Backblaze B2, Cloudflare, Wowza.
    signer(&["hdnts"], &[]),
    signer(&["hdnea"], &[]),
    signer(&["hdntl"], &[]),
    signer(&["authorization"], &[]),
    signer(&["verify"], &[]),
    signer(&["wowzatokenhash"], &["wowzatokenstarttime", "wowzatokenendtime"]),
    // nginx's secure_link, and the names that its users choose.
    signer(&["md5", "expires"], &[]),
    signer(&["st", "e"], &[]),
    signer(&["hash", "expires"], &[]),
    signer(&["hmac", "expires"], &[]),
    signer(&["hmac", "exp"], &[]),
    // Other signers, by the most common names.
    signer(&["signature", "expires"], &[]),
    signer(&["signature", "exp"], &[]),
    signer(&["signature", "timestamp"], &[]),
    signer(&["sig"], &["exp", "expires", "expiry"]),
    signer(&["jwt"], &["exp", "expires", "expiry"]),
    signer(&["auth"], &["exp", "expires", "expiry"]),
    signer(&["access_token"], &["exp", "expires", "expires_in"]),
    signer(&["token", "exp"], &[]),
    signer(&["token", "expires"], &["token_path", "token_countries"]),
    signer(&["token", "expire"], &[]),
    signer(&["token", "expiry"], &[]),
];

/// Parameters that select other content, whoever signed the address.
const CONTENT: &[&str] = &["x-oss-process"];

/// Whether the value has the form of a signed token. Such a token needs no second parameter: it contains its own expiry.
fn is_signed_token(name: &str, value: &str) -> bool {
    let mut parts = value.split('.');
    let is_part = |part: Option<&str>| {
        part.is_some_and(|part| {
            part.len() >= 8 && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        })
    };
    let has_form = value.starts_with("eyJ") && (0..3).all(|_| is_part(parts.next())) && parts.next().is_none();
    has_form && ["token", "jwt", "auth", "access_token"].contains(&name)
}

fn fits(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => name.starts_with(prefix),
        None => pattern == name,
    }
}

/// The decoded parameters of a query, each with its name in lower case.
fn pairs(url: &Url) -> Vec<(String, String, String)> {
    url.query_pairs().map(|(k, v)| (k.to_ascii_lowercase(), k.into_owned(), v.into_owned())).collect()
}

impl QueryRules {
    /// A URL without user info, fragment, the parameters of its signers, and the ignored parameters.
    #[must_use]
    pub fn identifying(&self, mut url: Url) -> Url {
        strip(&mut url);
        if url.query().is_none() {
            return url;
        }
        let all = pairs(&url);
        let has = |needed: &str| all.iter().any(|(name, ..)| name == needed);
        let signed: Vec<&Signer> =
            SIGNERS.iter().filter(|signer| signer.needs.iter().all(|needed| has(needed))).collect();
        let is_signature = |name: &str| {
            !CONTENT.contains(&name)
                && signed.iter().any(|by| by.needs.contains(&name) || by.adds.iter().any(|added| fits(added, name)))
        };
        let ignored = |name: &str| match &self.ignore {
            Ignored::All => true,
            Ignored::Names(names) => names.iter().any(|ignored| ignored.eq_ignore_ascii_case(name)),
        };
        let kept = all
            .iter()
            .filter(|(lower, _, value)| !is_signature(lower) && !ignored(lower) && !is_signed_token(lower, value))
            .map(|(_, name, value)| (name.as_str(), value.as_str()));
        with_query(url, kept)
    }

    /// A source as reports and lists show it: an http(s) URL without user info and fragment, and only with the parameters of
    /// `report`.
    #[must_use]
    pub fn shown(&self, source: &str) -> String {
        let Some(mut url) = is_web(source).then(|| Url::parse(source).ok()).flatten() else { return source.to_owned() };
        strip(&mut url);
        let all = pairs(&url);
        let wanted = |name: &str| self.report.iter().any(|wanted| wanted.eq_ignore_ascii_case(name));
        let kept =
            all.iter().filter(|(lower, ..)| wanted(lower)).map(|(_, name, value)| (name.as_str(), value.as_str()));
        with_query(url, kept).into()
    }

    /// The identifying parameters in which two addresses of one place differ; `None` if the two are not
    /// addresses of one place.
    #[must_use]
    pub fn differing(&self, before: &str, now: &str) -> Option<BTreeSet<String>> {
        let identifying =
            |text: &str| is_web(text).then(|| Url::parse(text).ok()).flatten().map(|url| self.identifying(url));
        let (mut before, mut now) = (identifying(before)?, identifying(now)?);
        let (all_before, all_now) = (pairs(&before), pairs(&now));
        before.set_query(None);
        now.set_query(None);
        if before != now {
            return None;
        }
        let values = |all: &[(String, String, String)], name: &str| -> Vec<String> {
            all.iter().filter(|(_, own, _)| own == name).map(|(.., value)| value.clone()).collect()
        };
        let names: BTreeSet<&String> = all_before.iter().chain(&all_now).map(|(_, name, _)| name).collect();
        Some(names.into_iter().filter(|name| values(&all_before, name) != values(&all_now, name)).cloned().collect())
    }
}

/// Whether a text is an http or https address.
#[must_use]
pub fn is_web(text: &str) -> bool {
    let begins = |scheme: &str| text.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme));
    begins("http://") || begins("https://")
}

fn strip(url: &mut Url) {
    // Both calls fail only if there is no host, and then there is no user info either.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_fragment(None);
}

fn with_query<'p>(mut url: Url, kept: impl Iterator<Item = (&'p str, &'p str)>) -> Url {
    let mut kept = kept.peekable();
    if kept.peek().is_none() {
        url.set_query(None);
    } else {
        url.query_pairs_mut().clear().extend_pairs(kept);
    }
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn identifying(rules: &QueryRules, query: &str) -> String {
        let url = format!("https://h/1.wav?{query}").parse().unwrap();
        rules.identifying(url).query().unwrap_or_default().to_owned()
    }

    #[test]
    fn signatures_are_left_out_where_their_set_is_whole() {
        const JWT: &str = "eyJhbGciOiJIUzI1NiJ9.eyJleHAiOjE3MDB9.c2lnbmF0dXJlLWFi";
        let rules = QueryRules::default();
        for (query, kept) in [
            ("X-Amz-Algorithm=a&X-Amz-Date=1&X-Amz-Expires=9&X-Amz-Signature=ff&id=7", "id=7"),
            ("AWSAccessKeyId=a&Expires=1&Signature=x&x-amz-security-token=t&id=7", "id=7"),
            ("X-Goog-Date=1&x-goog-signature=ff&generation=3", "generation=3"),
            ("GoogleAccessId=a&Expires=1&Signature=x", ""),
            ("URLPrefix=p&Expires=1&KeyName=k&Signature=x", ""),
            ("x-oss-date=1&x-oss-signature=ff&x-oss-process=audio/cut&id=7", "x-oss-process=audio%2Fcut&id=7"),
            ("OSSAccessKeyId=a&Expires=1&Signature=x&security-token=t", ""),
            ("q-sign-algorithm=sha1&q-ak=a&q-key-time=1&q-header-list=&q-signature=ff&id=7", "id=7"),
            ("q-id=7&q-ak=a", "q-id=7&q-ak=a"),
            ("md5=ab&expires=1&id=7", "id=7"),
            ("md5=ab&id=7", "md5=ab&id=7"),
            ("expires=1", "expires=1"),
            ("token=a&exp=1", ""),
            ("token=a", "token=a"),
            ("exp=1", "exp=1"),
            ("token=a&expires=1&token_path=/x", ""),
            ("hdnts=exp=1~acl=*~hmac=f&id=7", "id=7"),
            ("hdnea=exp=1~hmac=f", ""),
            ("Authorization=3_2026_ab&id=7", "id=7"),
            ("sv=2024&se=1&sr=b&sp=r&sig=x&st=0&id=7", "id=7"),
            ("se=1&sp=r&st=0", "se=1&sp=r&st=0"),
            ("sv=2024&id=7", "sv=2024&id=7"),
            ("jwt=a.b.c&exp=1&id=7", "id=7"),
            ("auth=ab&id=7", "id=7"),
            ("sig=ab&exp=1&id=7", "id=7"),
            ("Signature=x&Expires=1", ""),
            ("Signature=x&Key-Pair-Id=k&Policy=p", ""),
            ("signature=x", "signature=x"),
            ("Key-Pair-Id=k&Policy=p", "Key-Pair-Id=k&Policy=p"),
            ("st=ab&e=1", ""),
            ("st=ab", "st=ab"),
            (&format!("token={JWT}&id=7"), "id=7"),
            (&format!("name={JWT}"), &format!("name={JWT}")),
            ("TOKEN=a&EXP=1&ID=7", "ID=7"),
        ] {
            assert_eq!(identifying(&rules, query), kept, "{query}");
        }
    }

    #[test]
    fn a_definition_says_the_rest() {
        let some = QueryRules { ignore: Ignored::Names(names(&["Ticket"])), ..QueryRules::default() };
        assert_eq!(identifying(&some, "ticket=1&id=7&TICKET=2"), "id=7");
        let all = QueryRules { ignore: Ignored::All, ..QueryRules::default() };
        assert_eq!(identifying(&all, "ticket=1&id=7"), "");
    }

    #[test]
    fn nothing_of_a_query_is_shown_unless_it_is_asked_for() {
        let rules = QueryRules::default();
        let url = "https://me:pw@h/a%20b.wav?id=7&token=secret#t=1";
        assert_eq!(rules.shown(url), "https://h/a%20b.wav");
        let rules = QueryRules { report: names(&["ID", "leg"]), ..rules };
        assert_eq!(rules.shown(url), "https://h/a%20b.wav?id=7");
        for plain in ["/mnt/a?id=7.wav", "s3://b/a?id=7.wav", "a b", ""] {
            assert_eq!(rules.shown(plain), plain);
        }
    }

    #[test]
    fn addresses_of_one_place_differ_in_named_parameters() {
        let rules = QueryRules::default();
        let differing = |a: &str, b: &str| rules.differing(a, b).map(|names| names.into_iter().collect::<Vec<_>>());
        assert_eq!(differing("https://h/1?id=1&s=a", "https://h/1?s=b&id=1"), Some(names(&["s"])));
        assert_eq!(differing("https://h/1?id=1&s=a", "https://h/1?id=2"), Some(names(&["id", "s"])));
        assert_eq!(differing("https://h/1?Signature=1&Expires=1", "https://h/1?Signature=2&Expires=2"), Some(vec![]));
        assert_eq!(differing("https://h/1?s=a", "https://h/2?s=b"), None);
        assert_eq!(differing("/1?s=a", "/1?s=b"), None);
    }

    #[test]
    fn rules_stand_in_the_ledger() {
        for rules in [
            QueryRules::default(),
            QueryRules { ignore: Ignored::All, report: names(&["id"]) },
            QueryRules { ignore: Ignored::Names(names(&["a"])), report: vec![] },
        ] {
            let json = serde_json::to_string(&rules).unwrap();
            assert_eq!(serde_json::from_str::<QueryRules>(&json).unwrap(), rules, "{json}");
        }
        assert_eq!(serde_json::to_string(&QueryRules::default()).unwrap(), "{}");
    }
}
