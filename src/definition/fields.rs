//! The fields of TOML files as the reference shows them. A table of rows stands beside the code that reads the fields; a test
//! holds the rows against what that code asks for.

use crate::domain::listed::{List, listed};

listed! {
    /// What a change of a field of a definition means for the finished lines of its batch, when the definition is run again.
    FieldChange, "change" {
        /// The lines count as new and are paid for again. The command exits with 2 first and says what it costs, until you say `--rebuy`.
        Pays = "pays again",
        /// Outputs are made and written again from kept answers or kept speech. Nothing is paid.
        Writes = "writes again",
        /// It decides which lines there are, or what they are. A line that stays the same keeps its outcome; another one is new.
        Lines = "other lines",
        /// It decides which batch it is. All lines of another batch are new.
        Batch = "another batch",
        /// Finished lines stay as they are.
        Nothing = "nothing",
    }
}

/// A table of a TOML file.
#[derive(Debug, Clone, Copy)]
pub struct FieldTable {
    /// Its dotted name; empty for the top level of a file.
    pub name: &'static str,
    /// What it is for.
    about: &'static str,
    /// Its fields, in the order in which they are documented.
    pub fields: &'static [Field],
}

/// A field of a TOML table.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    /// Its name in its table.
    pub name: &'static str,
    /// What it may be.
    pub kind: FieldKind,
    /// What holds where it is absent.
    pub absent: Absent,
    /// What a change of it means for finished lines; `None` for fields that settings alone have.
    pub change: Option<FieldChange>,
    meaning: &'static str,
}

/// What a field may be.
#[derive(Debug, Clone, Copy)]
pub enum FieldKind {
    /// In words: `a string`, `a list of strings`.
    Words(&'static str),
    /// A value of a list, as a string.
    OneOf(List),
    /// Several values of a list.
    SomeOf(List),
}

/// What holds where a field is absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Absent {
    /// The field is required.
    Required,
    /// This value, as TOML. The file means the same with it.
    Value(&'static str),
    /// In words.
    Words(&'static str),
    /// Nothing.
    Nothing,
}

impl FieldTable {
    /// A table whose description is a docstring.
    pub(crate) const fn new(name: &'static str, about: &'static str, fields: &'static [Field]) -> Self {
        Self { name, about, fields }
    }

    /// The same fields in a table of this name.
    pub(crate) const fn named(self, name: &'static str) -> Self {
        Self { name, ..self }
    }

    /// What it is for.
    #[must_use]
    pub fn about(&self) -> &'static str {
        self.about.trim()
    }

    /// The dotted name of one of its fields.
    #[must_use]
    pub fn dotted(&self, field: &Field) -> String {
        if self.name.is_empty() { field.name.to_owned() } else { format!("{}.{}", self.name, field.name) }
    }
}

impl Field {
    /// A field whose meaning is a docstring.
    pub(crate) const fn new(name: &'static str, kind: FieldKind, absent: Absent, meaning: &'static str) -> Self {
        Self { name, kind, absent, change: None, meaning }
    }

    /// The same with what a change of it means.
    pub(crate) const fn changed(self, change: Option<FieldChange>) -> Self {
        Self { change, ..self }
    }

    /// What it does.
    #[must_use]
    pub fn meaning(&self) -> &'static str {
        self.meaning.trim()
    }
}

/// Declares a table of fields; the docstrings are what the reference shows. A row is `"name": KIND DEFAULT;`. KIND is a text,
/// `[List]` or `[List, ..]` for several of them. DEFAULT is `(required)`, `(= "TOML")`, `(or "words")` or `()`. The field of a
/// definition ends in `=> CHANGE;`, a variant of [`FieldChange`].
macro_rules! fields {
    ($(#[doc = $about:literal])+ $vis:vis $table:ident = $path:literal {
        $($(#[doc = $doc:literal])+ $name:literal: $kind:tt $default:tt $(=> $change:ident)?;)*
    }) => {
        $(#[doc = $about])+
        $vis const $table: $crate::definition::fields::FieldTable = $crate::definition::fields::FieldTable::new(
            $path,
            concat!($($about),+),
            &[$($crate::definition::fields::Field::new(
                $name,
                fields!(@kind $kind),
                fields!(@default $default),
                concat!($($doc),+),
            )
            .changed(fields!(@change $($change)?))),*],
        );
    };
    (@kind [$list:ty]) => {
        $crate::definition::fields::FieldKind::OneOf(<$list as $crate::domain::listed::Listed>::LIST)
    };
    (@kind [$list:ty, ..]) => {
        $crate::definition::fields::FieldKind::SomeOf(<$list as $crate::domain::listed::Listed>::LIST)
    };
    (@kind $words:literal) => { $crate::definition::fields::FieldKind::Words($words) };
    (@change) => { None };
    (@change $change:ident) => { Some($crate::definition::fields::FieldChange::$change) };
    (@default (required)) => { $crate::definition::fields::Absent::Required };
    (@default (= $value:literal)) => { $crate::definition::fields::Absent::Value($value) };
    (@default (or $words:literal)) => { $crate::definition::fields::Absent::Words($words) };
    (@default ()) => { $crate::definition::fields::Absent::Nothing };
}
pub(crate) use fields;
