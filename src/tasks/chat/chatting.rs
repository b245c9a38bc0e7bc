//! The settings of a chat in a definition.

use crate::{
    definition::{NoSource, Template},
    domain::chat::Chat,
};

/// The settings of a chat.
#[derive(Debug, Clone)]
pub(super) struct Chatting {
    /// What the ledger keeps of them. Its system text is none if a line's is made from its columns.
    pub(super) asked: Chat,
    /// The text before all others, if it has names in it.
    pub(super) system: Option<Template>,
    /// What a line asks; `None`: the column that is known to hold it.
    pub(super) prompt: Option<Template>,
    /// Where quotes must stand; `None`: in the column `transcript`, else in the prompt.
    pub(super) grounded_in: Option<Template>,
    /// What happens to lines that ask nothing.
    pub(super) no_text: NoSource,
}
