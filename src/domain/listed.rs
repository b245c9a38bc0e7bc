//! Closed lists: enums whose values have one spelling each, and the error for a value outside the list.

use crate::domain::printable::visible;

/// A value outside a closed list.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is not a {what}{}", visible(&value), self.proposal())]
pub struct NotListed {
    /// What kind of value was expected, e.g. `language`.
    pub what: &'static str,
    /// The value as it was written.
    pub value: String,
    /// The nearest valid value, if one is near enough to be worth proposing.
    pub nearest: Option<&'static str>,
    /// All valid values.
    pub known: &'static [&'static str],
}

impl NotListed {
    /// A value that is not among `known`.
    #[must_use]
    pub fn new(what: &'static str, value: &str, known: &'static [&'static str]) -> Self {
        Self { what, value: value.to_owned(), nearest: nearest(value, known.iter().copied()), known }
    }

    /// Whether its message names a valid value.
    #[must_use]
    pub fn says_what_there_is(&self) -> bool {
        self.nearest.is_some() || !self.known.is_empty()
    }

    /// The nearest value, else all of them.
    fn proposal(&self) -> String {
        match self.nearest {
            Some(near) => format!("; did you mean `{near}`?"),
            None if self.known.is_empty() => String::new(),
            None => format!("; known: `{}`", self.known.join("`, `")),
        }
    }
}

/// The entry of `known` that `value` was most likely meant to be.
#[must_use]
pub fn nearest<'a>(value: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let value = value.to_lowercase();
    known
        .into_iter()
        .map(|k| (strsim::damerau_levenshtein(&value, k), k))
        .filter(|(distance, k)| *distance <= 1.max(k.len() / 3))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, k)| k)
}

/// The values of a list with their meanings, for the reference.
#[derive(Debug, Clone, Copy)]
pub struct List {
    /// What kind of value it lists, e.g. `language`.
    pub what: &'static str,
    /// Whether other values are passed on as they are.
    pub is_open: bool,
    /// Every spelling, in the order in which they are documented.
    pub names: &'static [&'static str],
    /// The docstrings of the values, in the same order.
    docs: &'static [&'static str],
}

impl List {
    /// A list whose values have these docstrings.
    pub(crate) const fn new(
        what: &'static str,
        is_open: bool,
        names: &'static [&'static str],
        docs: &'static [&'static str],
    ) -> Self {
        Self { what, is_open, names, docs }
    }

    /// Each value with its meaning.
    pub fn rows(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        self.names.iter().zip(self.docs).map(|(name, doc)| (*name, doc.trim()))
    }

    /// The meaning of one value; empty if the list has no such value.
    #[must_use]
    pub fn meaning(&self, name: &str) -> &'static str {
        self.rows().find(|(own, _)| *own == name).map_or("", |(_, meaning)| meaning)
    }
}

/// An enum that is a list: the docstring of each variant is the meaning that the reference shows.
pub trait Listed {
    /// Its values.
    const LIST: List;
}

/// Declares an enum whose variants have one spelling each, used alike in TOML, CSV, JSON, SQL and messages. The docstring of a
/// variant is its meaning in the reference.
macro_rules! listed {
    ($(#[$doc:meta])* $name:ident, $what:literal {
        $($(#[doc = $vdoc:literal])+ $variant:ident = $text:literal),+ $(,)?
    }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
        pub enum $name { $($(#[doc = $vdoc])+ #[serde(rename = $text)] $variant),+ }

        impl $crate::domain::listed::Listed for $name {
            const LIST: $crate::domain::listed::List =
                $crate::domain::listed::List::new($what, false, &[$($text),+], &[$(concat!($($vdoc),+)),+]);
        }

        impl $name {
            /// Every value, in the order in which they are documented.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];
            /// Every spelling, in the same order.
            pub const NAMES: &'static [&'static str] = &[$($text),+];

            /// The one spelling of this value.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { f.pad(self.as_str()) }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::domain::listed::NotListed;
            fn from_str(s: &str) -> Result<Self, Self::Err> {
                match s {
                    $($text => Ok(Self::$variant),)+
                    other => Err($crate::domain::listed::NotListed::new($what, other, Self::NAMES)),
                }
            }
        }
    };
}
pub(crate) use listed;
