//! The origin of a batch's lines.

use std::path::{Path, PathBuf};

use url::Url;

use super::{
    manifest_format::ManifestFormat,
    normal_forms::{NormalForms, Spelling},
    path_map::{is_windows, windows_message},
    paths::{
        self, absolute_dir, clean, file_name, io_message, is_audio, is_glob, is_s3, is_web, scheme, shown_url, stem,
    },
    prose::ProseKind,
};
use crate::domain::{
    batch::{BATCH, BatchName, BatchNameFault},
    identity::address,
    query::QueryRules,
    s3::S3Address,
};

/// The origin of a batch's lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A manifest file, as an absolute path.
    File(PathBuf),
    /// The audio below an absolute directory; for a glob, only what matches its pattern.
    Listing {
        /// The directory.
        root: PathBuf,
        /// The pattern over paths below the directory.
        pattern: Option<String>,
    },
    /// These recordings: absolute paths, http(s) URLs and s3 addresses.
    Files(Vec<String>),
    /// A manifest on a web server. The caller fetches it and opens the copy.
    Url(Url),
    /// The audio below a prefix of an S3 store (empty, or ending in `/`). The caller lists it with a
    /// [`ListingWriter`](super::manifest::ListingWriter) and opens the listing.
    S3Prefix(S3Address),
    /// A manifest in an S3 store. The caller fetches it and opens the copy.
    S3Object(S3Address),
    /// A manifest on standard input. The caller copies it and opens the copy.
    Stdin,
    /// The finished lines of another batch. The caller writes them with a [`FedWriter`](super::manifest::FedWriter) and opens
    /// that file.
    Batch(BatchName),
}

impl Origin {
    /// Whether the caller must copy the manifest to a file before it can be opened.
    #[must_use]
    pub const fn needs_copy(&self) -> bool {
        matches!(self, Self::Url(_) | Self::Stdin | Self::S3Prefix(_) | Self::S3Object(_) | Self::Batch(_))
    }

    /// Whether it is a listing, so that include and exclude apply.
    pub(super) const fn is_listing(&self) -> bool {
        matches!(self, Self::Listing { .. } | Self::S3Prefix(_))
    }

    /// Whether its lines are files or objects, found or named.
    pub(super) const fn is_of_files(&self) -> bool {
        matches!(self, Self::Listing { .. } | Self::S3Prefix(_) | Self::Files(_))
    }

    /// The origin in a definition's `manifest`. Relative paths begin at `base`.
    pub(super) fn of_manifest(text: &str, base: &Path, format: Option<ManifestFormat>) -> Result<Self, String> {
        if format == Some(ManifestFormat::Text) {
            return Err("the format `text` is for a text file that is to be spoken; say which format the manifest has"
                .to_owned());
        }
        if text == "-" {
            return Ok(Self::Stdin);
        }
        if let Some(name) = text.strip_prefix(BATCH) {
            return name.parse().map(Self::Batch).map_err(|e: BatchNameFault| e.to_string());
        }
        if is_s3(text) {
            return s3(text, format);
        }
        if let Some(scheme) = scheme(text) {
            return if is_web(text) { web(text, format) } else { Err(unknown_scheme(scheme)) };
        }
        let path = as_spelled(base.join(text));
        match path.metadata() {
            Ok(meta) if meta.is_dir() => Ok(Self::Listing { root: real(&path)?, pattern: None }),
            Ok(_) if format.is_none() && ManifestFormat::of_name(text).is_none() => Err(no_format(text)),
            Ok(_) => Ok(Self::File(clean_file(&path)?)),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound && is_glob(text) => glob(text, base),
            Err(_) if is_windows(text) => Err(windows_message(text)),
            Err(e) => Err(io_message(&e)),
        }
    }

    /// The same for a synthesis: a Markdown file is one text, not a list of texts.
    pub(super) fn of_texts(text: &str, base: &Path, format: Option<ManifestFormat>) -> Result<Self, String> {
        if format == Some(ManifestFormat::Text) {
            return whole_text(text, base).map(|file| Self::Files(vec![file]));
        }
        if format.is_none() && is_markdown(text) && base.join(text).is_file() {
            return prose(text, base).map(|file| Self::Files(vec![file]));
        }
        match Self::of_manifest(text, base, format)? {
            Self::S3Prefix(_) => Err("a prefix's texts cannot be read from the store; copy them to a directory, or name a manifest with a column `text`".to_owned()),
            origin => Ok(origin),
        }
    }

