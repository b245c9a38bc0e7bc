//! `[source]` and `[sink]`: the S3 store, its credentials, and the storage settings of objects.

use std::{collections::BTreeMap, fmt, ops::RangeInclusive, str::FromStr, time::Duration};

use toml::{Spanned, de::DeValue};
use url::Url;

use super::{
    fields::fields,
    path_map::{PathMap, check_prefix},
    text::{duration, ticked},
    walk::{Section, TomlWalk, Wrong},
};
use crate::domain::printable::visible;
use crate::domain::{
    options::{NotListed, listed},
    query::{Ignored, QueryRules},
    s3::{S3Settings, SinkSettings},
};

listed! {
    /// How a store encrypts objects.
    Encryption, "server-side encryption" {
        /// With keys of S3.
        Aes256 = "AES256",
        /// With a KMS key.
        Kms = "aws:kms",
        /// With a KMS key, in two layers.
        KmsTwice = "aws:kms:dsse",
    }
}

listed! {
    /// The storage class of an object, which decides its price.
    StorageClass, "storage class" {
        /// The default.
        Standard = "STANDARD",
        /// Chosen by access pattern.
        IntelligentTiering = "INTELLIGENT_TIERING",
        /// Infrequent access.
        StandardIa = "STANDARD_IA",
        /// Infrequent access, in one zone.
        OnezoneIa = "ONEZONE_IA",
        /// An archive with instant retrieval.
        GlacierIr = "GLACIER_IR",
        /// An archive.
        Glacier = "GLACIER",
        /// A deep archive.
        DeepArchive = "DEEP_ARCHIVE",
        /// For directory buckets.
        ExpressOnezone = "EXPRESS_ONEZONE",
        /// For AWS Outposts.
        Outposts = "OUTPOSTS",
        /// For Snow devices.
        Snow = "SNOW",
        /// The old class with lower durability.
        ReducedRedundancy = "REDUCED_REDUNDANCY",
    }
}

/// S3's limit for metadata, names and values together.
const METADATA_BYTES: usize = 2_048;
const PRINTABLE: RangeInclusive<char> = ' '..='~';

fields! {
    /// The last four fields say which S3 store it is. Without them, AWS's own environment and files do.
    pub(super) STORE = "" {
        /// The region of the store.
        "region": "a string" (or "AWS's own settings") => Nothing;
        /// The address of another store than AWS. It may have a path.
        "endpoint_url": "a string" (or "AWS") => Nothing;
        /// The profile in AWS's files that has the credentials.
        "profile": "a string" (or "AWS's own settings") => Nothing;
        /// Name the bucket in the path of the address, not in its host.
        "path_style": "true or false" (or "true where there is an `endpoint_url`") => Nothing;
    }
}

fields! {
    /// Where recordings and manifests come from, and what identifies a recording.
    pub(super) SOURCE = "source" {
        /// Let servers on the internet redirect into private networks.
        "private_redirects": "true or false" (= "false") => Nothing;
        /// Parameters of URLs that are no part of a recording's identity, or `"all"`: then none is.
        "ignore_query": "\"all\" or a list of strings" (= "[]") => Lines;
        /// Parameters of URLs that the report's column `source` shows.
        "report_query": "a list of strings" (= "[]") => Nothing;
        /// What the beginnings of paths of other machines stand for here, e.g. `{ 'C:\rec' = "/mnt/rec" }`. The longest beginning counts.
        "path_map": "a table of texts" (= "{}") => Lines;
        /// In directories, globs and prefixes: leave out files that changed less than this long ago.
        "settle": "a duration" (= "\"0s\"") => Lines;
    }
}

fields! {
    /// Where outputs go if `output` is an `s3://` address, and how objects are stored.
    pub(super) SINK = "sink" {
        /// How the store encrypts objects.
        "sse": [Encryption] (or "the bucket's own setting") => Nothing;
        /// The KMS key, for an `sse` with KMS.
        "kms_key_id": "a string" (or "the bucket's own key") => Nothing;
        /// The storage class of objects.
        "storage_class": [StorageClass] (or "the bucket's own setting") => Nothing;
        /// Metadata of each object: names and values of ASCII, together at most 2,048 bytes.
        "metadata": "a table of texts" (= "{}") => Nothing;
    }
}

