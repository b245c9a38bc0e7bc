//! Open lists: values that the vendor can add between our releases. Known values have hints, rules and prices; an unknown
//! value causes one warning and is passed on unchanged.

use std::{collections::BTreeSet, fmt, str::FromStr};

use arrayvec::ArrayString;

use super::listed::nearest;
use crate::domain::printable::visible;

/// The month of the vendor's lists that this release knows.
pub const LISTS_AS_OF: &str = "2026-11";
/// The longest value, in bytes.
const LONGEST: usize = 48;
/// How many warnings are listed one by one; beyond that, one line says that there are more.
const KEPT: usize = 20;

/// A value outside our lists: 1 to 48 letters, digits, `-`, `_` and `.`, so that it is valid in a query, a file name and a
/// line of TOML.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OpenValue(ArrayString<LONGEST>);

impl OpenValue {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl FromStr for OpenValue {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        // A value that begins with a dot or a dash could be read as a path or a flag.
        if !text.starts_with(|c: char| c.is_ascii_alphanumeric()) || !text.chars().all(good) {
            return Err(());
        }
        ArrayString::from(text).map(Self).map_err(drop)
    }
}

/// A text that is not a valid value of an open list.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{}` cannot be a {what}: it takes 1 to 48 letters, digits, `-`, `_` and `.`", visible(&value))]
pub struct NoValue {
    /// What kind of value was expected, e.g. `language`.
    pub what: &'static str,
    /// The text.
    pub value: String,
}

/// A value that is in none of our lists, with the value that was probably meant.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Unlisted {
    /// What kind of value it is, e.g. `language`.
    pub what: &'static str,
    /// The value.
    pub value: String,
    /// The nearest value that is listed.
    pub nearest: Option<&'static str>,
    /// The list.
    pub known: &'static [&'static str],
}

impl Unlisted {
    /// A value of this kind, with the nearest value in `known`.
    #[must_use]
    pub fn new(what: &'static str, value: &str, known: &'static [&'static str]) -> Self {
        Self { what, value: value.to_owned(), nearest: nearest(value, known.iter().copied()), known }
    }
}

/// `language `xx` is not in the list of 2026-11; passed on as it is`
impl fmt::Display for Unlisted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} `{}` is not in the list of {LISTS_AS_OF}; passed on as it is", self.what, self.value)?;
        match self.nearest {
            Some(near) => write!(f, " (did you mean `{near}`?)"),
            None => write!(f, " (the list: {})", self.known.join(", ")),
        }
    }
}

/// The unlisted values of a batch, each once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UnlistedValues {
    kept: BTreeSet<Unlisted>,
    more: bool,
}

impl UnlistedValues {
    /// Adds unlisted values.
    pub fn extend(&mut self, found: impl IntoIterator<Item = Unlisted>) {
        for one in found {
            if self.kept.len() < KEPT || self.kept.contains(&one) {
                self.kept.insert(one);
            } else {
                self.more = true;
            }
        }
    }

    /// These values and `found` together.
    #[must_use]
    pub fn and(mut self, found: impl IntoIterator<Item = Unlisted>) -> Self {
        self.extend(found);
        self
    }

    /// The values of this kind, e.g. `model`.
    pub fn of(&self, what: &str) -> impl Iterator<Item = &str> {
        self.kept.iter().filter(move |one| one.what == what).map(|one| one.value.as_str())
    }

    /// One warning for each.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let more =
            self.more.then(|| "there are more values that are in no list; they are passed on as they are".into());
        self.kept.iter().map(ToString::to_string).chain(more).collect()
    }
}

