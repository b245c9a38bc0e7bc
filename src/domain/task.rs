//! The name of a task, and the batch's specification of it, as the ledger stores it.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::options::{listed, nearest};
use crate::domain::printable::visible;

/// The name of the task done for each line of a batch: `transcribe`, `synthesize`. Small, and `Copy`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TaskName([u8; TaskName::MAX_BYTES]);

/// A text that cannot name a task.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{}` cannot name a task: 1 to {} of the letters a to z, digits, `-` and `_` can", visible(.0), TaskName::MAX_BYTES)]
pub struct TaskNameFault(String);

impl TaskName {
    /// The longest name, in bytes.
    pub const MAX_BYTES: usize = 32;

    /// The name of a built-in task.
    ///
    /// # Panics
    /// The name has over 32 bytes.
    #[must_use]
    pub const fn of(name: &'static str) -> Self {
        Self(padded(name.as_bytes()))
    }

    /// The name as written everywhere.
    #[must_use]
    pub fn as_str(&self) -> &str {
        let end = self.0.iter().position(|byte| *byte == 0).unwrap_or(Self::MAX_BYTES);
        std::str::from_utf8(&self.0[..end]).expect("a name is made of text")
    }
}

/// A name padded with zeros.
const fn padded(name: &[u8]) -> [u8; TaskName::MAX_BYTES] {
    let mut bytes = [0; TaskName::MAX_BYTES];
    let mut at = 0;
    while at < name.len() {
        bytes[at] = name[at];
        at += 1;
    }
    bytes
}

impl FromStr for TaskName {
    type Err = TaskNameFault;
    fn from_str(name: &str) -> Result<Self, TaskNameFault> {
        let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_');
        match (1..=Self::MAX_BYTES).contains(&name.len()) && name.chars().all(good) {
            true => Ok(Self(padded(name.as_bytes()))),
            false => Err(TaskNameFault(name.to_owned())),
        }
    }
}

impl TryFrom<String> for TaskName {
    type Error = TaskNameFault;
    fn try_from(name: String) -> Result<Self, TaskNameFault> {
        name.parse()
    }
}

impl From<TaskName> for String {
    fn from(name: TaskName) -> Self {
        name.as_str().to_owned()
    }
}

impl fmt::Display for TaskName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for TaskName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

listed! {
    /// What the units of a task's jobs and calls count.
    Unit, "unit" {
        /// Milliseconds of audio.
        AudioMs = "audio_ms",
        /// Characters of text.
        Characters = "characters",
    }
}

impl Unit {
    /// The word for one of them.
    #[must_use]
    pub const fn one(self) -> &'static str {
        match self {
            Self::AudioMs => "millisecond",
            Self::Characters => "character",
        }
    }
}

/// The properties of a task that every part of the program may use.
pub trait Task: fmt::Debug + Send + Sync {
    /// The task's name: in definitions, of its table there, in the ledger and on the command line.
    fn name(&self) -> TaskName;

    /// What the units of its jobs and calls count.
    fn unit(&self) -> Unit;

    /// Whether the task buys texts, which a report can include.
    fn has_transcripts(&self) -> bool {
        false
    }

    /// Whether the task buys replies of a language model, which are paid for by their tokens.
    fn has_replies(&self) -> bool {
        false
    }

    /// Whether a line has several jobs, each with parts that are bought separately and identified by number.
    fn has_parts(&self) -> bool {
        false
    }
}

/// The registered tasks, in the form that one part of the program uses, in the order in which they are listed. Names are
/// unique.
pub struct Tasks<T: ?Sized>(Arc<[Arc<T>]>);

impl<T: Task + ?Sized> Tasks<T> {
    /// The task with this name.
    #[must_use]
    pub fn get(&self, name: TaskName) -> Option<&Arc<T>> {
        self.iter().find(|task| task.name() == name)
    }

    /// All of them.
    pub fn iter(&self) -> std::slice::Iter<'_, Arc<T>> {
        self.0.iter()
    }

    /// The task with the name that a user wrote.
    ///
    /// # Errors
    /// No task has this name; the message proposes the nearest one.
    pub fn named(&self, text: &str) -> Result<&Arc<T>, String> {
        self.iter().find(|task| task.name().as_str() == text).ok_or_else(|| {
            let names: Vec<TaskName> = self.iter().map(|task| task.name()).collect();
            let near = nearest(text, names.iter().map(TaskName::as_str));
            let known = || names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
            let proposal =
                near.map_or_else(|| format!("; known: {}", known()), |near| format!("; did you mean `{near}`?"));
            format!("`{}` is not a task{proposal}", visible(&text))
        })
    }
}

impl<T: ?Sized> FromIterator<Arc<T>> for Tasks<T> {
    fn from_iter<I: IntoIterator<Item = Arc<T>>>(tasks: I) -> Self {
        Self(tasks.into_iter().collect())
    }
}

impl<T: ?Sized> Default for Tasks<T> {
    /// No tasks.
    fn default() -> Self {
        Self(Arc::new([]))
    }
}

impl<T: ?Sized> Clone for Tasks<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: Task + ?Sized> fmt::Debug for Tasks<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter().map(|task| task.name())).finish()
    }
}

/// A batch's specification of one task, in the types of that task.
pub trait Asked: Serialize + DeserializeOwned {
    /// The task.
    const TASK: TaskName;
    /// What the units of its jobs and calls count.
    const UNIT: Unit;
}

/// A batch's specification of its task, as the ledger stores it: the task's name, and a value that only the task can read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskSpec {
    /// The task.
    #[serde(rename = "task")]
    pub name: TaskName,
    /// The task's own part.
    asked: Value,
}