/// The content of `[source]`.
#[derive(Debug, Default, PartialEq)]
pub(super) struct SourceDraft {
    pub(super) store: S3Settings,
    /// Whether servers on the internet may redirect into private networks.
    pub(super) private_redirects: bool,
    pub(super) queries: QueryRules,
    /// Where paths as other machines write them are here.
    pub(super) path_map: PathMap,
    /// How long a file of a listing must have been unchanged to be taken.
    pub(super) settle: Option<Duration>,
}

/// Reads `[source]`.
pub(super) fn read_source<'t>(walk: &mut TomlWalk<'t>, mut section: Section<'t>) -> SourceDraft {
    let store = read_store(walk, &mut section);
    let private_redirects = walk.flag(&mut section, "private_redirects").unwrap_or(false);
    let ignore = walk.take(&mut section, "ignore_query", ignored).unwrap_or_default();
    let report = walk.list(&mut section, "report_query", parameter).unwrap_or_default();
    let settle = walk.text(&mut section, "settle", duration);
    let path_map = PathMap::new(walk.texts(&mut section, "path_map", check_prefix).unwrap_or_default());
    walk.close(section);
    SourceDraft { store, private_redirects, queries: QueryRules { ignore, report }, path_map, settle }
}

/// `"all"`, or names of query parameters.
fn ignored(value: &DeValue<'_>) -> Result<Ignored, Wrong> {
    const WANTED: Wrong = Wrong::Type("\"all\" or a list of strings");
    match (value.as_str(), value.as_array()) {
        (Some("all"), _) => Ok(Ignored::All),
        (Some(name), _) => Err(Wrong::Value(format!("write [{name:?}] for a parameter's name, or \"all\""))),
        (None, Some(list)) => {
            let name =
                |item: &Spanned<DeValue<'_>>| parameter(item.get_ref().as_str().ok_or(WANTED)?).map_err(Wrong::Value);
            list.iter().map(name).collect::<Result<_, _>>().map(Ignored::Names)
        }
        (None, None) => Err(WANTED),
    }
}

/// The name of a query parameter.
fn parameter(text: &str) -> Result<String, String> {
    if text.is_empty() || text.contains(['&', '=', '?', '#']) || text.chars().any(char::is_control) {
        return Err(format!("`{}` is no parameter's name", visible(&text)));
    }
    Ok(text.to_owned())
}

/// Reads `[sink]`.
pub(super) fn read_sink<'t>(walk: &mut TomlWalk<'t>, mut section: Section<'t>) -> SinkSettings {
    let store = read_store(walk, &mut section);
    let sse = walk.text(&mut section, "sse", one_of(Encryption::ALL));
    let by_kms = matches!(sse, Some(Encryption::Kms | Encryption::KmsTwice));
    let kms_key_id = walk.text(&mut section, "kms_key_id", |text| match by_kms {
        true => word(text),
        false => Err("needs sse = \"aws:kms\" (or \"aws:kms:dsse\")".to_owned()),
    });
    let storage_class = walk.text(&mut section, "storage_class", one_of(StorageClass::ALL));
    let metadata = walk.texts(&mut section, "metadata", check_metadata).unwrap_or_default();
    walk.close(section);
    SinkSettings {
        store,
        sse: sse.map(|sse| sse.to_string()),
        kms_key_id,
        storage_class: storage_class.map(|class| class.to_string()),
        metadata,
    }
}

/// Reads the fields that identify the store.
pub(crate) fn read_store<'t>(walk: &mut TomlWalk<'t>, section: &mut Section<'t>) -> S3Settings {
    S3Settings {
        region: walk.text(section, "region", word),
        endpoint_url: walk.text(section, "endpoint_url", endpoint),
        profile: walk.text(section, "profile", |text| match text.trim().is_empty() {
            true => Err("may not be empty".to_owned()),
            false => Ok(text.to_owned()),
        }),
        path_style: walk.flag(section, "path_style"),
    }
}

