//! The tasks that can be done with the lines of a manifest: one folder a task, and the registry that names them.

pub mod chat;
pub mod synthesize;
pub mod transcribe;

use std::sync::Arc;

use crate::{
    definition::DefinitionTask,
    domain::task::{TaskName, Tasks},
    report::ReportTask,
    runner::{Maker, Makers, intake::IntakeTask},
};

pub use self::{chat::Chat, synthesize::Synthesize, transcribe::Transcribe};

/// Everything that a task must implement: each room of the program uses one of these traits.
pub trait Plugin: DefinitionTask + IntakeTask + Maker + ReportTask {}

impl<T: DefinitionTask + IntakeTask + Maker + ReportTask> Plugin for T {}

/// The known tasks, in the order in which they are listed.
#[derive(Debug, Clone)]
pub struct Registry {
    plugins: Vec<Arc<dyn Plugin>>,
    definitions: Tasks<dyn DefinitionTask>,
    intakes: Tasks<dyn IntakeTask>,
    makers: Makers,
    reports: Tasks<dyn ReportTask>,
}

impl Registry {
    /// A registry of these tasks.
    #[must_use]
    pub fn new(plugins: Vec<Arc<dyn Plugin>>) -> Self {
        let definitions = plugins.iter().map(|task| Arc::clone(task) as Arc<dyn DefinitionTask>).collect();
        let intakes = plugins.iter().map(|task| Arc::clone(task) as Arc<dyn IntakeTask>).collect();
        let makers = plugins.iter().map(|task| Arc::clone(task) as Arc<dyn Maker>).collect();
        let reports = plugins.iter().map(|task| Arc::clone(task) as Arc<dyn ReportTask>).collect();
        Self { plugins, definitions, intakes, makers, reports }
    }

    /// The built-in tasks.
    #[must_use]
    pub fn built_in() -> Self {
        Self::new(vec![Arc::new(Transcribe), Arc::new(Synthesize), Arc::new(Chat)])
    }

    /// The same registry with one more task.
    #[must_use]
    pub fn with(self, plugin: impl Plugin + 'static) -> Self {
        let mut plugins = self.plugins;
        plugins.push(Arc::new(plugin));
        Self::new(plugins)
    }

    /// Whether the lines of this task have several jobs, and those have numbered parts.
    #[must_use]
    pub fn has_parts(&self, task: TaskName) -> bool {
        self.reports.get(task).is_some_and(|task| task.has_parts())
    }

    /// Whether this task buys replies of a language model.
    #[must_use]
    pub fn has_replies(&self, task: TaskName) -> bool {
        self.reports.get(task).is_some_and(|task| task.has_replies())
    }

    /// The tasks in their definition role.
    #[must_use]
    pub const fn definitions(&self) -> &Tasks<dyn DefinitionTask> {
        &self.definitions
    }

    /// The tasks in their submitting role.
    #[must_use]
    pub const fn intakes(&self) -> &Tasks<dyn IntakeTask> {
        &self.intakes
    }

    /// The tasks in their runner role.
    #[must_use]
    pub const fn makers(&self) -> &Makers {
        &self.makers
    }

    /// The tasks in their report role.
    #[must_use]
    pub const fn reports(&self) -> &Tasks<dyn ReportTask> {
        &self.reports
    }
}
