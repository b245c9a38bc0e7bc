//! A directory, a glob or a list of recordings as a manifest: one line per file, recognized by its extension.

use std::{
    collections::{BTreeMap, HashSet},
    io,
    path::{Component, Path, PathBuf},
};

use globset::{GlobBuilder, GlobMatcher};
use sha2::{Digest, Sha256};
use walkdir::{DirEntry, WalkDir};

use super::super::{
    Filters,
    paths::{ending, file_name, io_message, is_audio, is_s3, is_web, percent_decoded, scheme, stem},
    prose::ProseKind,
};
use super::record::{Next, Record};

/// The reason why such links are ignored.
const TO_FOLDER: &str = "symbolic link to a folder";
const LISTED_ALREADY: &str = "symbolic link to what is listed already";

/// Ignored entries by extension (`.txt`) or reason (`hidden`), with their counts.
pub type Ignored = BTreeMap<String, u64>;

/// The files below a directory, in an order that depends on their names alone.
pub(super) struct Listing {
    root: PathBuf,
    pattern: Option<GlobMatcher>,
    filters: Filters,
    walk: walkdir::IntoIter,
    /// The targets of links that lie outside the folder: each real file is a line only once.
    linked: HashSet<PathBuf>,
    position: u64,
    ignored: Ignored,
    hash: Sha256,
}

/// Parses a glob over paths below its root.
pub(in super::super) fn pattern(text: &str) -> Result<GlobMatcher, String> {
    let glob = GlobBuilder::new(text).literal_separator(true).build();
    glob.map(|glob| glob.compile_matcher()).map_err(|e| format!("`{text}` is not a pattern: {}", e.kind()))
}

impl Listing {
    pub(super) fn new(root: &Path, of: Option<&str>, filters: &Filters) -> io::Result<Self> {
        let depth = match of {
            Some(pattern) if !pattern.contains("**") => pattern.split('/').count(),
            _ => usize::MAX,
        };
        Ok(Self {
            root: root.to_path_buf(),
            pattern: of.map(pattern).transpose().map_err(io::Error::other)?,
            filters: filters.clone(),
            walk: WalkDir::new(root).follow_links(true).max_depth(depth).sort_by_file_name().into_iter(),
            linked: HashSet::new(),
            position: 0,
            ignored: Ignored::new(),
            hash: Sha256::new(),
        })
    }