    /// The origin of a command line's sources; `texts`: they are texts for synthesis.
    pub(super) fn of_sources(
        sources: &[String],
        base: &Path,
        format: Option<ManifestFormat>,
        texts: bool,
    ) -> Result<Self, String> {
        match sources {
            [] => Err("no source is given".into()),
            [one] if texts => Self::of_texts(one, base, format),
            many if texts => many.iter().map(|source| prose(source, base)).collect::<Result<_, _>>().map(Self::Files),
            [one] if format.is_some() || is_manifest_like(one, base) => Self::of_manifest(one, base, format),
            many => many.iter().map(|source| recording(source, base)).collect::<Result<_, _>>().map(Self::Files),
        }
    }

    /// The batch name that these sources give.
    pub(super) fn batch_name(sources: &[String], base: &Path) -> String {
        let parent = |source: &str| base.join(source).parent().map(Path::to_path_buf);
        let name = match sources {
            [one] if is_s3(one) && (is_audio(file_name(one)) || ManifestFormat::of_name(one).is_some()) => {
                file_name(one).to_owned()
            }
            [one] if is_s3(one) => return last_folder(one).to_owned(),
            [first, rest @ ..] if sources.iter().all(|source| is_s3(source)) => {
                let folder = |source: &str| source[..source.len() - file_name(source).len()].to_owned();
                let same = rest.iter().all(|source| folder(source) == folder(first));
                return if same { last_folder(&folder(first)).to_owned() } else { "files".to_owned() };
            }
            [one] if one.starts_with(BATCH) => return one[BATCH.len()..].to_owned(),
            [one] if is_web(one) => paths::percent_decoded(file_name(one)),
            [one] if is_glob(one) && !base.join(one).exists() => last_name(&base.join(glob_root(one))),
            [one] if base.join(one).is_dir() => return last_name(&base.join(one)),
            [one] => file_name(one).to_owned(),
            many => {
                let first = many.first().and_then(|source| parent(source));
                let same = many.iter().all(|source| scheme(source).is_none() && parent(source) == first);
                return first.filter(|_| same).map_or_else(|| "files".to_owned(), |dir| last_name(&dir));
            }
        };
        let name = name.strip_suffix(".gz").unwrap_or(&name);
        Some(stem(name)).filter(|stem| !stem.is_empty()).unwrap_or("files").to_owned()
    }

    /// A stable address: a real path, or a URL without signatures. For several recordings, the folder that they
    /// share.
    pub(super) fn address(&self) -> String {
        match self {
            Self::File(path) => path.to_string_lossy().into_owned(),
            Self::Listing { root, pattern } => {
                let root = root.to_string_lossy();
                pattern
                    .as_ref()
                    .map_or_else(|| root.to_string(), |pattern| format!("{}/{pattern}", root.trim_end_matches('/')))
            }
            Self::Url(url) => address(url.as_str(), &QueryRules::default()),
            Self::S3Prefix(at) | Self::S3Object(at) => at.to_string(),
            Self::Stdin => "-".to_owned(),
            Self::Batch(name) => format!("{BATCH}{name}"),
            Self::Files(files) => match files.as_slice() {
                [one] => address(one, &QueryRules::default()),
                many => shared_folder(many),
            },
        }
    }

    /// The origin for messages, from the text that the user typed.
    pub(super) fn shown(&self, typed: &str, typed_in: &Path) -> String {
        match self {
            Self::Url(url) => shown_url(url),
            Self::Stdin => "stdin".to_owned(),
            Self::Batch(_) => self.address(),
            Self::S3Prefix(address) | Self::S3Object(address) => address.to_string(),
            Self::Files(files) if files.len() > 1 => format!("{} files", files.len()),
            Self::Files(files) if files.iter().any(|file| is_web(file)) => {
                files.iter().filter_map(|file| Url::parse(file).ok()).map(|url| shown_url(&url)).collect()
            }
            _ => typed_in.join(typed).to_string_lossy().into_owned(),
        }
    }
}

/// A manifest's address as a definition writes it, without signatures.
pub(super) fn written(typed: &str) -> String {
    if !is_web(typed) {
        return typed.to_owned();
    }
    // Undo the URL encoding of braces around template names.
    address(typed, &QueryRules::default()).replace("%7B", "{").replace("%7D", "}")
}

