//! The file for the metrics of a run.

use std::path::{Path, PathBuf};

use super::Env;
use crate::{
    definition::{Fault, Faults},
    domain::home::expand,
    process::home,
};

/// The variable that names the file.
pub const METRICS_FILE: &str = "WAVEBATCH_METRICS_FILE";

/// The path of a metrics file, which may begin with `~`.
///
/// # Errors
/// The collector would not read a file of this name.
pub fn metrics_file(text: &str) -> Result<PathBuf, String> {
    let path = expand(text, home().as_deref())?;
    match path.extension().is_some_and(|ending| ending == "prom") && !text.ends_with('/') {
        true => Ok(path),
        false => Err(format!("`{text}` must end in .prom: the node exporter's textfile collector reads no other file")),
    }
}

impl Env {
    /// The file that the environment names, relative to `cwd`.
    ///
    /// # Errors
    /// The collector would not read a file of this name.
    pub fn metrics_path(&self, cwd: &Path) -> Result<Option<PathBuf>, Faults> {
        let path = self.metrics_file.as_deref().map(metrics_file).transpose();
        Ok(path.map_err(|message| Fault::of_file(METRICS_FILE, message))?.map(|path| cwd.join(path)))
    }
}
