//! The folders of definitions in their present state. A faulty definition starts nothing until it is fixed, and
//! affects no other.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::Metadata,
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use jiff::{Timestamp, ToSpan};
use sha2::{Digest, Sha256};

use super::Scheduling;
use crate::{
    definition::DefinitionTask,
    definition::{Definition, Fault, Faults, Notify, Overrides, Timetable},
    domain::task::Tasks,
    domain::{batch::BatchName, hex::hex, schedule::Schedule},
    store::DefinitionContent,
};

/// The number of days ahead for which batch names are compared.
const NAME_DAYS: i32 = 400;

/// The definitions directly in a folder.
///
/// # Errors
/// The folder cannot be read.
pub fn definitions_in(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in dir.read_dir()? {
        let path = entry?.path();
        // The settings file is not a definition.
        let settings = path.file_name().is_some_and(|name| name == "wavebatch.toml");
        if path.extension().is_some_and(|ending| ending == "toml") && path.is_file() && !settings {
            found.push(path);
        }
    }
    Ok(found)
}

/// SHA-256 of a definition's file, in hex: by which services compare what they have.
///
/// # Errors
/// The file cannot be read.
pub fn content_of(file: &Path) -> io::Result<String> {
    std::fs::read(file).map(|bytes| hex(&Sha256::digest(bytes)))
}

/// Each file once and sorted, however often it is named.
#[must_use]
pub fn distinct(files: impl IntoIterator<Item = PathBuf>) -> Vec<PathBuf> {
    let mut real = BTreeMap::new();
    for file in files {
        real.entry(file.canonicalize().unwrap_or_else(|_| file.clone())).or_insert(file);
    }
    let mut files: Vec<_> = real.into_values().collect();
    files.sort();
    files
}

/// The names of a schedule's batches in the days ahead.
#[must_use]
pub fn names_ahead(table: &Timetable, schedule: &Schedule, now: Timestamp) -> BTreeSet<BatchName> {
    let today = schedule.zone.to_datetime(now).date();
    let days = (0..NAME_DAYS).filter_map(|ahead| today.checked_add(ahead.days()).ok());
    let days = days.filter(|day| schedule.cron.runs_on(*day));
    days.filter_map(|day| table.batch(schedule.date_of(day)).ok()).collect()
}

/// A definition with a schedule.
#[derive(Debug, Clone)]
pub(super) struct Planned {
    pub(super) file: PathBuf,
    pub(super) table: Timetable,
    pub(super) schedule: Schedule,
}

/// Folders of definitions, read periodically.
#[derive(Debug)]
pub struct Folder {
    dirs: Vec<PathBuf>,
    tasks: Tasks<dyn DefinitionTask>,
    entries: Mutex<FolderEntries>,
}

#[derive(Debug, Default)]
struct FolderEntries {
    files: BTreeMap<PathBuf, FolderEntry>,
    /// Folders that could not be read, with the last reported message.
    dirs: BTreeMap<PathBuf, String>,
}

#[derive(Debug)]
struct FolderEntry {
    stamp: Stamp,
    /// SHA-256 of the last valid content, in hex.
    content: String,
    /// The last valid content; for a faulty file, the content before the fault.
    table: Option<Timetable>,
    /// Its faults, if it has any.
    broken: Option<Faults>,
    /// Why its name clashes with another definition's, if it does.
    clash: Option<String>,
}

/// A file is read again if this value changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    modified: (i64, i64),
    length: u64,
    inode: u64,
}

impl Stamp {
    fn of(meta: &Metadata) -> Self {
        Self { modified: (meta.mtime(), meta.mtime_nsec()), length: meta.len(), inode: meta.ino() }
    }
}