/// The common beginning of these paths, up to a `/`.
fn shared_folder(files: &[String]) -> String {
    let mut shared = files.first().map_or("", String::as_str);
    for file in files {
        let same = shared.char_indices().zip(file.chars()).take_while(|((_, a), b)| a == b);
        shared = &shared[..same.last().map_or(0, |((at, c), _)| at + c.len_utf8())];
    }
    shared[..shared.rfind('/').map_or(0, |slash| slash + 1)].to_owned()
}

/// The message for a URL of a scheme that cannot be a source.
pub(crate) fn unknown_scheme(scheme: &str) -> String {
    format!("`{scheme}:` addresses cannot be read; http(s) URLs, s3:// addresses and files can")
}

/// A prefix, or a manifest in a store. A name without a manifest's extension is a prefix and gets a final `/`, so
/// that `2026/11/2` never lists `2026/11/20` as well.
fn s3(text: &str, format: Option<ManifestFormat>) -> Result<Origin, String> {
    let address = s3_address(text)?;
    let name = file_name(&address.key);
    if name.is_empty() {
        return Ok(Origin::S3Prefix(address));
    }
    if format.is_some() || ManifestFormat::of_name(name).is_some() {
        return Ok(Origin::S3Object(address));
    }
    if let Some(message) = workbook(name) {
        return Err(message);
    }
    if is_audio(name) {
        return Err(format!("`{name}` is a recording; name the prefix that it is below, or a manifest of recordings"));
    }
    Ok(Origin::S3Prefix(address.join("")))
}

fn s3_address(text: &str) -> Result<S3Address, String> {
    if is_glob(text) {
        return Err("a store knows no globs; name a prefix that ends in `/`, and what to take below it with include (--include '*.wav')".to_owned());
    }
    text.parse::<S3Address>().map_err(|e| format!("`{}` {e}", super::text::excerpt(text)))
}

/// The last folder of a prefix, or the bucket.
fn last_folder(prefix: &str) -> &str {
    prefix.trim_end_matches('/').rsplit('/').next().unwrap_or_default()
}

/// The message for a workbook, wherever a manifest, a recording or a text is named. `None`: it is none, by its name.
fn workbook(text: &str) -> Option<String> {
    let name = file_name(text);
    let is_workbook =
        matches!(paths::ending(name).as_deref(), Some("xlsx" | "xlsm" | "xlsb" | "xls" | "ods" | "numbers"));
    is_workbook
        .then(|| format!("`{name}` is a workbook; save the sheet as CSV (in Excel: \"CSV UTF-8\"), and name that file"))
}

fn no_format(text: &str) -> String {
    if let Some(message) = workbook(text) {
        return message;
    }
    format!(
        "`{}` has none of the endings of a manifest (.csv, .tsv, .jsonl, .ndjson, .txt, .list, each also with .gz); say which it is with --manifest-format, one of {}",
        file_name(text),
        super::text::ticked(ManifestFormat::NAMES)
    )
}

fn web(text: &str, format: Option<ManifestFormat>) -> Result<Origin, String> {
    let url = Url::parse(text).map_err(|e| format!("is not a valid URL: {e}"))?;
    if format.is_none() && ManifestFormat::of_name(file_name(text)).is_none() {
        return Err(no_format(text));
    }
    Ok(Origin::Url(url))
}

/// The path, or that of the same name in another Unicode normal form, if only that one exists.
fn as_spelled(path: PathBuf) -> PathBuf {
    match NormalForms::default().find(&path) {
        Spelling::Other(other) => other,
        Spelling::AsWritten | Spelling::Several(_) => path,
    }
}

fn real(path: &Path) -> Result<PathBuf, String> {
    absolute_dir(path).map_err(|e| io_message(&e))
}

/// A file's absolute path. Its directory has no symbolic links; its own name stays as it is.
fn clean_file(path: &Path) -> Result<PathBuf, String> {
    let name = path.file_name().ok_or("is not a file")?;
    Ok(real(path.parent().unwrap_or(Path::new(".")))?.join(name))
}

/// The part of a glob before its first glob character, up to a `/`.
fn glob_root(text: &str) -> &str {
    let special = text.find(['*', '?', '[', '{']).unwrap_or(text.len());
    text[..special].rfind('/').map_or("", |slash| &text[..=slash])
}

