//! The models that chat, and what they take at once.

use crate::domain::open::open_list;

open_list! {
    /// A model that chats. Other models are passed on as they are.
    ChatModel, "model" {
        /// The vendor's own language model.
        Electron = "electron",
    }
}

/// The most tokens of a request and its reply together.
pub const CONTEXT_TOKENS: u64 = 32_768;

/// Texts that are shorter than this are in no cache of beginnings, as far as is known.
pub const LEAST_PREFIX_TOKENS: u64 = 128;
