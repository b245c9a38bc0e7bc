//! A directory, a glob or a list of recordings as a manifest: one line per file, recognized by its extension.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashSet},
    fs::Metadata,
    io,
    path::{Component, Path, PathBuf},
    sync::{Arc, OnceLock},
    time::{Duration, SystemTime},
};

use globset::{GlobBuilder, GlobMatcher};
use sha2::{Digest, Sha256};
use walkdir::{DirEntry, WalkDir};

use super::super::{
    Filters,
    paths::{
        ending, file_name, io_message, is_audio, is_s3, is_web, key_of_path, natural_order, percent_decoded, scheme,
        stem,
    },
    prose::ProseKind,
};
use super::record::{Next, Record};
use crate::domain::span;

/// The reason why such links are ignored.
const TO_FOLDER: &str = "symbolic link to a folder";
const LISTED_ALREADY: &str = "symbolic link to what is listed already";
const VANISHED: &str = "removed or renamed while the folder was listed";

/// Ignored entries by extension (`.txt`) or reason (`hidden`), with their counts.
pub type Ignored = BTreeMap<String, u64>;

/// Parses a glob over paths below its root.
pub(in super::super) fn pattern(text: &str) -> Result<GlobMatcher, String> {
    let glob = GlobBuilder::new(text).literal_separator(true).build();
    glob.map(|glob| glob.compile_matcher()).map_err(|e| format!("`{text}` is not a pattern: {}", e.kind()))
}

/// What is to be listed.
#[derive(Debug)]
pub(super) enum Wanted {
    /// The files below a directory, for a glob only those that match its pattern.
    Below { root: PathBuf, pattern: Option<String>, filters: Filters },
    /// Recordings named one by one.
    Named { files: Vec<String>, settle: Option<Duration> },
}

/// A listing of local files, which is made when it is first needed.
#[derive(Debug)]
pub(super) struct Lister {
    wanted: Wanted,
    found: OnceLock<Arc<FoundFiles>>,
}

impl Lister {
    pub(super) const fn new(wanted: Wanted) -> Self {
        Self { wanted, found: OnceLock::new() }
    }

    /// Whether the files are named one by one.
    pub(super) const fn is_named(&self) -> bool {
        matches!(self.wanted, Wanted::Named { .. })
    }

    /// The files as they were found at the first call.
    pub(super) fn found(&self) -> io::Result<&Arc<FoundFiles>> {
        if let Some(found) = self.found.get() {
            return Ok(found);
        }
        let found = match &self.wanted {
            Wanted::Below { root, pattern, filters } => Walk::new(root, pattern.as_deref(), filters)?.find_all()?,
            Wanted::Named { files, settle } => named(files, *settle),
        };
        Ok(self.found.get_or_init(|| Arc::new(found)))
    }
}

/// The files of a listing. They are found once, and every reading takes the same ones: a folder may change at any time.
pub(super) struct FoundFiles {
    /// What stands before each name: the root and a `/`, or nothing.
    prefix: String,
    /// The folder that the files share, where they are named one by one.
    shared: PathBuf,
    /// All names, one after the other.
    names: String,
    files: Vec<FoundFile>,
    ignored: Ignored,
    hash: Sha256,
}

#[derive(Debug, Clone, Copy)]
struct FoundFile {
    /// Where its name ends.
    end: usize,
    is_utf8: bool,
}

impl FoundFiles {
    fn new(prefix: String) -> Self {
        let (shared, names, files, ignored, hash) = Default::default();
        Self { prefix, shared, names, files, ignored, hash }
    }

    fn add(&mut self, name: &str, is_utf8: bool, bytes: u64) {
        for part in [name.as_bytes(), &[0], &bytes.to_le_bytes()] {
            self.hash.update(part);
        }
        self.names.push_str(name);
        self.files.push(FoundFile { end: self.names.len(), is_utf8 });
    }

    fn ignore(&mut self, kind: &str) {
        count_ignored(&mut self.ignored, kind);
    }

    /// The file at this position, from 1.
    fn file(&self, position: u64) -> Option<(&str, bool)> {
        let at = usize::try_from(position).ok()?.checked_sub(1)?;
        let file = self.files.get(at)?;
        let start = if at == 0 { 0 } else { self.files[at - 1].end };
        Some((&self.names[start..file.end], file.is_utf8))
    }

    /// The path or address of the file at this position, from 1.
    pub(super) fn path(&self, position: u64) -> Option<String> {
        self.file(position).map(|(name, _)| format!("{}{name}", self.prefix))
    }

