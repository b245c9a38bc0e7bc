//! The client of the Waves API. Wire types stay private; results have the domain's types.
//!
//! One call is one request: nothing is retried and no redirect is followed. Every way in which a call can end has its
//! [`Outcome`](crate::domain::call::Outcome), because the outcome decides what the ledger records.

mod account;
mod answer;
mod ask;
mod audio_stream;
mod chat;
mod classify;
mod client;
mod clones;
mod dictionaries;
mod endpoint;
mod errors;
mod events;
mod frames;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod gate;
mod history;
mod idle_sockets;
mod listen;
mod live;
mod log;
mod open_socket;
mod posted;
mod retry_after;
mod send;
#[cfg(test)]
mod server;
mod socket;
mod synthesis;
mod synthesis_call;
mod synthesis_socket;
#[cfg(test)]
mod synthesis_tests;
#[cfg(test)]
mod tests;
mod voices;
mod words;
mod yield_to_driver;

pub use crate::domain::pronunciation::Pronunciation;
pub use account::account;
pub use chat::{ChatAnswer, ChatCall};
pub use client::{Client, ClientError, SttBody, SttCall};
pub use clones::{AccountClone, CloneCall, CloneStatus, hyphened};
pub use dictionaries::AccountDictionary;
pub use endpoint::{EndpointAnswer, EndpointCall};
pub use gate::Departure;
pub use live::LiveCall;
pub use posted::{Posted, read_callback};
pub use send::Settings;
pub use synthesis::{SynthesisCall, SynthesisOutcome, SynthesizedAudio, Transport};
pub use voices::{Voice, voice_language};