fn glob(text: &str, base: &Path) -> Result<Origin, String> {
    let root = glob_root(text);
    let dir = base.join(root);
    if !dir.is_dir() {
        return Err(format!("there is no directory `{root}`"));
    }
    super::manifest::pattern(&text[root.len()..])?;
    Ok(Origin::Listing { root: real(&dir)?, pattern: Some(text[root.len()..].to_owned()) })
}

fn is_manifest_like(source: &str, base: &Path) -> bool {
    let path = base.join(source);
    let audio_file = is_audio(file_name(source)) && (is_web(source) || is_s3(source) || path.is_file());
    source == "-"
        || source.starts_with(BATCH)
        || !audio_file
            && (ManifestFormat::of_name(file_name(source)).is_some()
                || path.is_dir()
                || (scheme(source).is_some() && !is_audio(file_name(source)))
                || !path.exists() && is_glob(source)
                || path.is_file())
}

fn recording(source: &str, base: &Path) -> Result<String, String> {
    if let Some(message) = workbook(source).filter(|_| !base.join(source).is_dir()) {
        return Err(message);
    }
    if is_s3(source) {
        let address = s3_address(source)?;
        if address.is_prefix() || ManifestFormat::of_name(source).is_some() {
            return Err(not_alone(source, if address.is_prefix() { "a prefix" } else { "no recording" }));
        }
        return Ok(address.to_string());
    }
    if let Some(scheme) = scheme(source) {
        return if is_web(source) { Ok(source.to_owned()) } else { Err(unknown_scheme(scheme)) };
    }
    let path = base.join(source);
    let meta = path.metadata().map_err(|e| format!("`{source}`: {}", io_message(&e)))?;
    if meta.is_dir() || ManifestFormat::of_name(source).is_some() {
        return Err(not_alone(source, if meta.is_dir() { "a directory" } else { "no recording" }));
    }
    let path = clean_file(&path).map_err(|e| format!("`{source}`: {e}"))?;
    path.into_os_string().into_string().map_err(|_| format!("`{source}`: the path is not UTF-8"))
}

fn is_markdown(text: &str) -> bool {
    ProseKind::of_path(text) == Some(ProseKind::Markdown)
}

/// The absolute path of a file that is one text, whatever its ending.
fn whole_text(source: &str, base: &Path) -> Result<String, String> {
    let path = base.join(source);
    if source == "-" || scheme(source).is_some() || is_s3(source) {
        return Err("the format `text` is for a file on this machine: texts are read from files".to_owned());
    }
    let meta = path.metadata().map_err(|e| io_message(&e))?;
    if meta.is_dir() {
        return Err(
            "is a directory; the format `text` is for one file, and a directory's texts need no format".to_owned()
        );
    }
    let path = clean_file(&path)?;
    path.into_os_string().into_string().map_err(|_| "the path is not UTF-8".to_owned())
}

/// The absolute path of a text file.
fn prose(source: &str, base: &Path) -> Result<String, String> {
    let path = base.join(source);
    let message = |what: String| format!("`{source}`: {what}");
    if scheme(source).is_some() || is_s3(source) {
        return Err(message("texts are read from files".to_owned()));
    }
    let meta = path.metadata().map_err(|e| message(io_message(&e)))?;
    if let Some(message) = workbook(source).filter(|_| !meta.is_dir()) {
        return Err(message);
    }
    if meta.is_dir() || ProseKind::of_path(source).is_none() {
        let what = if meta.is_dir() { "a directory" } else { "no text (.txt, .md)" };
        return Err(format!(
            "`{source}` is {what}; give one manifest, one directory, or several texts (e.g. book/*.md)"
        ));
    }
    let path = clean_file(&path).map_err(message)?;
    path.into_os_string().into_string().map_err(|_| message("the path is not UTF-8".to_owned()))
}

fn not_alone(source: &str, what: &str) -> String {
    format!("`{source}` is {what}; give one manifest, one directory or prefix, or several recordings (e.g. rec/*.wav)")
}

/// The last name of a directory's path, after `.` and `..` are resolved.
fn last_name(dir: &Path) -> String {
    let dir = absolute_dir(dir).unwrap_or_else(|_| clean(dir));
    dir.file_name().map_or_else(|| "files".to_owned(), |name| name.to_string_lossy().into_owned())
}