/// A value of a closed list. If a wrong value is not close to any of them, the message has the list.
fn one_of<T>(all: &'static [T]) -> impl Fn(&str) -> Result<T, String>
where
    T: Copy + fmt::Display + FromStr<Err = NotListed>,
{
    move |text| {
        let known = || format!("; known: {}", ticked(&all.iter().map(T::to_string).collect::<Vec<_>>()));
        text.parse()
            .map_err(|e: NotListed| if e.says_what_there_is() { e.to_string() } else { format!("{e}{}", known()) })
    }
}

fn word(text: &str) -> Result<String, String> {
    if text.is_empty() || text.chars().any(|c| c == ' ' || !PRINTABLE.contains(&c)) {
        return Err("must be one word of ASCII".to_owned());
    }
    Ok(text.to_owned())
}

fn endpoint(text: &str) -> Result<String, String> {
    const WANTED: &str = "write e.g. \"https://s3.example.org\" or \"http://127.0.0.1:9000\"";
    let url = Url::parse(text).map_err(|e| format!("is not a valid URL: {e}; {WANTED}"))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err(format!("is not an http(s) address; {WANTED}"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("may not have a user or password: name a profile, or set AWS's variables".to_owned());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(format!("may not have a query; {WANTED}"));
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

/// Metadata travels in headers, whose names are case-insensitive.
fn check_metadata(taken: &BTreeMap<String, String>, name: &str, value: &str) -> Result<String, String> {
    let lower = name.to_ascii_lowercase();
    if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)) {
        return Err(format!("`{}` cannot name metadata: use ASCII letters, digits, `-`, `_` and `.`", visible(&name)));
    }
    if !value.chars().all(|c| PRINTABLE.contains(&c)) || value.trim() != value {
        return Err(format!("the value of `{name}` must be printable ASCII, without space around it"));
    }
    if taken.contains_key(&lower) {
        return Err(format!("`{name}` stands twice: upper and lower case are the same here"));
    }
    let bytes: usize = taken.iter().map(|(name, value)| name.len() + value.len()).sum();
    if bytes + name.len() + value.len() > METADATA_BYTES {
        return Err(format!("is too much: S3 takes {METADATA_BYTES} bytes, names and values together"));
    }
    Ok(lower)
}

#[cfg(test)]
mod tests {
    use toml::de::DeTable;

    use super::*;

    fn read(text: &str) -> (SinkSettings, Vec<String>) {
        let table = DeTable::parse(text).unwrap();
        let mut walk = TomlWalk::new("a.toml", text);
        let mut root = Section::root(table.get_ref());
        let section = walk.section(&mut root, "sink");
        let sink = read_sink(&mut walk, section);
        walk.close(root);
        walk.report_unknown();
        (sink, walk.faults.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn a_whole_sink_is_read() {
        let (sink, faults) = read(
            "[sink]\nregion = \"ap-south-1\"\nendpoint_url = \"http://127.0.0.1:9000/\"\nprofile = \"night shift\"\n\
             path_style = false\nsse = \"aws:kms\"\nkms_key_id = \"arn:aws:kms:ap-south-1:1:key/2\"\n\
             storage_class = \"STANDARD_IA\"\nmetadata = { Team = \"calls\", cost-centre = \"4711, x\" }\n",
        );
        assert_eq!(faults, [""; 0]);
        assert_eq!(sink.store.endpoint_url.as_deref(), Some("http://127.0.0.1:9000"));
        assert_eq!((sink.store.profile.as_deref(), sink.store.path_style), (Some("night shift"), Some(false)));
        assert_eq!((sink.sse.as_deref(), sink.storage_class.as_deref()), (Some("aws:kms"), Some("STANDARD_IA")));
        let metadata: Vec<_> = sink.metadata.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(metadata, [("cost-centre", "4711, x"), ("team", "calls")]);
        assert_eq!(read("").0, SinkSettings::default());
    }

    #[test]
    fn a_source_says_what_redirects_and_queries_mean() {
        let read = |text: &str| {
            let table = DeTable::parse(text).unwrap();
            let mut walk = TomlWalk::new("a.toml", text);
            let mut root = Section::root(table.get_ref());
            let section = walk.section(&mut root, "source");
            let source = read_source(&mut walk, section);
            (source, walk.faults.iter().map(ToString::to_string).collect::<Vec<_>>())
        };
        let open = SourceDraft { private_redirects: true, ..SourceDraft::default() };
        assert_eq!(read("[source]\nprivate_redirects = true\n"), (open, vec![]));
        assert_eq!(read(""), (SourceDraft::default(), vec![]));
        let (said, faults) = read("[source]\nignore_query = [\"ticket\", \"t\"]\nreport_query = [\"id\"]\n");
        assert_eq!((said.queries.report, faults), (vec!["id".to_owned()], vec![]));
        assert_eq!(said.queries.ignore, Ignored::Names(vec!["ticket".into(), "t".into()]));
        assert_eq!(read("[source]\nignore_query = \"all\"\n").0.queries.ignore, Ignored::All);
        assert_eq!(read("[source]\nsettle = \"1m30s\"\n").0.settle, Some(Duration::from_secs(90)));
        for (wrong, message) in [
            ("ignore_query = \"ticket\"", "write [\"ticket\"] for a parameter's name, or \"all\""),
            ("ignore_query = [7]", "must be \"all\" or a list of strings, not a list"),
            ("ignore_query = true", "must be \"all\" or a list of strings, not true or false"),
            ("ignore_query = [\"a=b\"]", "`a=b` is no parameter's name"),
            ("report_query = [\"\"]", "`` is no parameter's name"),
            ("path_map = { 'C:\\rec' = \"rec\" }", "and `rec` is neither"),
            ("path_map = { 'C:\\rec' = 7 }", "must be texts, and `C:\\rec` is a whole number"),
            ("settle = \"soon\"", "write e.g. \"30s\", \"15m\", \"2h\" or \"14d\""),
        ] {
            let (_, faults) = read(&format!("[source]\n{wrong}\n"));
            assert!(faults.len() == 1 && faults[0].ends_with(message), "{wrong}: {faults:?}");
        }
        let (_, faults) = read("[source]\nprivate_redirects = \"yes\"\n");
        assert_eq!(faults, ["a.toml:2:21: `source.private_redirects`: must be true or false, not a string"]);
    }

    #[test]
    fn what_no_store_takes_is_told_at_its_place() {
        let (_, faults) = read(
            "[sink]\nregion = \"ap south\"\nendpoint_url = \"https://x.org/s3?a=1\"\npath_style = \"yes\"\nsse = \"aws:kmss\"\n\
             kms_key_id = \"k\"\nstorage_class = \"COLD\"\nmetadata = { a = \"é\", \"b c\" = \"x\", d = \"1\", D = \"2\", e = 3 }\n\
             regoin = \"x\"\n",
        );
        let starts = [
            "a.toml:2:10: `sink.region`: must be one word of ASCII",
            "a.toml:3:16: `sink.endpoint_url`: may not have a query; write e.g.",
            "a.toml:4:14: `sink.path_style`: must be true or false, not a string",
            "a.toml:5:7: `sink.sse`: `aws:kmss` is not a server-side encryption; did you mean `aws:kms`?",
            "a.toml:6:14: `sink.kms_key_id`: needs sse = \"aws:kms\"",
            "a.toml:7:17: `sink.storage_class`: `COLD` is not a storage class; known: `STANDARD`, `INTELLIGENT_TIERING`",
            "a.toml:8:18: `sink.metadata`: the value of `a` must be printable ASCII",
            "a.toml:8:31: `sink.metadata`: `b c` cannot name metadata",
            "a.toml:8:40: `sink.metadata`: `d` stands twice",
            "a.toml:8:58: `sink.metadata`: must be texts, and `e` is a whole number",
            "a.toml:9:1: `sink.regoin`: there is no such field; did you mean `region`?",
        ];
        assert_eq!(faults.len(), starts.len(), "{faults:#?}");
        for (fault, start) in faults.iter().zip(starts) {
            assert!(fault.starts_with(start), "{fault}\n{start}");
        }
        for (text, read) in [
            ("https://x.org/storage/v1/s3", "https://x.org/storage/v1/s3"),
            ("https://x.org/storage/v1/s3/", "https://x.org/storage/v1/s3"),
            ("http://127.0.0.1:9000", "http://127.0.0.1:9000"),
        ] {
            assert_eq!(endpoint(text).as_deref(), Ok(read));
        }
        for bad in ["ftp://x", "x.org:9000", "https://u:p@x.org", "https://x.org?a=1"] {
            assert!(endpoint(bad).is_err(), "{bad}");
        }
    }
}