impl Folder {
    pub(super) fn new(dirs: Vec<PathBuf>, tasks: Tasks<dyn DefinitionTask>) -> Self {
        Self { dirs, tasks, entries: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, FolderEntries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The target that a definition sets for notifications, with the folder of its file.
    #[must_use]
    pub fn notify_of(&self, definition: &str) -> Option<(Notify, PathBuf)> {
        let entries = self.lock();
        let own = |entry: &FolderEntry| entry.clash.is_none() && entry.name() == Some(definition);
        let (file, entry) = entries.files.iter().find(|(_, entry)| own(entry))?;
        let notify = entry.table.as_ref()?.notify.clone()?;
        Some((notify, file.parent().unwrap_or(Path::new("")).to_owned()))
    }

    /// The file of a definition without faults.
    pub(super) fn file_of(&self, definition: &str) -> Option<PathBuf> {
        let entries = self.lock();
        let own = |entry: &FolderEntry| entry.is_good() && entry.name() == Some(definition);
        entries.files.iter().find(|(_, entry)| own(entry)).map(|(file, _)| file.clone())
    }

    /// The definitions with a schedule and without faults.
    pub(super) fn planned(&self) -> Vec<Planned> {
        let entries = self.lock();
        let good = entries.files.iter().filter(|(_, entry)| entry.is_good());
        let planned = good.filter_map(|(file, entry)| {
            let table = entry.table.clone()?;
            Some(Planned { file: file.clone(), schedule: table.schedule.clone()?, table })
        });
        planned.collect()
    }

    /// The definitions without a schedule that take the lines of another batch, with their files.
    pub(super) fn followers(&self) -> Vec<(PathBuf, Timetable)> {
        let entries = self.lock();
        let good = entries.files.iter().filter(|(_, entry)| entry.is_good());
        let tables = good.filter_map(|(file, entry)| Some((file.clone(), entry.table.clone()?)));
        tables.filter(|(_, table)| table.schedule.is_none() && table.is_fed()).collect()
    }

    /// The names of definitions without a schedule.
    pub(super) fn unplanned(&self) -> Vec<String> {
        let entries = self.lock();
        let tables = entries.files.values().filter(|entry| entry.is_good()).filter_map(|entry| entry.table.as_ref());
        tables.filter(|table| table.schedule.is_none()).map(|table| table.name.clone()).collect()
    }

    /// What is here of each definition. While a file is faulty, what was there before: no older content of another service is
    /// to come back for that.
    pub(super) fn contents(&self) -> Vec<DefinitionContent> {
        let entries = self.lock();
        let known = entries.files.values().filter(|entry| entry.clash.is_none());
        let contents = known.filter_map(|entry| {
            let table = entry.table.as_ref()?;
            Some(DefinitionContent {
                definition: table.name.clone(),
                content: entry.content.clone(),
                is_scheduled: table.schedule.is_some(),
            })
        });
        contents.collect()
    }

    /// The definitions that start nothing because of a fault: by name or, if that is unknown, by file.
    pub(super) fn broken(&self) -> Vec<String> {
        let entries = self.lock();
        let broken = entries.files.iter().filter(|(_, entry)| !entry.is_good());
        let name = |(file, entry): (&PathBuf, &FolderEntry)| entry.name().map_or_else(|| stem(file), str::to_owned);
        broken.map(name).collect()
    }

    /// Reads changed files, and returns the changes.
    pub(super) fn look(&self, now: Timestamp) -> Vec<Scheduling> {
        let mut entries = self.lock();
        let mut said = Vec::new();
        let mut there = BTreeMap::new();
        for file in distinct(self.list(&mut entries, &mut said)) {
            // A file that has just been removed does not count.
            if let Ok(meta) = file.metadata() {
                there.insert(file, Stamp::of(&meta));
            }
        }
        let before = said.len();
        let gone: Vec<PathBuf> = entries.files.keys().filter(|file| !there.contains_key(*file)).cloned().collect();
        for file in gone {
            let definition = entries.files.remove(&file).and_then(|entry| entry.table).map(|table| table.name);
            said.push(Scheduling::Gone { definition, file });
        }
        for (file, stamp) in there {
            let known = entries.files.get(&file);
            // A faulty definition is read again even if unchanged: a file that it needs may have arrived.
            if known.is_some_and(|entry| entry.stamp == stamp && entry.broken.is_none()) {
                continue;
            }
            let (entry, what) = reread((&file, stamp), &self.tasks, known, now);
            entries.files.insert(file, entry);
            said.extend(what);
        }
        if said.len() > before {
            said.extend(clashes(&mut entries.files, now));
        }
        said
    }

    /// The present files. For a folder that cannot be read now, the files known before.
    fn list(&self, entries: &mut FolderEntries, said: &mut Vec<Scheduling>) -> Vec<PathBuf> {
        let mut files = Vec::new();
        for dir in &self.dirs {
            match definitions_in(dir) {
                Ok(found) => {
                    files.extend(found);
                    if entries.dirs.remove(dir).is_some() {
                        said.push(Scheduling::Mended { definition: dir.display().to_string(), file: dir.clone() });
                    }
                }
                Err(e) => {
                    files.extend(entries.files.keys().filter(|file| file.parent() == Some(dir)).cloned());
                    let message = format!("the folder of definitions cannot be read: {e}");
                    if entries.dirs.insert(dir.clone(), message.clone()).as_ref() != Some(&message) {
                        let faults = Fault::of_file(dir.display().to_string(), message).into();
                        said.push(Scheduling::Broken { file: dir.clone(), faults });
                    }
                }
            }
        }
        files
    }
}

impl FolderEntry {
    fn name(&self) -> Option<&str> {
        self.table.as_ref().map(|table| table.name.as_str())
    }

    const fn is_good(&self) -> bool {
        self.broken.is_none() && self.clash.is_none()
    }
}

fn stem(file: &Path) -> String {
    file.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

/// Reads one file, and returns what has changed.
fn reread(
    (file, stamp): (&Path, Stamp),
    tasks: &Tasks<dyn DefinitionTask>,
    known: Option<&FolderEntry>,
    now: Timestamp,
) -> (FolderEntry, Option<Scheduling>) {
    let was_broken = known.and_then(|entry| entry.broken.as_ref());
    let clash = known.and_then(|entry| entry.clash.clone());
    // Before it is read: if it changes meanwhile, its stamp does as well, and it is read again.
    let content = content_of(file).unwrap_or_default();
    match read(file, tasks, now) {
        Ok(table) => {
            let (definition, scheduled) = (table.name.clone(), table.schedule.is_some());
            let file = file.to_owned();
            let what = match (known, was_broken) {
                (None, _) => Scheduling::Found { definition, file, scheduled },
                (Some(_), None) => Scheduling::Changed { definition, file, scheduled },
                (Some(_), Some(_)) => Scheduling::Mended { definition, file },
            };
            (FolderEntry { stamp, content, table: Some(table), broken: None, clash }, Some(what))
        }
        Err(faults) => {
            let new = was_broken.is_none_or(|was| *was != faults);
            let what = new.then(|| Scheduling::Broken { file: file.to_owned(), faults: faults.clone() });
            let table = known.and_then(|entry| entry.table.clone());
            let content = known.map_or(content, |entry| entry.content.clone());
            (FolderEntry { stamp, content, table, broken: Some(faults), clash }, what)
        }
    }
}

/// The schedule of a file without faults. The manifest may not exist yet.
fn read(file: &Path, tasks: &Tasks<dyn DefinitionTask>, now: Timestamp) -> Result<Timetable, Faults> {
    let at = |now| Overrides { now: Some(now), ..Overrides::default() };
    // If the file itself is faulty, all of its faults are reported.
    let all = |faults| Definition::load(file, tasks, &at(now)).err().unwrap_or(faults);
    let table = Timetable::read(file, tasks, &at(now)).map_err(all)?;
    let next = table.schedule.as_ref().and_then(|schedule| schedule.next(now));
    match Definition::load(file, tasks, &at(next.map_or(now, |run| run.at))) {
        Err(faults) if !faults.list.iter().all(|fault| fault.is_of_field("manifest")) => Err(faults),
        _ => Ok(table),
    }
}

/// Finds definitions with the same name or the same batch names. Of two, the one whose file name sorts later starts
/// nothing.
fn clashes(files: &mut BTreeMap<PathBuf, FolderEntry>, now: Timestamp) -> Vec<Scheduling> {
    let (mut names, mut batches) = (BTreeMap::new(), BTreeMap::new());
    let mut said = Vec::new();
    let good = files.iter_mut().filter(|(_, entry)| entry.broken.is_none());
    let mut good: Vec<_> = good.filter_map(|(file, entry)| Some((file, entry.table.clone()?, entry))).collect();
    // Definitions without a schedule come last.
    good.sort_by_key(|(file, table, _)| (table.schedule.is_none(), file.file_name().map(ToOwned::to_owned), *file));
    for (file, table, entry) in good {
        let shown = file.display().to_string();
        let schedule = table.schedule.as_ref();
        let ahead = schedule.map(|schedule| names_ahead(&table, schedule, now)).unwrap_or_default();
        let same = names.get(&table.name).map(|other: &String| {
            format!(
                "`{}` is the name of {other}, too; give this one a name of its own: until then it starts nothing",
                table.name
            )
        });
        let same = same.or_else(|| {
            let (batch, other) = ahead.iter().find_map(|name| batches.get_key_value(name))?;
            let other: &String = other;
            Some(format!(
                "it would make the same batch as {other}, `{batch}`; give its batches names of their own: until then it starts nothing"
            ))
        });
        if same.is_none() {
            names.insert(table.name.clone(), shown.clone());
            batches.extend(ahead.into_iter().map(|name| (name, shown.clone())));
        }
        if entry.clash != same {
            entry.clash.clone_from(&same);
            let definition = table.name.clone();
            said.push(match same {
                Some(why) => Scheduling::Clash { definition, file: file.clone(), why },
                None => Scheduling::Mended { definition, file: file.clone() },
            });
        }
    }
    said
}
