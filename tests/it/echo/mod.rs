//! A third task, in a folder of its own: an endpoint says a text again, and what it says is the output.

mod definition;
mod intake;
mod records;
mod report;
mod stub;
mod work;

use serde::{Deserialize, Serialize};
use wavebatch::domain::{
    pool::Pool,
    task::{Asked, Task, TaskName, Unit},
};

pub use stub::Stub;

/// The task.
#[derive(Debug, Clone, Copy)]
pub struct Echo;

/// What a batch asks of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Echoing {
    /// How often the text is said.
    pub times: u32,
}

impl Asked for Echoing {
    const TASK: TaskName = TaskName::of("echo");
    const UNIT: Unit = Unit::Characters;
}

impl Task for Echo {
    fn name(&self) -> TaskName {
        Echoing::TASK
    }

    fn unit(&self) -> Unit {
        Echoing::UNIT
    }
}

/// Where its calls go.
pub fn pool() -> Pool {
    "echo".parse().expect("a pool's name")
}