    /// Reads the file at this position, from 1.
    pub(super) fn read(&self, position: u64, record: &mut Record) -> Next {
        let Some((name, is_utf8)) = self.file(position) else { return Next::End };
        if !is_utf8 {
            return Next::unreadable(position, None, format!("the name `{name}` is not UTF-8"));
        }
        record.start(position);
        record.push_all(&[&self.prefix, name]);
        record.push(&self.key(name));
        Next::Line
    }

    fn key<'n>(&self, name: &'n str) -> Cow<'n, str> {
        if !self.prefix.is_empty() {
            return key_of_path(name);
        }
        if is_web(name) {
            return percent_decoded(stem(file_name(name))).into();
        }
        if is_s3(name) {
            return stem(file_name(name)).into();
        }
        let below = Path::new(name).strip_prefix(&self.shared).ok().and_then(Path::to_str);
        key_of_path(below.unwrap_or(name))
    }

    /// The hash of names and sizes, and what was ignored.
    pub(super) fn finish(&self) -> ([u8; 32], Ignored) {
        (self.hash.clone().finalize().into(), self.ignored.clone())
    }
}

impl std::fmt::Debug for FoundFiles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FoundFiles").field("files", &self.files.len()).finish_non_exhaustive()
    }
}

/// The files below a directory, in an order that depends on their names alone: as people count, `2` before `10`.
struct Walk {
    root: PathBuf,
    pattern: Option<GlobMatcher>,
    filters: Filters,
    walk: walkdir::IntoIter,
    /// The targets of links that lie outside the folder: each real file is a line only once.
    linked: HashSet<PathBuf>,
    began: SystemTime,
    found: FoundFiles,
}

impl Walk {
    fn new(root: &Path, of: Option<&str>, filters: &Filters) -> io::Result<Self> {
        let depth = match of {
            Some(pattern) if !pattern.contains("**") => pattern.split('/').count(),
            _ => usize::MAX,
        };
        let by_name = |a: &DirEntry, b: &DirEntry| {
            natural_order(a.file_name().as_encoded_bytes(), b.file_name().as_encoded_bytes())
        };
        let prefix = root.to_str().ok_or_else(|| io::Error::other("the manifest's path is not UTF-8"))?;
        Ok(Self {
            root: root.to_path_buf(),
            pattern: of.map(pattern).transpose().map_err(io::Error::other)?,
            filters: filters.clone(),
            walk: WalkDir::new(root).follow_links(true).max_depth(depth).sort_by(by_name).into_iter(),
            linked: HashSet::new(),
            began: SystemTime::now(),
            found: FoundFiles::new(format!("{}/", prefix.trim_end_matches('/'))),
        })
    }

    /// Walks to the end.
    fn find_all(mut self) -> io::Result<FoundFiles> {
        while let Some(entry) = self.walk.next() {
            match entry {
                Ok(entry) if entry.depth() == 0 => {}
                Ok(entry) if is_hidden(&entry) => {
                    self.found.ignore("hidden");
                    if entry.file_type().is_dir() {
                        self.walk.skip_current_dir();
                    }
                }
                Ok(entry) if entry.file_type().is_dir() => {
                    if entry.path_is_symlink()
                        && let Some(why) = self.folder_skip_reason(entry.path())
                    {
                        self.found.ignore(why);
                        self.walk.skip_current_dir();
                    }
                }
                Ok(entry) if self.is_elsewhere_too(&entry) => self.found.ignore(LISTED_ALREADY),
                Ok(entry) => match entry.metadata() {
                    Ok(meta) => self.take(entry.path(), meta.len(), apart(&meta, self.began)),
                    Err(_) => self.take(entry.path(), 0, None),
                },
                Err(e) => {
                    if let Some(path) = self.broken_link(&e)? {
                        self.take(&path, 0, None);
                    }
                }
            }
        }
        Ok(self.found)
    }

