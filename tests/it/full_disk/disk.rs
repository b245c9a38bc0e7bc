//! A disk of a few kilobytes.

use std::{
    fs::{self, OpenOptions},
    io::{BufRead, BufReader, ErrorKind, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

const PAGE: usize = 4_096;

/// A file system in memory, mounted where nobody else sees it: in a namespace of a process that ends with this one, so that
/// nothing is left behind. It is reached through that process's root.
pub struct Disk {
    holder: Child,
    root: PathBuf,
    folder: tempfile::TempDir,
    /// How its namespace is entered.
    way: &'static [&'static str],
}

impl Disk {
    /// None where mounting is refused, as in a container without rights; that is told.
    #[expect(clippy::print_stderr, reason = "what is not tested is told")]
    pub fn of_kib(kib: u32) -> Option<Self> {
        let ways: [&'static [&'static str]; 2] = [&["--mount"], &["--user", "--map-root-user", "--mount"]];
        let disk = ways.into_iter().find_map(|way| Self::mounted(way, kib));
        if disk.is_none() {
            eprintln!("not tested here: neither root nor a user's own namespace may mount a small disk");
        }
        disk
    }

    fn mounted(way: &'static [&'static str], kib: u32) -> Option<Self> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let script = format!("mount -t tmpfs -o size={kib}k,mode=700 none \"$0\" && echo mounted && exec cat");
        let mut holder = Command::new("unshare")
            .args(way)
            .args(["sh", "-c", &script])
            .arg(folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let mut said = String::new();
        let _ = BufReader::new(holder.stdout.take().expect("it is piped")).read_line(&mut said);
        let root = PathBuf::from(format!("/proc/{}/root{}", holder.id(), folder.path().display()));
        let disk = Self { holder, root, folder, way };
        (said == "mounted\n" && fs::write(disk.filler(), "").is_ok()).then_some(disk)
    }

    pub fn path(&self) -> &Path {
        &self.root
    }

    /// Where it is for who has entered its namespace.
    pub fn inside(&self) -> &Path {
        self.folder.path()
    }

    /// A program that sees it there, begun in the folder `at`.
    pub fn enter(&self, at: &Path, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        // Who is not root enters its own namespace as whom it is.
        let own = self.way.iter().map(|flag| if *flag == "--map-root-user" { "--preserve-credentials" } else { flag });
        command.args(own).args(["--target", &self.holder.id().to_string()]);
        command.args(["sh", "-c", "cd \"$0\" && exec \"$@\""]).arg(at).arg(program);
        command
    }

    fn filler(&self) -> PathBuf {
        self.root.join("filler")
    }

    /// Takes all the room that is left.
    pub fn fill(&self) {
        let mut filler = OpenOptions::new().append(true).open(self.filler()).expect("a file");
        loop {
            match filler.write_all(&[7; PAGE]) {
                Ok(()) => {}
                Err(e) if e.kind() == ErrorKind::StorageFull => break,
                Err(e) => panic!("{e}"),
            }
        }
    }

    /// Takes all but so many bytes.
    pub fn fill_but(&self, bytes: usize) {
        self.fill();
        let filler = OpenOptions::new().write(true).open(self.filler()).expect("a file");
        let taken = filler.metadata().expect("a file").len();
        filler.set_len(taken - bytes.next_multiple_of(PAGE) as u64).expect("room is given back");
    }

    /// Gives the room back.
    pub fn empty(&self) {
        fs::write(self.filler(), "").expect("a file");
    }

    /// What lies there, by path.
    pub fn files(&self) -> Vec<PathBuf> {
        let files = walkdir::WalkDir::new(&self.root).into_iter().map(|entry| entry.expect("a folder"));
        let files = files.filter(|entry| entry.file_type().is_file()).map(|entry| entry.path().to_owned());
        files.filter(|path| *path != self.filler()).collect()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}