/// The task's own part of a specification cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SpecError {
    /// The specification belongs to another task.
    #[error("it asks for the task `{theirs}`, not `{ours}`")]
    OtherTask {
        /// The task that reads it.
        ours: TaskName,
        /// The task that the specification names.
        theirs: TaskName,
    },
    /// The specification has another shape than this release writes.
    #[error("what it asks of the task `{task}` cannot be read")]
    Shape {
        /// The task.
        task: TaskName,
        /// The first deviation.
        source: serde_json::Error,
    },
}

impl TaskSpec {
    /// The stored form of `asked`.
    #[must_use]
    pub fn of<T: Asked>(asked: &T) -> Self {
        let asked = serde_json::to_value(asked).expect("a task's own part has text keys, and so is JSON");
        Self { name: T::TASK, asked }
    }

    /// Whether the specification is of the task of `T`.
    #[must_use]
    pub fn is<T: Asked>(&self) -> bool {
        self.name == T::TASK
    }

    /// The task's own part.
    ///
    /// # Errors
    /// The specification belongs to another task, or has another shape.
    pub fn read<T: Asked>(&self) -> Result<T, SpecError> {
        if !self.is::<T>() {
            return Err(SpecError::OtherTask { ours: T::TASK, theirs: self.name });
        }
        T::deserialize(&self.asked).map_err(|source| SpecError::Shape { task: T::TASK, source })
    }

    /// The values that differ in `now`, one by one.
    #[must_use]
    pub fn changes(&self, now: &Self) -> Vec<SpecChange> {
        let mut changes = Vec::new();
        differences(&mut Vec::new(), &self.asked, &now.asked, &mut changes);
        let change = |(path, before, now): (Vec<String>, Value, Value)| {
            let mut only = self.clone();
            set(&mut only.asked, &path, now.clone());
            SpecChange { name: path.last().cloned().unwrap_or_default(), before, now, only }
        };
        changes.into_iter().map(change).collect()
    }
}

/// A value that one specification has and another has not.
#[derive(Debug, Clone)]
pub struct SpecChange {
    /// Its name, without those of the tables that it is in.
    pub name: String,
    /// The value before.
    pub before: Value,
    /// The value now.
    pub now: Value,
    /// The specification before with this change only.
    pub only: TaskSpec,
}

/// Collects the places at which two values differ. Tables are compared field by field.
fn differences(path: &mut Vec<String>, before: &Value, now: &Value, found: &mut Vec<(Vec<String>, Value, Value)>) {
    let (Value::Object(old), Value::Object(new)) = (before, now) else {
        if before != now {
            found.push((path.clone(), before.clone(), now.clone()));
        }
        return;
    };
    let names = old.keys().chain(new.keys().filter(|name| !old.contains_key(*name)));
    for name in names {
        path.push(name.clone());
        let field = |table: &serde_json::Map<String, Value>| table.get(name).cloned().unwrap_or_default();
        differences(path, &field(old), &field(new), found);
        path.pop();
    }
}

/// Sets the value at a path of fields.
fn set(table: &mut Value, path: &[String], value: Value) {
    let mut place = table;
    for name in path {
        if !place.is_object() {
            *place = Value::Object(serde_json::Map::new());
        }
        place = &mut place[name.as_str()];
    }
    *place = value;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    struct Echo {
        times: u32,
    }

    impl Asked for Echo {
        const TASK: TaskName = TaskName::of("echo");
        const UNIT: Unit = Unit::Characters;
    }

    #[derive(Debug, Serialize, Deserialize)]
    struct Other {}

    impl Asked for Other {
        const TASK: TaskName = TaskName::of("other");
        const UNIT: Unit = Unit::AudioMs;
    }

    #[test]
    fn a_task_has_a_plain_name() {
        for good in ["echo", "a-b_9"] {
            assert_eq!(good.parse::<TaskName>().unwrap().as_str(), good);
        }
        for bad in ["", "Echo", "a b", "é", &"x".repeat(33)] {
            assert!(bad.parse::<TaskName>().is_err(), "{bad:?}");
        }
        assert!(serde_json::from_str::<TaskName>("\"A\"").is_err());
    }

    #[test]
    fn what_differs_is_told_value_by_value() {
        let of = |asked: Value| TaskSpec { name: Echo::TASK, asked };
        let before = of(serde_json::json!({ "options": { "language": "en", "speed": 1 }, "formats": ["a"] }));
        let now = of(serde_json::json!({ "options": { "language": "hi", "speed": 1 }, "formats": ["a"], "x": true }));
        let changes = before.changes(&now);
        let names: Vec<_> = changes.iter().map(|change| change.name.as_str()).collect();
        assert_eq!(names, ["language", "x"]);
        assert_eq!(changes[0].only.asked["options"], serde_json::json!({ "language": "hi", "speed": 1 }));
        assert_eq!((changes[1].before.is_null(), changes[1].only.asked.get("x")), (true, Some(&Value::Bool(true))));
        assert_eq!(changes[1].only.asked["options"]["language"], "en", "one change at a time");
        assert!(before.changes(&before).is_empty());
    }

    #[test]
    fn a_task_reads_its_own_part_alone() {
        let spec = TaskSpec::of(&Echo { times: 3 });
        let json = serde_json::to_string(&spec).unwrap();
        assert_eq!(json, r#"{"task":"echo","asked":{"times":3}}"#);
        let read: TaskSpec = serde_json::from_str(&json).unwrap();
        assert_eq!(read.read::<Echo>().unwrap(), Echo { times: 3 });
        assert!(matches!(read.read::<Other>(), Err(SpecError::OtherTask { .. })));
        let wrong: TaskSpec = serde_json::from_str(r#"{"task":"echo","asked":{}}"#).unwrap();
        assert!(matches!(wrong.read::<Echo>(), Err(SpecError::Shape { .. })));
    }
}
