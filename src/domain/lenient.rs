//! Reading JSON from outside: useful fields are taken if they are valid, everything else is skipped. Skipped values use
//! no memory, however large they are.
//!
//! Skipped values are still checked as [`serde_json::Value`] would check them (texts are Unicode, numbers are finite), so
//! that the same bodies count as JSON.

use std::fmt;

use serde::{
    Deserializer,
    de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor},
};
use serde_json::Number;

use super::body::Reader;

/// Reads all of a body with `seed`.
///
/// # Errors
/// The body is not JSON, or its stored bytes are damaged.
pub fn read<S: for<'de> DeserializeSeed<'de, Value = ()>>(body: Reader<'_>, seed: S) -> serde_json::Result<()> {
    match body {
        Reader::Whole(bytes) => {
            let mut json = serde_json::Deserializer::from_slice(bytes);
            seed.deserialize(&mut json)?;
            json.end()
        }
        Reader::Packed(packed) => {
            let mut json = serde_json::Deserializer::from_reader(*packed);
            seed.deserialize(&mut json)?;
            json.end()
        }
    }
}

/// Reads one value, for `#[serde(deserialize_with)]`.
///
/// # Errors
/// It is not JSON.
pub fn take<'de, T: Take + Default, D: Deserializer<'de>>(value: D) -> Result<T, D::Error> {
    let mut taken = T::default();
    Fill(&mut taken).deserialize(value)?;
    Ok(taken)
}

/// A receiver of one JSON value. Exactly one method is called, according to the value's type.
pub trait Take {
    /// A text.
    fn text(&mut self, text: &str) {
        let _ = text;
        self.other();
    }

    /// A number.
    fn number(&mut self, number: &Number) {
        let _ = number;
        self.other();
    }

    /// `true` or `false`.
    fn flag(&mut self, on: bool) {
        let _ = on;
        self.other();
    }

    /// `null`.
    fn null(&mut self) {
        self.other();
    }

    /// A list, whose entries the receiver may read; otherwise they are skipped.
    ///
    /// # Errors
    /// It is not JSON.
    fn list<'de, A: SeqAccess<'de>>(&mut self, mut list: A) -> Result<(), A::Error> {
        self.other();
        while list.next_element_seed(Past)?.is_some() {}
        Ok(())
    }

    /// An object, whose fields the receiver may read; otherwise they are skipped.
    ///
    /// # Errors
    /// It is not JSON.
    fn object<'de, A: MapAccess<'de>>(&mut self, mut fields: A) -> Result<(), A::Error> {
        self.other();
        while fields.next_key_seed(Key(&[]))?.is_some() {
            fields.next_value_seed(Past)?;
        }
        Ok(())
    }

    /// A value of a type that the receiver does not take.
    fn other(&mut self);
}

/// Reads one value into a [`Take`].
#[derive(Debug)]
pub struct Fill<'t, T>(pub &'t mut T);

impl<'de, T: Take> DeserializeSeed<'de> for Fill<'_, T> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, value: D) -> Result<(), D::Error> {
        value.deserialize_any(self)
    }
}

impl<'de, T: Take> Visitor<'de> for Fill<'_, T> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E: Error>(self, on: bool) -> Result<(), E> {
        self.0.flag(on);
        Ok(())
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<(), E> {
        self.0.number(&number.into());
        Ok(())
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<(), E> {
        self.0.number(&number.into());
        Ok(())
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<(), E> {
        match Number::from_f64(number) {
            Some(number) => self.0.number(&number),
            None => self.0.null(),
        }
        Ok(())
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        self.0.text(text);
        Ok(())
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.0.null();
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<(), A::Error> {
        self.0.list(list)
    }

    fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<(), A::Error> {
        self.0.object(fields)
    }
}

/// Skips a value.
#[derive(Debug, Clone, Copy)]
pub struct Past;

impl Take for Past {
    fn other(&mut self) {}
}

impl<'de> DeserializeSeed<'de> for Past {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(mut self, value: D) -> Result<(), D::Error> {
        Fill(&mut self).deserialize(value)
    }
}

/// Reads the name of a field: the index of the matching name in this list, if one matches.
#[derive(Debug, Clone, Copy)]
pub struct Key<'n>(pub &'n [&'n str]);

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, name: D) -> Result<Option<usize>, D::Error> {
        name.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field's name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Option<usize>, E> {
        Ok(self.0.iter().position(|known| *known == name))
    }
}