    /// The reason why a link to a folder is not followed; `None` if it is followed.
    fn folder_skip_reason(&mut self, link: &Path) -> Option<&'static str> {
        if !self.filters.follow_links {
            return Some(TO_FOLDER);
        }
        let real = link.canonicalize().ok()?;
        // A target below the listed folder is found at its own place, unless that place is hidden.
        let below = real.strip_prefix(&self.root).ok();
        let met = below.is_some_and(|below| !below.components().any(is_hidden_part));
        (met || !self.linked.insert(real)).then_some(LISTED_ALREADY)
    }

    /// Whether the real path of a file is or was a line of its own.
    fn is_elsewhere_too(&mut self, entry: &DirEntry) -> bool {
        if !entry.path_is_symlink() && self.linked.is_empty() {
            return false;
        }
        let Ok(real) = entry.path().canonicalize() else { return false };
        if real == entry.path() {
            return self.linked.contains(&real);
        }
        if let Ok(below) = real.strip_prefix(&self.root)
            && self.lists(below)
        {
            return true;
        }
        // Other files are ignored by their own name.
        let below = entry.path().strip_prefix(&self.root).unwrap_or(entry.path());
        self.lists(below) && !self.linked.insert(real)
    }

    /// Whether a real file at this path below the folder is a line.
    fn lists(&self, below: &Path) -> bool {
        let matches = self.pattern.as_ref().is_none_or(|pattern| pattern.is_match(below));
        matches
            && !below.components().any(is_hidden_part)
            && passed_over(&below.to_string_lossy(), &self.filters).is_none()
    }

    /// A broken link is a line like any other (its source will be missing). A link to a folder above it is ignored, and so is
    /// what has vanished since its folder was read.
    fn broken_link(&mut self, error: &walkdir::Error) -> io::Result<Option<PathBuf>> {
        if error.loop_ancestor().is_some() {
            self.found.ignore("symbolic link to a folder above it");
            return Ok(None);
        }
        let path = error.path().unwrap_or(&self.root).to_path_buf();
        if path.symlink_metadata().is_ok_and(|meta| meta.is_symlink()) {
            return Ok(Some(path));
        }
        // It may be there again by now.
        let has_vanished = error
            .io_error()
            .map(io::Error::kind)
            .is_some_and(|kind| matches!(kind, io::ErrorKind::NotFound | io::ErrorKind::NotADirectory));
        if error.depth() > 0 && has_vanished {
            self.found.ignore(VANISHED);
            return Ok(None);
        }
        let reason = error.io_error().map_or_else(|| error.to_string(), io_message);
        Err(io::Error::other(format!("`{}` {reason}", path.display())))
    }

    fn take(&mut self, path: &Path, bytes: u64, apart: Option<Duration>) {
        let below = path.strip_prefix(&self.root).unwrap_or(path);
        if self.pattern.as_ref().is_some_and(|pattern| !pattern.is_match(below)) {
            return;
        }
        let name = below.to_string_lossy();
        if let Some(kind) = passed_over(&name, &self.filters) {
            self.found.ignore(&kind);
        } else if let Some(kind) = unsettled(self.filters.settle, apart) {
            self.found.ignore(&kind);
        } else {
            self.found.add(&name, below.to_str().is_some(), bytes);
        }
    }
}

fn is_hidden_part(part: Component<'_>) -> bool {
    part.as_os_str().as_encoded_bytes().starts_with(b".")
}

/// The reason why a file with this path below the root is ignored, if it is.
pub(super) fn passed_over(below: &str, filters: &Filters) -> Option<String> {
    let name = file_name(below);
    let is_wanted = if filters.texts { ProseKind::of_path(name).is_some() } else { is_audio(name) };
    if !is_wanted {
        return Some(ending(name).map_or_else(|| "no ending".to_owned(), |ending| format!(".{ending}")));
    }
    let left_out = filters.include.as_ref().is_some_and(|include| !include.is_match(below))
        || filters.exclude.as_ref().is_some_and(|exclude| exclude.is_match(below));
    left_out.then(|| "left out by include or exclude".to_owned())
}

/// The reason why a file is ignored that was changed so little time ago.
pub(super) fn unsettled(settle: Option<Duration>, apart: Option<Duration>) -> Option<String> {
    let (settle, apart) = (settle?, apart?);
    (apart < settle).then(|| format!("changed less than {} ago (settle)", span::in_words(settle)))
}

/// The time between a file's last change and now. A time far in the future comes from a wrong clock, and the file is settled.
fn apart(meta: &Metadata, now: SystemTime) -> Option<Duration> {
    let modified = meta.modified().ok()?;
    Some(now.duration_since(modified).unwrap_or_else(|ahead| ahead.duration()))
}

/// Counts ignored entries. Beyond a limit of kinds (for example numeric extensions), the rest is counted together.
pub(super) fn count_ignored(ignored: &mut Ignored, kind: &str) {
    const KINDS: usize = 100;
    if let Some(count) = ignored.get_mut(kind) {
        *count += 1;
    } else {
        let kind = if ignored.len() < KINDS { kind } else { "other endings" };
        *ignored.entry(kind.to_owned()).or_default() += 1;
    }
}

/// Other systems leave their own files beside recordings: `._call.wav`, `.DS_Store`.
fn is_hidden(entry: &DirEntry) -> bool {
    entry.file_name().as_encoded_bytes().starts_with(b".")
}

