//! What can be done with the lines of a manifest: one folder a task, and the registry that names them.

pub mod synthesize;
pub mod transcribe;

use std::sync::Arc;

use crate::{
    definition::DefinitionTask,
    domain::task::Tasks,
    report::ReportTask,
    runner::{Maker, Makers, intake::IntakeTask},
};

pub use self::{synthesize::Synthesize, transcribe::Transcribe};

/// All that a task has to be able to do: each room of the program asks for the part that it needs.
pub trait Plugin: DefinitionTask + IntakeTask + Maker + ReportTask {}

impl<T: DefinitionTask + IntakeTask + Maker + ReportTask> Plugin for T {}

/// The tasks that there are, in the order in which they are told.
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

    /// The tasks of the program.
    #[must_use]
    pub fn built_in() -> Self {
        Self::new(vec![Arc::new(Transcribe), Arc::new(Synthesize)])
    }

    /// The same with one more.
    #[must_use]
    pub fn with(self, plugin: impl Plugin + 'static) -> Self {
        let mut plugins = self.plugins;
        plugins.push(Arc::new(plugin));
        Self::new(plugins)
    }

    /// What they know of definitions.
    #[must_use]
    pub const fn definitions(&self) -> &Tasks<dyn DefinitionTask> {
        &self.definitions
    }

    /// How their lines are submitted.
    #[must_use]
    pub const fn intakes(&self) -> &Tasks<dyn IntakeTask> {
        &self.intakes
    }

    /// How they are worked.
    #[must_use]
    pub const fn makers(&self) -> &Makers {
        &self.makers
    }

    /// What they know of reports.
    #[must_use]
    pub const fn reports(&self) -> &Tasks<dyn ReportTask> {
        &self.reports
    }
}
