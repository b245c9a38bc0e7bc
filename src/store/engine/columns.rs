//! Domain types as columns: a value with a type in `domain/` has that type in a row too.

use uuid::Uuid;

use crate::domain::{
    call::ErrorKind,
    callback::SecretPurpose,
    environment::Environment,
    forget::{ForgottenKind, ForgottenState},
    identity::Identity,
    job::{BatchId, CallId, CallState, JobId, JobState, Token, Wanted, Why},
    notice::NoticeEvent,
    pool::{Lane, Pool},
    retry::PauseKind,
    spend::Period,
    task::{TaskName, Unit},
};
use crate::store::{
    Effect,
    engine::db::{Bind, Cell, Column, Value},
};

/// Types with a list of spellings, stored as text.
macro_rules! as_text {
    ($($name:ty),+ $(,)?) => { $(
        impl Bind<'_> for $name {
            const MISSING: Value<'static> = Value::Text(None);

            fn value(self) -> Value<'static> {
                Value::Text(Some(self.as_str().to_owned().into()))
            }
        }

        impl Column for $name {
            fn read(cell: Cell<'_>) -> Result<Self, String> {
                let Cell::Text(text) = cell else { return Err(cell.instead_of("text")) };
                text.parse().map_err(|_| format!("`{text}` is no value that this version knows"))
            }
        }
    )+ };
}

/// Types that are numbers, stored as integers.
macro_rules! as_number {
    ($($name:ty),+ $(,)?) => { $(
        impl Bind<'_> for $name {
            const MISSING: Value<'static> = Value::Int(None);

            fn value(self) -> Value<'static> {
                Value::Int(Some(self.0))
            }
        }

        impl Column for $name {
            fn read(cell: Cell<'_>) -> Result<Self, String> {
                i64::read(cell).map(Self)
            }
        }
    )+ };
}

/// Types of sixteen bytes.
macro_rules! as_bytes {
    ($($name:ty: $bytes:expr, $from:expr);+ $(;)?) => { $(
        impl Bind<'_> for $name {
            const MISSING: Value<'static> = Value::Bytes(None);

            fn value(self) -> Value<'static> {
                let bytes: fn(&Self) -> Vec<u8> = $bytes;
                Value::Bytes(Some(bytes(&self).into()))
            }
        }

        impl Column for $name {
            fn read(cell: Cell<'_>) -> Result<Self, String> {
                let Cell::Bytes(bytes) = cell else { return Err(cell.instead_of("bytes")) };
                let from: fn([u8; 16]) -> Self = $from;
                let bytes = <[u8; 16]>::try_from(&*bytes).map_err(|_| format!("{} bytes instead of 16", bytes.len()))?;
                Ok(from(bytes))
            }
        }
    )+ };
}

as_text!(
    CallState,
    Effect,
    Environment,
    ErrorKind,
    ForgottenKind,
    ForgottenState,
    JobState,
    Lane,
    NoticeEvent,
    PauseKind,
    Period,
    Pool,
    SecretPurpose,
    TaskName,
    Unit,
    Wanted,
    Why
);
as_number!(BatchId, JobId, Token);
as_bytes! {
    CallId: |id| id.0.as_bytes().to_vec(), |bytes| CallId(Uuid::from_bytes(bytes));
    Identity: |id| id.0.to_vec(), Identity;
}
