//! A terminal that a test looks at, and can take away.

use std::{
    fs::{File, OpenOptions},
    io::Read,
    process::{Child, Command, ExitStatus},
    thread::JoinHandle,
};

use rustix::{
    io::{FdFlags, fcntl_setfd},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{Winsize, tcsetwinsize},
};

/// A terminal of 200 columns.
pub struct Pty {
    /// What a user looks at. The terminal has gone when this is dropped.
    pub user: File,
    slave: File,
}

impl Pty {
    pub fn open() -> Self {
        let user = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
        // Else each program would hold the user's end, and never find it gone.
        fcntl_setfd(&user, FdFlags::CLOEXEC).expect("a descriptor");
        grantpt(&user).expect("a terminal of ours");
        unlockpt(&user).expect("a terminal to be opened");
        let name = ptsname(&user, Vec::new()).expect("its name").into_string().expect("ASCII");
        let slave = OpenOptions::new().read(true).write(true).open(name).expect("its other end");
        let size = Winsize { ws_row: 50, ws_col: 200, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&slave, size).expect("a size");
        Self { user: user.into(), slave }
    }

    /// Starts a program on it. What the user sees is the first part of what is given back.
    pub fn start(self, mut command: Command) -> (File, Child) {
        let end = || self.slave.try_clone().expect("a descriptor");
        let child = command.stdin(end()).stdout(end()).stderr(end()).spawn().expect("the program");
        // The command holds the terminal, too.
        drop(command);
        (self.user, child)
    }

    /// Runs a program on it to its end; all that the user saw, and how it ended.
    pub fn run(command: Command) -> (String, ExitStatus) {
        let (user, mut child) = Self::open().start(command);
        let seen = watch(user);
        let status = child.wait().expect("a child");
        (seen.join().expect("a reader"), status)
    }
}

/// Reads until nobody writes there any more.
fn watch(mut user: File) -> JoinHandle<String> {
    std::thread::spawn(move || {
        let mut seen = Vec::new();
        // A terminal that nobody has open says that its input failed.
        let _ = user.read_to_end(&mut seen);
        String::from_utf8(seen).expect("text")
    })
}