/// Declares an enum like [`listed!`](crate::domain::listed::listed) for a list that the vendor may extend: an unknown
/// value is kept as written, in `Other`.
macro_rules! open_list {
    ($(#[$doc:meta])* $name:ident, $what:literal {
        $($(#[doc = $vdoc:literal])+ $variant:ident = $text:literal),+ $(,)?
    }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name {
            $($(#[doc = $vdoc])+ $variant,)+
            /// A value that this release does not know; passed on unchanged.
            Other($crate::domain::open::OpenValue),
        }

        impl $crate::domain::listed::Listed for $name {
            const LIST: $crate::domain::listed::List =
                $crate::domain::listed::List::new($what, true, &[$($text),+], &[$(concat!($($vdoc),+)),+]);
        }

        impl $name {
            /// Every known value, in the order in which the values are documented.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];
            /// Every known spelling, in the same order.
            pub const NAMES: &'static [&'static str] = &[$($text),+];

            /// The one spelling of this value.
            #[must_use]
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => $text,)+
                    Self::Other(value) => value.as_str(),
                }
            }

            /// The spelling, if the value is known.
            #[must_use]
            pub const fn known(&self) -> Option<&'static str> {
                match self {
                    $(Self::$variant => Some($text),)+
                    Self::Other(_) => None,
                }
            }

            /// The warning about the value, if it is in none of our lists.
            #[must_use]
            pub fn unlisted(&self) -> Option<$crate::domain::open::Unlisted> {
                match self {
                    Self::Other(value) => {
                        Some($crate::domain::open::Unlisted::new($what, value.as_str(), Self::NAMES))
                    }
                    _ => None,
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { f.pad(self.as_str()) }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::domain::open::NoValue;
            fn from_str(s: &str) -> Result<Self, Self::Err> {
                match s {
                    $($text => Ok(Self::$variant),)+
                    other => other.parse().map(Self::Other).map_err(|()| $crate::domain::open::NoValue {
                        what: $what,
                        value: other.to_owned(),
                    }),
                }
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                <std::borrow::Cow<'de, str>>::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}
pub(crate) use open_list;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::options::{Language, SttModel};

    #[test]
    fn what_is_known_is_itself_and_all_else_is_kept_as_written() {
        assert_eq!("pulse-pro".parse(), Ok(SttModel::PulsePro));
        let next: SttModel = "pulse-2.1_beta".parse().unwrap();
        assert_eq!((next.as_str(), next.known()), ("pulse-2.1_beta", None));
        assert_eq!(serde_json::to_string(&next).unwrap(), r#""pulse-2.1_beta""#);
        assert_eq!(serde_json::from_str::<SttModel>(r#""pulse-2.1_beta""#).unwrap(), next);
        for wrong in ["", " ", "a b", "ü", "../x", "-x", "a\n", &"x".repeat(49)] {
            assert!(wrong.parse::<SttModel>().is_err(), "{wrong:?}");
        }
        let message = "EN US".parse::<Language>().unwrap_err().to_string();
        assert_eq!(message, "`EN US` cannot be a language: it takes 1 to 48 letters, digits, `-`, `_` and `.`");
    }

    #[test]
    fn each_stranger_is_told_once() {
        let unlisted = |text: &str| text.parse::<Language>().unwrap().unlisted();
        let mut unlisted_values = UnlistedValues::default();
        unlisted_values.extend(unlisted("en"));
        assert!(unlisted_values.warnings().is_empty());
        for text in ["gu", "EN", "gu", "klingon"] {
            unlisted_values.extend(unlisted(text));
        }
        assert_eq!(
            unlisted_values.warnings(),
            [
                "language `EN` is not in the list of 2026-11; passed on as it is (did you mean `en`?)".to_owned(),
                "language `gu` is not in the list of 2026-11; passed on as it is (did you mean `ru`?)".to_owned(),
                format!(
                    "language `klingon` is not in the list of 2026-11; passed on as it is (the list: {})",
                    Language::NAMES.join(", ")
                ),
            ]
        );
        for n in 0..50 {
            unlisted_values.extend(unlisted(&format!("language-{n}")));
        }
        assert_eq!(unlisted_values.warnings().len(), KEPT + 1);
    }
}
