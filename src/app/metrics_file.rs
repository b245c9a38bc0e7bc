//! The metrics of a run in a file, for machines on which nothing is scraped while it works: the node exporter's textfile
//! collector reads it. The file is written whole beside its place and renamed, during the run and at its end.

use std::{
    fs::{self, Permissions},
    io::{self, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    sync::mpsc::{UnboundedReceiver, unbounded_channel},
    task::{AbortHandle, spawn_blocking},
    time::{interval, timeout},
};

use super::events::{Event, Events};
use crate::{
    clock::Clock,
    io_fault, runner,
    server::{Metrics, WatchedLedger},
    temp_lock,
};

/// How often the file is written while a run works.
const EVERY: Duration = Duration::from_secs(15);
/// How long the end of a run waits for the file.
const LIMIT: Duration = Duration::from_secs(5);
/// Everybody may read it: the exporter is another user.
const MODE: u32 = 0o644;

/// Why a run cannot write its metrics.
#[derive(Debug, thiserror::Error)]
#[error("the metrics cannot be written to {}: {source}", path.display())]
pub struct MetricsFileError {
    /// The file.
    path: PathBuf,
    /// The system's error.
    source: io::Error,
}

impl MetricsFileError {
    /// What the user can do about it.
    pub(super) fn hint(&self) -> String {
        let folder = self.path.parent().unwrap_or(&self.path).display();
        match self.source.kind() {
            io::ErrorKind::NotFound => format!("make the folder {folder}, readable for the exporter"),
            io::ErrorKind::IsADirectory | io::ErrorKind::NotADirectory => {
                "name a file NAME.prom in a folder of the exporter".to_owned()
            }
            _ => format!("{folder}: {}", io_fault::remedy(&self.source)),
        }
    }
}

/// The file of a run's metrics. It is written until the run has [ended](Self::end). Clones share it.
#[derive(Debug, Clone)]
pub struct MetricsFile(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    metrics: Metrics,
    clock: Clock,
    watched: Mutex<Option<WatchedLedger>>,
    /// One at a time, so that an old page does not follow a new one.
    writing: tokio::sync::Mutex<()>,
    /// The task that writes from time to time.
    writer: Mutex<Option<AbortHandle>>,
}

impl MetricsFile {
    /// Writes the file for the first time, and from then on every 15 s. Later failures are warnings.
    ///
    /// # Errors
    /// The file cannot be written.
    pub async fn begin(path: PathBuf, events: Events) -> Result<Self, MetricsFileError> {
        let clock = Clock::system();
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let metrics = Metrics::of_run(&name, clock.now());
        let inner = Inner {
            path,
            metrics,
            clock,
            watched: Mutex::default(),
            writing: tokio::sync::Mutex::default(),
            writer: Mutex::default(),
        };
        let this = Self(Arc::new(inner));
        this.sweep();
        this.write().await?;
        let writer = tokio::spawn(this.clone().write_on(events)).abort_handle();
        *this.0.writer.lock().unwrap_or_else(PoisonError::into_inner) = Some(writer);
        Ok(this)
    }

    /// The metrics to count in.
    pub(super) fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    /// Samples this ledger from now on.
    pub(super) fn watch(&self, watched: WatchedLedger) {
        *self.0.watched.lock().unwrap_or_else(PoisonError::into_inner) = Some(watched);
    }

    /// Takes a last sample of the ledger, which is about to be closed.
    pub(super) async fn unwatch(&self) {
        self.sample().await;
        *self.0.watched.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Counts the events that pass.
    pub(super) fn counted(&self, mut heard: UnboundedReceiver<runner::Event>) -> UnboundedReceiver<runner::Event> {
        let (metrics, (passed, events)) = (self.0.metrics.clone(), unbounded_channel());
        tokio::spawn(async move {
            while let Some(event) = heard.recv().await {
                metrics.event(&event);
                // Nobody may listen any more; the events still count.
                let _ = passed.send(event);
            }
        });
        events
    }

    /// Writes the file for the last time: the run has ended with this exit status.
    ///
    /// # Errors
    /// The file cannot be written, or not in time.
    pub async fn end(&self, exit_status: u8) -> Result<(), MetricsFileError> {
        if let Some(writer) = self.0.writer.lock().unwrap_or_else(PoisonError::into_inner).take() {
            writer.abort();
        }
        self.0.metrics.run_ended(self.0.clock.now(), exit_status);
        timeout(LIMIT, async {
            self.sample().await;
            self.write().await
        })
        .await
        .unwrap_or_else(|_| Err(self.failed(io::ErrorKind::TimedOut.into())))
    }

    async fn write_on(self, events: Events) {
        let mut turns = interval(EVERY);
        turns.tick().await;
        let mut failing = false;
        loop {
            turns.tick().await;
            self.sample().await;
            match self.write().await {
                Ok(()) => failing = false,
                Err(error) if !std::mem::replace(&mut failing, true) => {
                    events.event(Event::Warning(format!("{error}; the work goes on")));
                }
                Err(_) => {}
            }
        }
    }

    async fn sample(&self) {
        let watched = self.0.watched.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(watched) = watched {
            self.0.metrics.sample_now(&watched).await;
        }
    }

    async fn write(&self) -> Result<(), MetricsFileError> {
        let _turn = self.0.writing.lock().await;
        let page = self.0.metrics.file(self.0.clock.now()).await.map_err(|e| self.failed(io::Error::other(e)))?;
        let path = self.0.path.clone();
        let written = spawn_blocking(move || replace(&path, page.as_bytes())).await;
        written.map_err(io::Error::other).flatten().map_err(|e| self.failed(e))
    }

    fn failed(&self, source: io::Error) -> MetricsFileError {
        MetricsFileError { path: self.0.path.clone(), source }
    }

    /// Removes what killed runs left half written.
    fn sweep(&self) {
        let Some(folder) = self.0.path.parent() else { return };
        let prefix = prefix_of(&self.0.path);
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if name.starts_with(&prefix) && name.ends_with(SUFFIX) {
                let _ = temp_lock::sweep(&entry.path());
            }
        }
    }
}

/// The ending of a file that is not whole yet: the collector reads `.prom` alone.
const SUFFIX: &str = ".tmp";

fn prefix_of(path: &Path) -> String {
    format!(".{}.", path.file_name().unwrap_or_default().to_string_lossy())
}

/// Writes a file under another name and gives it its own.
fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    if path.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    let folder = path.parent().unwrap_or(Path::new("/"));
    loop {
        let mut file = tempfile::Builder::new().prefix(&prefix_of(path)).suffix(SUFFIX).tempfile_in(folder)?;
        // Another run has swept it in the meantime.
        if !temp_lock::hold(file.as_file())? {
            continue;
        }
        file.write_all(content)?;
        file.as_file().set_permissions(Permissions::from_mode(MODE))?;
        return file.persist(path).map(drop).map_err(|e| e.error);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begun(path: &Path) -> impl Future<Output = Result<MetricsFile, MetricsFileError>> {
        MetricsFile::begin(path.to_owned(), Arc::new(|_: Event| {}))
    }

    #[tokio::test]
    async fn a_file_is_whole_readable_for_all_and_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("night.prom");
        // As a killed run leaves it, and one that another run is writing.
        fs::write(dir.path().join(".night.prom.x.tmp"), "half").unwrap();
        let other = dir.path().join(".night.prom.y.tmp");
        let held = fs::File::create(&other).unwrap();
        assert!(temp_lock::hold(&held).unwrap());
        let file = begun(&path).await.unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, MODE);
        let begun = fs::read_to_string(&path).unwrap();
        assert!(begun.contains("wavebatch_run_started_timestamp_seconds{file=\"night\"} "), "{begun}");
        assert!(!begun.contains("wavebatch_run_ended") && !begun.contains("wavebatch_ledger_up"), "{begun}");
        file.end(3).await.unwrap();
        let ended = fs::read_to_string(&path).unwrap();
        assert!(ended.contains("\nwavebatch_run_exit_status{file=\"night\"} 3.0\n"), "{ended}");
        assert!(ended.contains("\nwavebatch_run_success{file=\"night\"} 0.0\n"), "{ended}");
        let mut names: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
        names.sort();
        assert_eq!(names, [other, path]);
    }

    #[tokio::test]
    async fn a_place_that_takes_no_file_is_one_error() {
        let dir = tempfile::tempdir().unwrap();
        let missing = dir.path().join("none/night.prom");
        let error = begun(&missing).await.unwrap_err();
        assert!(error.to_string().contains("none/night.prom: No such file"), "{error}");
        assert!(error.hint().starts_with("make the folder "), "{}", error.hint());
        fs::create_dir(dir.path().join("folder.prom")).unwrap();
        let error = begun(&dir.path().join("folder.prom")).await.unwrap_err();
        assert!(error.hint().starts_with("name a file"), "{error} {}", error.hint());
        fs::write(dir.path().join("file"), "").unwrap();
        let error = begun(&dir.path().join("file/night.prom")).await.unwrap_err();
        assert!(error.hint().starts_with("name a file"), "{error} {}", error.hint());
        let left: Vec<_> = fs::read_dir(dir.path()).unwrap().collect();
        assert_eq!(left.len(), 2, "{left:?}");
    }
}
