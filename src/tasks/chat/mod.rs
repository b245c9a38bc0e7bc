//! Chat: a language model answers a prompt for each line, and its replies are checked before they count.

mod chatting;
mod definition;
mod intake;
mod prompt;
mod records;
mod report;
mod work;

use crate::domain::{
    chat::Chat as Asking,
    task::{Asked, Task, TaskName, Unit},
};

/// The task.
#[derive(Debug, Clone, Copy)]
pub struct Chat;

impl Task for Chat {
    fn name(&self) -> TaskName {
        Asking::TASK
    }

    fn unit(&self) -> Unit {
        Asking::UNIT
    }

    fn has_replies(&self) -> bool {
        true
    }
}
