//! Values on their way into statements and out of rows, the same for every engine.

use std::borrow::Cow;

use crate::store::StoreError;

/// A value that a statement binds. A missing one still has a type, which PostgreSQL asks for.
#[derive(Debug, Clone)]
pub(in crate::store) enum Value<'q> {
    /// A number, a time, or a truth value as 0 or 1.
    Int(Option<i64>),
    /// A fraction.
    Real(Option<f64>),
    /// Text.
    Text(Option<Cow<'q, str>>),
    /// Bytes.
    Bytes(Option<Cow<'q, [u8]>>),
}

/// What a statement can bind.
pub(in crate::store) trait Bind<'q> {
    /// The missing value of this type.
    const MISSING: Value<'static>;

    /// Its value.
    fn value(self) -> Value<'q>;
}

impl<'q, T: Bind<'q>> Bind<'q> for Option<T> {
    const MISSING: Value<'static> = T::MISSING;

    fn value(self) -> Value<'q> {
        self.map_or(T::MISSING, T::value)
    }
}

impl<'q, T: Bind<'q> + Clone> Bind<'q> for &T {
    const MISSING: Value<'static> = T::MISSING;

    fn value(self) -> Value<'q> {
        self.clone().value()
    }
}

macro_rules! binds_as_number {
    ($($name:ty),+) => { $(
        impl Bind<'_> for $name {
            const MISSING: Value<'static> = Value::Int(None);

            fn value(self) -> Value<'static> {
                Value::Int(Some(self.into()))
            }
        }
    )+ };
}

binds_as_number!(i64, i32, u32, u8, bool);

impl Bind<'_> for f64 {
    const MISSING: Value<'static> = Value::Real(None);

    fn value(self) -> Value<'static> {
        Value::Real(Some(self))
    }
}

impl Bind<'_> for String {
    const MISSING: Value<'static> = Value::Text(None);

    fn value(self) -> Value<'static> {
        Value::Text(Some(self.into()))
    }
}

impl<'q> Bind<'q> for &'q str {
    const MISSING: Value<'static> = Value::Text(None);

    fn value(self) -> Value<'q> {
        Value::Text(Some(self.into()))
    }
}

impl Bind<'_> for Vec<u8> {
    const MISSING: Value<'static> = Value::Bytes(None);

    fn value(self) -> Value<'static> {
        Value::Bytes(Some(self.into()))
    }
}

impl<'q> Bind<'q> for &'q [u8] {
    const MISSING: Value<'static> = Value::Bytes(None);

    fn value(self) -> Value<'q> {
        Value::Bytes(Some(self.into()))
    }
}

/// A value of a row.
#[derive(Debug, Clone)]
pub(in crate::store) enum Cell<'r> {
    /// No value.
    Null,
    /// A number, or a truth value as 0 or 1.
    Int(i64),
    /// A fraction.
    Real(f64),
    /// Text.
    Text(&'r str),
    /// Bytes.
    Bytes(Cow<'r, [u8]>),
}

impl Cell<'_> {
    /// Why this is not what was wanted.
    pub(in crate::store) fn instead_of(&self, wanted: &str) -> String {
        let found = match self {
            Cell::Null => "nothing",
            Cell::Int(_) => "a number",
            Cell::Real(_) => "a fraction",
            Cell::Text(_) => "text",
            Cell::Bytes(_) => "bytes",
        };
        format!("{found} instead of {wanted}")
    }
}

/// What can be read from a row.
pub(in crate::store) trait Column: Sized {
    /// Reads a value.
    ///
    /// # Errors
    /// The value is of another type, or no such value: the reason, as a part of a sentence.
    fn read(cell: Cell<'_>) -> Result<Self, String>;
}

impl<T: Column> Column for Option<T> {
    fn read(cell: Cell<'_>) -> Result<Self, String> {
        match cell {
            Cell::Null => Ok(None),
            cell => T::read(cell).map(Some),
        }
    }
}

impl Column for i64 {
    fn read(cell: Cell<'_>) -> Result<Self, String> {
        if let Cell::Int(n) = cell { Ok(n) } else { Err(cell.instead_of("a number")) }
    }
}

impl Column for u32 {
    fn read(cell: Cell<'_>) -> Result<Self, String> {
        let n = i64::read(cell)?;
        u32::try_from(n).map_err(|_| format!("{n} is out of range"))
    }
}

impl Column for bool {
    fn read(cell: Cell<'_>) -> Result<Self, String> {
        i64::read(cell).map(|n| n != 0)
    }
}

impl Column for f64 {
    fn read(cell: Cell<'_>) -> Result<Self, String> {
        if let Cell::Real(x) = cell { Ok(x) } else { Err(cell.instead_of("a fraction")) }
    }
}

impl Column for String {
    fn read(cell: Cell<'_>) -> Result<Self, String> {
        if let Cell::Text(text) = cell { Ok(text.to_owned()) } else { Err(cell.instead_of("text")) }
    }
}

impl Column for Vec<u8> {
    fn read(cell: Cell<'_>) -> Result<Self, String> {
        if let Cell::Bytes(bytes) = cell { Ok(bytes.into_owned()) } else { Err(cell.instead_of("bytes")) }
    }
}

/// A whole row as a value: a tuple of its columns.
pub(in crate::store) trait FromRow: Sized {
    /// Reads the row.
    ///
    /// # Errors
    /// A column is of another type.
    fn from_row(row: &super::Row) -> Result<Self, StoreError>;
}

macro_rules! tuples {
    ($(($($name:ident $place:literal),+)),+ $(,)?) => { $(
        impl<$($name: Column),+> FromRow for ($($name,)+) {
            fn from_row(row: &super::Row) -> Result<Self, StoreError> {
                Ok(($(row.try_get::<$name, _>($place)?,)+))
            }
        }
    )+ };
}

tuples! {
    (A 0),
    (A 0, B 1),
    (A 0, B 1, C 2),
    (A 0, B 1, C 2, D 3),
    (A 0, B 1, C 2, D 3, E 4),
    (A 0, B 1, C 2, D 3, E 4, F 5),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_value_keeps_its_type() {
        assert!(matches!(None::<i64>.value(), Value::Int(None)));
        assert!(matches!(None::<&str>.value(), Value::Text(None)));
        assert!(matches!(Some(None::<Vec<u8>>).value(), Value::Bytes(None)));
        assert!(matches!(true.value(), Value::Int(Some(1))));
    }

    #[test]
    fn a_value_of_another_type_is_named() {
        assert_eq!(i64::read(Cell::Text("x")).unwrap_err(), "text instead of a number");
        assert_eq!(String::read(Cell::Null).unwrap_err(), "nothing instead of text");
        assert_eq!(u32::read(Cell::Int(-1)).unwrap_err(), "-1 is out of range");
        assert_eq!(Option::<String>::read(Cell::Null).unwrap(), None);
    }
}
