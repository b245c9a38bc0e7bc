//! Domain types as columns: a value with a type in `domain/` has that type in a row too.

use sqlx::{Database, Decode, Encode, Type, encode::IsNull, error::BoxDynError};
use uuid::Uuid;

use crate::domain::{
    call::ErrorKind,
    environment::Environment,
    identity::Identity,
    job::{BatchId, CallId, CallState, JobId, JobState, Token, Wanted, Why},
    notice::NoticeEvent,
    pool::{Lane, Pool},
    retry::PauseKind,
    spend::Period,
    task::{TaskName, Unit},
};
use crate::store::Effect;

/// Types with a list of spellings, stored as text.
macro_rules! as_text {
    ($($name:ty),+ $(,)?) => { $(
        impl<DB: Database> Type<DB> for $name where str: Type<DB> {
            fn type_info() -> DB::TypeInfo {
                <str as Type<DB>>::type_info()
            }

            fn compatible(ty: &DB::TypeInfo) -> bool {
                <str as Type<DB>>::compatible(ty)
            }
        }

        impl<'q, DB: Database> Encode<'q, DB> for $name where String: Encode<'q, DB> {
            fn encode_by_ref(&self, buffer: &mut DB::ArgumentBuffer) -> Result<IsNull, BoxDynError> {
                self.as_str().to_owned().encode_by_ref(buffer)
            }
        }

        impl<'r, DB: Database> Decode<'r, DB> for $name where &'r str: Decode<'r, DB> {
            fn decode(value: DB::ValueRef<'r>) -> Result<Self, BoxDynError> {
                Ok(<&str as Decode<'r, DB>>::decode(value)?.parse()?)
            }
        }
    )+ };
}

/// Types that are numbers, stored as integers.
macro_rules! as_number {
    ($($name:ty),+ $(,)?) => { $(
        impl<DB: Database> Type<DB> for $name where i64: Type<DB> {
            fn type_info() -> DB::TypeInfo {
                <i64 as Type<DB>>::type_info()
            }

            fn compatible(ty: &DB::TypeInfo) -> bool {
                <i64 as Type<DB>>::compatible(ty)
            }
        }

        impl<'q, DB: Database> Encode<'q, DB> for $name where i64: Encode<'q, DB> {
            fn encode_by_ref(&self, buffer: &mut DB::ArgumentBuffer) -> Result<IsNull, BoxDynError> {
                self.0.encode_by_ref(buffer)
            }
        }

        impl<'r, DB: Database> Decode<'r, DB> for $name where i64: Decode<'r, DB> {
            fn decode(value: DB::ValueRef<'r>) -> Result<Self, BoxDynError> {
                Ok(Self(<i64 as Decode<'r, DB>>::decode(value)?))
            }
        }
    )+ };
}

/// Types of sixteen bytes.
macro_rules! as_bytes {
    ($($name:ty: $bytes:expr, $from:expr);+ $(;)?) => { $(
        impl<DB: Database> Type<DB> for $name where Vec<u8>: Type<DB> {
            fn type_info() -> DB::TypeInfo {
                <Vec<u8> as Type<DB>>::type_info()
            }

            fn compatible(ty: &DB::TypeInfo) -> bool {
                <Vec<u8> as Type<DB>>::compatible(ty)
            }
        }

        impl<'q, DB: Database> Encode<'q, DB> for $name where Vec<u8>: Encode<'q, DB> {
            fn encode_by_ref(&self, buffer: &mut DB::ArgumentBuffer) -> Result<IsNull, BoxDynError> {
                let bytes: fn(&Self) -> Vec<u8> = $bytes;
                bytes(self).encode_by_ref(buffer)
            }
        }

        impl<'r, DB: Database> Decode<'r, DB> for $name where Vec<u8>: Decode<'r, DB> {
            fn decode(value: DB::ValueRef<'r>) -> Result<Self, BoxDynError> {
                let bytes = <Vec<u8> as Decode<'r, DB>>::decode(value)?;
                let from: fn([u8; 16]) -> Self = $from;
                let bytes = <[u8; 16]>::try_from(bytes).map_err(|bytes| format!("{} bytes instead of 16", bytes.len()))?;
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
    JobState,
    Lane,
    NoticeEvent,
    PauseKind,
    Period,
    Pool,
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
