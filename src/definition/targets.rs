//! The destinations of a batch's outputs and report.

use std::path::PathBuf;

use super::{
    build::Builder,
    draft::Draft,
    paths::{self, absolute_dir, clean, io_message, is_s3},
    template::Names,
};
use crate::domain::{
    key::Key,
    s3::{S3Address, S3Settings, SinkSettings},
};

/// The longest prefix: with a key and its extension, an object's name stays within the stores' limit.
const MAX_PREFIX_BYTES: usize = S3Address::MAX_KEY_BYTES - Key::MAX_BYTES - 32;

impl Builder<'_> {
    /// The output directory, or a prefix in a store: `s3://bucket/prefix/`.
    pub(super) fn output(&mut self, draft: &Draft, names: &Names<'_>) -> Option<String> {
        let (text, base) = match (&self.over.output, &draft.output) {
            (Some(text), _) => (text.as_str(), self.cwd.clone()),
            (None, Some(text)) => (text.as_str(), self.cwd.join(&self.base)),
            (None, None) => ("out/{batch}/", self.cwd.join(&self.base)),
        };
        let filled = self.fill("output", text, names)?;
        let output = match paths::scheme(&filled) {
            Some(_) if is_s3(&filled) => output_prefix(&filled),
            Some(scheme) => {
                Err(format!("outputs go to a directory or to s3://bucket/prefix, and `{scheme}:` is neither"))
            }
            None => local(&filled, base),
        };
        output.map_err(|message| self.fault("output", message)).ok()
    }

    /// The report's file or object, if it is not beside the outputs.
    pub(super) fn report_to(&mut self, draft: &Draft, names: &Names<'_>) -> Option<String> {
        // The sandbox is a separate environment: its reports must not mix with real ones.
        let (text, base) = match (&self.over.report, &draft.report_to) {
            (Some(text), _) => (text, self.cwd.clone()),
            (None, text) => (text.as_ref().filter(|_| !self.over.sandbox)?, self.cwd.join(&self.base)),
        };
        let filled = self.fill("report.to", text, names)?;
        let name_it = || {
            format!("`{filled}` is a folder; name the file, e.g. \"{}/{{batch}}.csv\"", filled.trim_end_matches('/'))
        };
        let to = match paths::scheme(&filled) {
            Some(_) if is_s3(&filled) => match filled.parse::<S3Address>() {
                Ok(address) if address.is_prefix() => Err(name_it()),
                Ok(address) => no_climbing(&address).map(|()| address.to_string()),
                Err(e) => Err(e.to_string()),
            },
            Some(scheme) => Err(format!("a report is a file or an s3:// object, and `{scheme}:` is neither")),
            None if filled.ends_with('/') || base.join(&filled).is_dir() => Err(name_it()),
            None => local(&filled, base),
        };
        to.map_err(|message| self.fault("report.to", message)).ok()
    }

    /// The storage settings of outputs. `[sink]` does not apply where the command line sends outputs to a directory,
    /// or where only the report goes to a store.
    pub(super) fn sink(&mut self, draft: &Draft, output: Option<&str>, report_to: Option<&str>) -> SinkSettings {
        let has_sink = self.in_file("sink");
        match output {
            Some(output) if has_sink && !is_s3(output) => {
                let is_for_report = report_to.is_some_and(is_s3) || self.over.report.is_some();
                if self.over.output.is_none() && !is_for_report {
                    self.fault("sink", "is for s3:// outputs, and `output` is a directory");
                }
                SinkSettings::default()
            }
            _ => draft.s3_sink.clone(),
        }
    }
}

impl Builder<'_> {
    /// The store of a report that is not beside the outputs: the store of `[report]` if set, else that of `[sink]`,
    /// wherever the outputs go.
    pub(super) fn report_sink(&mut self, draft: &Draft, report_to: Option<&str>) -> Option<SinkSettings> {
        let own = (draft.report_store != S3Settings::default()).then(|| draft.report_store.clone());
        if report_to.is_some_and(is_s3) {
            let own = own.map(|store| SinkSettings { store, ..SinkSettings::default() });
            return Some(own.unwrap_or_else(|| draft.s3_sink.clone()));
        }
        let is_idle = self.over.report.is_some() || self.over.sandbox;
        let is_wrong = draft.report_to.is_some() && report_to.is_none();
        let set = ["region", "endpoint_url", "profile", "path_style"].map(|name| format!("report.{name}"));
        if let Some(field) = set.iter().find(|field| self.in_file(field))
            && !is_idle
            && !is_wrong
        {
            self.fault(field, "is for a report in a store: set `to` to an s3:// address");
        }
        None
    }
}

/// Makes a path of a definition absolute.
pub(crate) fn local(text: &str, base: PathBuf) -> Result<String, String> {
    if text.chars().any(char::is_control) {
        return Err("has control characters".to_owned());
    }
    let base = absolute_dir(&base).map_err(|e| io_message(&e))?;
    clean(&base.join(text)).into_os_string().into_string().map_err(|_| "the path is not UTF-8".to_owned())
}

/// The prefix as it is written, with a `/` at its end.
fn output_prefix(text: &str) -> Result<String, String> {
    let mut address: S3Address = text.parse().map_err(|e: crate::domain::s3::S3AddressFault| e.to_string())?;
    no_climbing(&address)?;
    address = address.join("");
    if address.key.len() > MAX_PREFIX_BYTES {
        return Err(format!("has a prefix of over {MAX_PREFIX_BYTES} bytes, which leaves no room for keys"));
    }
    Ok(address.to_string())
}

/// Stores accept `..` as a name, but many readers of stores do not.
fn no_climbing(address: &S3Address) -> Result<(), String> {
    if address.key.split('/').any(|part| matches!(part, "." | "..")) {
        return Err("may not have `.` or `..` in its path".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_stays_as_it_is_and_ends_in_a_slash() {
        for (text, prefix) in [
            ("s3://b", "s3://b/"),
            ("s3://b/", "s3://b/"),
            ("S3://b//a///c", "s3://b//a///c/"),
            ("s3://b//a//", "s3://b//a//"),
            ("s3://b/a b/ü/", "s3://b/a b/ü/"),
        ] {
            assert_eq!(output_prefix(text), Ok(prefix.to_owned()), "{text}");
        }
        assert!(output_prefix("s3://b/a/../c").unwrap_err().contains("`..`"));
        assert!(output_prefix("s3:///a").unwrap_err().contains("names no bucket"));
        assert!(output_prefix(&format!("s3://b/{}", "x".repeat(480))).unwrap_err().contains("no room for keys"));
    }
}