    /// Finds the next recording.
    pub(super) fn next(&mut self, record: &mut Record) -> io::Result<Next> {
        while let Some(entry) = self.walk.next() {
            let (path, size) = match entry {
                Ok(entry) if entry.depth() == 0 => continue,
                Ok(entry) if is_hidden(&entry) => {
                    self.ignore("hidden");
                    if entry.file_type().is_dir() {
                        self.walk.skip_current_dir();
                    }
                    continue;
                }
                Ok(entry) if entry.file_type().is_dir() => {
                    if entry.path_is_symlink()
                        && let Some(why) = self.folder_skip_reason(entry.path())
                    {
                        self.ignore(why);
                        self.walk.skip_current_dir();
                    }
                    continue;
                }
                Ok(entry) if self.is_elsewhere_too(&entry) => {
                    self.ignore(LISTED_ALREADY);
                    continue;
                }
                Ok(entry) => {
                    let size = entry.metadata().map_or(0, |meta| meta.len());
                    (entry.into_path(), size)
                }
                Err(e) => match self.broken_link(&e)? {
                    Some(path) => (path, 0),
                    None => continue,
                },
            };
            if let Some(next) = self.take(&path, size, record) {
                return Ok(next);
            }
        }
        Ok(Next::End)
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

    /// A broken link is a line like any other (its source will be missing). A link to a folder above it is ignored.
    fn broken_link(&mut self, error: &walkdir::Error) -> io::Result<Option<PathBuf>> {
        if error.loop_ancestor().is_some() {
            self.ignore("symbolic link to a folder above it");
            return Ok(None);
        }
        let path = error.path().unwrap_or(&self.root).to_path_buf();
        if path.symlink_metadata().is_ok_and(|meta| meta.is_symlink()) {
            return Ok(Some(path));
        }
        let reason = error.io_error().map_or_else(|| error.to_string(), io_message);
        Err(io::Error::other(format!("`{}` {reason}", path.display())))
    }

    fn take(&mut self, path: &Path, size: u64, record: &mut Record) -> Option<Next> {
        let below = path.strip_prefix(&self.root).unwrap_or(path);
        if self.pattern.as_ref().is_some_and(|pattern| !pattern.is_match(below)) {
            return None;
        }
        let name = below.to_string_lossy();
        if let Some(kind) = passed_over(&name, &self.filters) {
            self.ignore(&kind);
            return None;
        }
        self.position += 1;
        self.hash.update(name.as_bytes());
        self.hash.update([0]);
        self.hash.update(size.to_le_bytes());
        let (Some(path), Some(below)) = (path.to_str(), below.to_str()) else {
            return Some(Next::unreadable(self.position, None, format!("the name `{name}` is not UTF-8")));
        };
        record.start(self.position);
        record.push(path);
        record.push(stem_below(below));
        Some(Next::Line)
    }

    fn ignore(&mut self, kind: &str) {
        count_ignored(&mut self.ignored, kind);
    }

    /// Walks to the end. Returns the hash of names and sizes, and what was ignored.
    pub(super) fn finish(mut self) -> io::Result<([u8; 32], Ignored)> {
        let mut record = Record::default();
        while self.next(&mut record)? != Next::End {}
        Ok((self.hash.finalize().into(), self.ignored))
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

/// A path without the extension of its last part.
pub(super) fn stem_below(path: &str) -> &str {
    let name = file_name(path);
    &path[..path.len() - name.len() + stem(name).len()]
}

/// Recordings named one by one.
pub(super) struct Files {
    files: Vec<String>,
    ignored: Ignored,
    /// The folder that all local paths share.
    root: PathBuf,
    at: usize,
}

impl Files {
    pub(super) fn new(all: &[String]) -> Self {
        let (files, ignored) = once(all);
        let mut parents =
            files.iter().filter(|file| scheme(file).is_none()).filter_map(|file| Path::new(file).parent());
        let first = parents.next().unwrap_or(Path::new("")).to_path_buf();
        let root = parents.fold(first, |root, parent| {
            root.ancestors().find(|above| parent.starts_with(above)).unwrap_or(Path::new("")).to_path_buf()
        });
        Self { files, ignored, root, at: 0 }
    }

    pub(super) fn next(&mut self, record: &mut Record) -> Next {
        let Some(file) = self.files.get(self.at) else { return Next::End };
        self.at += 1;
        record.start(self.at as u64);
        record.push(file);
        if is_web(file) {
            record.push(&percent_decoded(stem(file_name(file))));
        } else if is_s3(file) {
            record.push(stem(file_name(file)));
        } else {
            let below = Path::new(file).strip_prefix(&self.root).ok().and_then(Path::to_str);
            record.push(stem_below(below.unwrap_or(file)));
        }
        Next::Line
    }

    pub(super) fn finish(self) -> ([u8; 32], Ignored) {
        let mut hash = Sha256::new();
        for file in &self.files {
            hash.update(file.as_bytes());
            hash.update([0]);
            hash.update(std::fs::metadata(file).map_or(0, |meta| meta.len()).to_le_bytes());
        }
        (hash.finalize().into(), self.ignored)
    }
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

    fn keys(mut listing: Listing) -> (Vec<String>, Ignored) {
        let mut record = Record::default();
        let mut keys = Vec::new();
        while listing.next(&mut record).unwrap() == Next::Line {
            assert!(Path::new(record.cell(0)).is_absolute());
            keys.push(record.cell(1).to_owned());
        }
        (keys, listing.finish().unwrap().1)
    }

    #[test]
    fn audio_is_listed_by_name_and_the_rest_counted() {
        let dir = tree(&["b/2.WAV", "b/1.mp3", "a.v2.flac", "note.txt", "x.TXT", "README", "._a.wav", ".git/h.wav"]);
        let (keys, ignored) = keys(Listing::new(dir.path(), None, &Filters::default()).unwrap());
        assert_eq!(keys, ["a.v2", "b/1", "b/2"]);
        let ignored: Vec<_> = ignored.iter().map(|(kind, count)| (kind.as_str(), *count)).collect();
        assert_eq!(ignored, [(".txt", 2), ("hidden", 2), ("no ending", 1)]);
    }

    #[test]
    fn a_glob_stays_within_its_folders() {
        let dir = tree(&["a/1.wav", "a/b/2.wav", "3.wav", "a/n.txt"]);
        let all = |of: &str| keys(Listing::new(dir.path(), Some(of), &Filters::default()).unwrap()).0;
        assert_eq!(all("*.wav"), ["3"]);
        assert_eq!(all("*/*.wav"), ["a/1"]);
        assert_eq!(all("**/*.wav"), ["3", "a/1", "a/b/2"]);
    }

    #[cfg(unix)]
    #[test]
    fn links_in_a_circle_end_and_links_to_nothing_are_lines() {
        let dir = tree(&["a/1.wav"]);
        std::os::unix::fs::symlink(dir.path(), dir.path().join("a/up")).unwrap();
        std::os::unix::fs::symlink("/nowhere", dir.path().join("gone.wav")).unwrap();
        let (keys, ignored) = keys(Listing::new(dir.path(), None, &Filters::default()).unwrap());
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
        let list = |of: Option<&str>, follow_links| {
            keys(Listing::new(&root, of, &Filters { follow_links, ..Filters::default() }).unwrap())
        };
        let (found, ignored) = list(None, false);
        assert_eq!(found, ["20/1", "20/2", "nine", "seven"]);
        assert_eq!((ignored[TO_FOLDER], ignored[LISTED_ALREADY]), (3, 2));
        let (mut found, ignored) = list(None, true);
        found.sort();
        assert_eq!(found, ["20/1", "20/2", "nine", "seven", "x/8"]);
        assert_eq!((ignored.get(TO_FOLDER), ignored[LISTED_ALREADY]), (None, 5));
        // If the real file is not a line, the link is.
        assert_eq!(list(Some("*.wav"), false).0, ["a", "nine", "seven"]);
    }

    #[cfg(unix)]
    #[test]
    fn of_files_named_one_by_one_links_to_others_are_left_out() {
        let dir = tree(&["1.wav", "2.wav"]);
        std::os::unix::fs::symlink("2.wav", dir.path().join("latest.wav")).unwrap();
        std::os::unix::fs::symlink("/nowhere", dir.path().join("gone.wav")).unwrap();
        let all =
            ["1.wav", "latest.wav", "2.wav", "gone.wav"].map(|name| dir.path().join(name).to_str().unwrap().to_owned());
        let mut files = Files::new(&all);
        let mut record = Record::default();
        let mut keys = Vec::new();
        while files.next(&mut record) == Next::Line {
            keys.push(record.cell(1).to_owned());
        }
        assert_eq!(keys, ["1", "2", "gone"]);
        assert_eq!(files.finish().1[LISTED_ALREADY], 1);
    }

    #[test]
    fn files_are_named_below_what_they_share() {
        let files = ["/m/a/1.wav", "/m/b/2.wav", "https://x.org/c%20d.wav?s=1", "s3://b/x/c%20d.v2.wav"];
        let mut files = Files::new(&files.map(str::to_owned));
        let mut record = Record::default();
        let mut keys = Vec::new();
        while files.next(&mut record) == Next::Line {
            keys.push(record.cell(1).to_owned());
        }
        assert_eq!(keys, ["a/1", "b/2", "c d", "c%20d.v2"]);
    }
}
