//! `[notify]`: who is notified about a batch.

use std::fmt;

use url::Url;

use super::{
    fields::fields,
    text::{excerpt, some},
    walk::{Section, TomlWalk},
};

fields! {
    /// Who is notified of how batches go. One of the two fields is enough. A definition's table goes before that of
    /// `wavebatch.toml`.
    pub(crate) NOTIFY = "notify" {
        /// A command for `sh -c`. It gets the notification on its stdin, and runs in the directory of the file that names it.
        "command": "a string" () => Nothing;
        /// A URL that the notification is posted to.
        "url": "a string" () => Nothing;
    }
}

/// The recipient when a batch ends, pauses, cannot start, or has lines left when its window closes.
#[derive(Clone, PartialEq, Eq)]
pub enum Notify {
    /// A shell command.
    Command(String),
    /// A URL for POST requests.
    Url(Url),
}

impl Notify {
    /// The recipient without secrets: a URL's host, or a command's first word.
    #[must_use]
    pub fn in_words(&self) -> String {
        match self {
            Self::Command(command) => format!("`{}`", command.split_whitespace().next().unwrap_or_default()),
            Self::Url(url) => format!("{}://{}", url.scheme(), url.host_str().unwrap_or_default()),
        }
    }
}

/// Both may contain secrets: only a command's first word or a URL's host is shown.
impl fmt::Debug for Notify {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Command(command) => write!(f, "Command({} …)", command.split_whitespace().next().unwrap_or_default()),
            Self::Url(url) => write!(f, "Url({}://{}/…)", url.scheme(), url.host_str().unwrap_or_default()),
        }
    }
}

/// Reads the table at the root of a file. It must have exactly one of its fields.
pub(crate) fn read<'t>(walk: &mut TomlWalk<'t>, parent: &mut Section<'t>) -> Option<Notify> {
    let mut section = walk.section(parent, "notify");
    let command = walk.text(&mut section, "command", command);
    let url = walk.text(&mut section, "url", url);
    walk.close(section);
    let problem = match ["notify.command", "notify.url"].map(|field| walk.places.contains_key(field)) {
        [true, true] => "has `command` and `url`; one of them is enough",
        [false, false] => "needs `command` or `url`, e.g. command = \"./tell.sh\"",
        _ => return command.map(Notify::Command).or(url.map(Notify::Url)),
    };
    walk.fault_of("notify", problem);
    None
}

fn url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|e| format!("`{}` is not a URL: {e}", excerpt(text)))?;
    match url.scheme() {
        "http" | "https" => Ok(url),
        other => Err(format!("must begin with https:// or http://, not `{other}:`")),
    }
}

fn command(text: &str) -> Result<String, String> {
    some(text).map(|text| text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use toml::de::DeTable;

    use super::*;

    fn of(text: &str) -> (Option<Notify>, Vec<String>) {
        let table = DeTable::parse(text).unwrap();
        let mut walk = TomlWalk::new("a.toml", text);
        let mut root = Section::root(table.get_ref());
        let notify = read(&mut walk, &mut root);
        walk.close(root);
        walk.report_unknown();
        (notify, walk.faults.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn one_of_two_is_told() {
        assert_eq!(of(""), (None, vec![]));
        let (message, faults) = of("[notify]\ncommand = \" mail -s night ops \"");
        assert_eq!((message, faults), (Some(Notify::Command("mail -s night ops".into())), vec![]));
        let url = Url::parse("https://hooks.example.com/T0/secret").unwrap();
        assert_eq!(of(&format!("notify = {{ url = \"{url}\" }}")), (Some(Notify::Url(url.clone())), vec![]));
        assert_eq!(format!("{:?}", Notify::Url(url)), "Url(https://hooks.example.com/…)");
        assert_eq!(format!("{:?}", Notify::Command("curl -H secret".into())), "Command(curl …)");
    }

    #[test]
    fn faults_have_their_place() {
        for (text, message) in [
            ("[notify]", "a.toml:1:1: `notify`: needs `command` or `url`, e.g. command = "),
            ("[notify]\ncommand = \"a\"\nurl = \"http://b/\"", "a.toml:1:1: `notify`: has `command` and `url`"),
            ("[notify]\ncommand = \" \"", "a.toml:2:11: `notify.command`: may not be empty"),
            (
                "[notify]\nurl = \"ftp://b/\"",
                "a.toml:2:7: `notify.url`: must begin with https:// or http://, not `ftp:`",
            ),
            ("[notify]\nurl = \"hooks\"", "a.toml:2:7: `notify.url`: `hooks` is not a URL"),
            ("[notify]\nurl = 5", "a.toml:2:7: `notify.url`: must be a string, not a whole number"),
            ("notify = 5", "a.toml:1:10: `notify`: must be a table, not a whole number"),
        ] {
            let (notify, faults) = of(text);
            assert!(notify.is_none() && faults.len() == 1 && faults[0].starts_with(message), "{faults:?}");
        }
        assert_eq!(of("[notify]\nurl = \"http://b/\"\nto = \"x\"").1.len(), 1, "an unknown field");
    }
}
