//! Structs and enums whose docstrings the reference shows: what other programs read or write as JSON.

/// A field of a struct, or a variant of an enum.
#[derive(Debug, Clone, Copy)]
pub struct Documented {
    /// Its name in Rust.
    pub name: &'static str,
    /// Its type in Rust; empty for a variant without content, `{}` for one with named fields.
    pub takes: &'static str,
    doc: &'static str,
}

impl Documented {
    pub(crate) const fn new(name: &'static str, takes: &'static str, doc: &'static str) -> Self {
        Self { name, takes, doc }
    }

    /// Its meaning.
    #[must_use]
    pub fn meaning(&self) -> &'static str {
        self.doc.trim()
    }

    /// Its name as serde's `snake_case` writes it.
    #[must_use]
    pub fn snake_case(&self) -> String {
        let mut snake = String::new();
        for c in self.name.chars() {
            if c.is_ascii_uppercase() && !snake.is_empty() {
                snake.push('_');
            }
            snake.push(c.to_ascii_lowercase());
        }
        snake
    }
}

/// Declares a struct or an enum, and keeps the docstrings of its fields or variants in `DOCUMENTED`.
macro_rules! documented {
    ($(#[$meta:meta])* pub struct $name:ident {
        $($(#[doc = $doc:literal])+ $(#[serde($($serde:tt)*)])? pub $field:ident: $type:ty),+ $(,)?
    }) => {
        $(#[$meta])*
        pub struct $name {
            $($(#[doc = $doc])+ $(#[serde($($serde)*)])? pub $field: $type),+
        }

        impl $name {
            /// Its fields, in their order.
            pub const DOCUMENTED: &'static [$crate::domain::documented::Documented] =
                &[$($crate::domain::documented::Documented::new(
                    stringify!($field),
                    stringify!($type),
                    concat!($($doc),+),
                )),+];
        }
    };
    ($(#[$meta:meta])* pub enum $name:ident {
        $($(#[doc = $doc:literal])+ $variant:ident $(($type:ty))? $({ $($fields:tt)* })?),+ $(,)?
    }) => {
        $(#[$meta])*
        pub enum $name {
            $($(#[doc = $doc])+ $variant $(($type))? $({ $($fields)* })?),+
        }

        impl $name {
            /// Its variants, in their order.
            pub const DOCUMENTED: &'static [$crate::domain::documented::Documented] =
                &[$($crate::domain::documented::Documented::new(
                    stringify!($variant),
                    concat!("", $(stringify!($type))? $(documented!(@braces $($fields)*))?),
                    concat!($($doc),+),
                )),+];
        }
    };
    (@braces $($fields:tt)*) => { "{}" };
}
pub(crate) use documented;