/// Recordings named one by one, in the order in which they are named.
fn named(all: &[String], settle: Option<Duration>) -> FoundFiles {
    let (files, ignored) = once(all);
    let mut parents = files.iter().filter(|file| scheme(file).is_none()).filter_map(|file| Path::new(file).parent());
    let first = parents.next().unwrap_or(Path::new("")).to_path_buf();
    let shared = parents.fold(first, |root, parent| {
        root.ancestors().find(|above| parent.starts_with(above)).unwrap_or(Path::new("")).to_path_buf()
    });
    let mut found = FoundFiles { shared, ignored, ..FoundFiles::new(String::new()) };
    let began = SystemTime::now();
    for file in &files {
        let meta = std::fs::metadata(file).ok();
        match unsettled(settle, meta.as_ref().and_then(|meta| apart(meta, began))) {
            Some(kind) => found.ignore(&kind),
            None => found.add(file, true, meta.map_or(0, |meta| meta.len())),
        }
    }
    found
}

/// The files without links to others of them, and the number of such links.
fn once(all: &[String]) -> (Vec<String>, Ignored) {
    let is_link = |file: &&String| Path::new(file).symlink_metadata().is_ok_and(|meta| meta.is_symlink());
    if !all.iter().any(|file| is_link(&file)) {
        return (all.to_vec(), Ignored::new());
    }
    let real = |file: &String| Path::new(file).canonicalize().ok();
    let mut seen: HashSet<PathBuf> = all.iter().filter(|file| !is_link(file)).filter_map(real).collect();
    let mut ignored = Ignored::new();
    let files = all.iter().filter(|file| {
        let taken = !is_link(file) || real(file).is_none_or(|real| seen.insert(real));
        if !taken {
            count_ignored(&mut ignored, LISTED_ALREADY);
        }
        taken
    });
    (files.cloned().collect(), ignored)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn tree(files: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for file in files {
            let path = dir.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "x").unwrap();
        }
        dir
    }

    fn keys_of(found: &FoundFiles) -> Vec<String> {
        let mut record = Record::default();
        let mut keys = Vec::new();
        while found.read(keys.len() as u64 + 1, &mut record) == Next::Line {
            assert_eq!(found.path(record.number).as_deref(), Some(record.cell(0)));
            keys.push(record.cell(1).to_owned());
        }
        keys
    }

    fn list(root: &Path, of: Option<&str>, filters: &Filters) -> FoundFiles {
        Walk::new(root, of, filters).unwrap().find_all().unwrap()
    }

    fn keys(found: FoundFiles) -> (Vec<String>, Ignored) {
        (keys_of(&found), found.finish().1)
    }

    #[test]
    fn audio_is_listed_by_name_and_the_rest_counted() {
        let dir = tree(&["b/2.WAV", "b/1.mp3", "a.v2.flac", "note.txt", "x.TXT", "README", "._a.wav", ".git/h.wav"]);
        let (keys, ignored) = keys(list(dir.path(), None, &Filters::default()));
        assert_eq!(keys, ["a.v2", "b/1", "b/2"]);
        let ignored: Vec<_> = ignored.iter().map(|(kind, count)| (kind.as_str(), *count)).collect();
        assert_eq!(ignored, [(".txt", 2), ("hidden", 2), ("no ending", 1)]);
    }

    #[test]
    fn a_glob_stays_within_its_folders() {
        let dir = tree(&["a/1.wav", "a/b/2.wav", "3.wav", "a/n.txt"]);
        let all = |of: &str| keys(list(dir.path(), Some(of), &Filters::default())).0;
        assert_eq!(all("*.wav"), ["3"]);
        assert_eq!(all("*/*.wav"), ["a/1"]);
        assert_eq!(all("**/*.wav"), ["3", "a/1", "a/b/2"]);
    }

    #[test]
    fn what_changed_lately_is_left_out_and_counted() {
        let dir = tree(&["old.wav", "new.wav", "new.txt", "future.wav", "a/new.wav"]);
        let now = SystemTime::now();
        let touch = |name: &str, at: SystemTime| {
            fs::File::options().write(true).open(dir.path().join(name)).unwrap().set_modified(at).unwrap();
        };
        touch("old.wav", now - Duration::from_secs(31));
        touch("future.wav", now + Duration::from_secs(3_600));
        let filters = Filters { settle: Some(Duration::from_secs(30)), ..Filters::default() };
        let (found, ignored) = keys(list(dir.path(), None, &filters));
        assert_eq!(found, ["future", "old"]);
        let ignored: Vec<_> = ignored.iter().map(|(kind, count)| (kind.as_str(), *count)).collect();
        assert_eq!(ignored, [(".txt", 1), ("changed less than 30 s ago (settle)", 2)]);
        let all = ["old.wav", "new.wav"].map(|name| dir.path().join(name).to_str().unwrap().to_owned());
        let (named, ignored) = keys(named(&all, filters.settle));
        assert_eq!((named, ignored.values().sum::<u64>()), (vec!["old".to_owned()], 1));
    }

    #[test]
    fn a_folders_files_are_in_the_order_in_which_people_count() {
        let dir = tree(&[
            "chapter-10.wav",
            "chapter-2.wav",
            "chapter-1.wav",
            "part 10/2.wav",
            "part 9/10.wav",
            "part 9/9.wav",
        ]);
        let found = list(dir.path(), None, &Filters::default());
        let (keys, _) = keys(list(dir.path(), None, &Filters::default()));
        assert_eq!(keys, ["chapter-1", "chapter-2", "chapter-10", "part 9/9", "part 9/10", "part 10/2"]);
        assert_eq!(found.finish().0, list(dir.path(), None, &Filters::default()).finish().0);
    }

    #[cfg(unix)]
    #[test]
    fn links_in_a_circle_end_and_links_to_nothing_are_lines() {
        let dir = tree(&["a/1.wav"]);
        std::os::unix::fs::symlink(dir.path(), dir.path().join("a/up")).unwrap();
        std::os::unix::fs::symlink("/nowhere", dir.path().join("gone.wav")).unwrap();
        let (keys, ignored) = keys(list(dir.path(), None, &Filters::default()));
        assert_eq!(keys, ["a/1", "gone"]);
        assert_eq!(ignored["symbolic link to a folder above it"], 1);
    }

    #[cfg(unix)]
    #[test]
    fn each_real_file_is_a_line_once() {
        use std::os::unix::fs::symlink;
        let outside = tree(&["day/7.wav", "day/8.wav"]);
        let dir = tree(&["20/1.wav", "20/2.wav", "20/n.txt", ".old/9.wav"]);
        let at = |name: &str| dir.path().join(name);
        symlink("20", at("latest")).unwrap();
        symlink("20/2.wav", at("a.wav")).unwrap();
        symlink(outside.path().join("day"), at("x")).unwrap();
        symlink(outside.path().join("day"), at("y")).unwrap();
        symlink(outside.path().join("day/7.wav"), at("seven.wav")).unwrap();
        symlink(outside.path().join("day/7.wav"), at("siete.wav")).unwrap();
        symlink(at(".old/9.wav"), at("nine.wav")).unwrap();
        let root = dir.path().canonicalize().unwrap();
        let listed =
            |of: Option<&str>, follow_links| keys(list(&root, of, &Filters { follow_links, ..Filters::default() }));
        let (found, ignored) = listed(None, false);
        assert_eq!(found, ["20/1", "20/2", "nine", "seven"]);
        assert_eq!((ignored[TO_FOLDER], ignored[LISTED_ALREADY]), (3, 2));
        let (mut found, ignored) = listed(None, true);
        found.sort();
        assert_eq!(found, ["20/1", "20/2", "nine", "seven", "x/8"]);
        assert_eq!((ignored.get(TO_FOLDER), ignored[LISTED_ALREADY]), (None, 5));
        // If the real file is not a line, the link is.
        assert_eq!(listed(Some("*.wav"), false).0, ["a", "nine", "seven"]);
    }

    #[cfg(unix)]
    #[test]
    fn of_files_named_one_by_one_links_to_others_are_left_out() {
        let dir = tree(&["1.wav", "2.wav"]);
        std::os::unix::fs::symlink("2.wav", dir.path().join("latest.wav")).unwrap();
        std::os::unix::fs::symlink("/nowhere", dir.path().join("gone.wav")).unwrap();
        let all =
            ["1.wav", "latest.wav", "2.wav", "gone.wav"].map(|name| dir.path().join(name).to_str().unwrap().to_owned());
        let (keys, ignored) = keys(named(&all, None));
        assert_eq!(keys, ["1", "2", "gone"]);
        assert_eq!(ignored[LISTED_ALREADY], 1);
    }

    #[test]
    fn files_are_named_below_what_they_share() {
        let files = ["/m/a/1.wav", "/m/b/2.wav", "https://x.org/c%20d.wav?s=1", "s3://b/x/c%20d.v2.wav"];
        assert_eq!(keys_of(&named(&files.map(str::to_owned), None)), ["a/1", "b/2", "c d", "c%20d.v2"]);
    }
}
