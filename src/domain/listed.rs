//! Closed lists: enums whose values have one spelling each, and the error for a value outside the list.

/// A value outside a closed list.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{value}` is not a {what}{}", nearest.map(|n| format!("; did you mean `{n}`?")).unwrap_or_default())]
pub struct NotListed {
    /// What kind of value was expected, e.g. `language`.
    pub what: &'static str,
    /// The value as it was written.
    pub value: String,
    /// The nearest valid value, if one is near enough to be worth proposing.
    pub nearest: Option<&'static str>,
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

/// Declares an enum whose variants have one spelling each, used alike in TOML, CSV, JSON, SQL and messages.
macro_rules! listed {
    ($(#[$doc:meta])* $name:ident, $what:literal { $($(#[$vdoc:meta])* $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
        pub enum $name { $($(#[$vdoc])* #[serde(rename = $text)] $variant),+ }

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
                    other => Err($crate::domain::listed::NotListed {
                        what: $what,
                        value: other.to_owned(),
                        nearest: $crate::domain::listed::nearest(other, Self::NAMES.iter().copied()),
                    }),
                }
            }
        }
    };
}
pub(crate) use listed;
