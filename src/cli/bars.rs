//! The terminal that progress bars are drawn on. It may go away in the middle of the work, and then nothing is drawn: the
//! library's own takes a write that fails for a bug, and ends the thread that draws.

use std::{
    io::{self, IsTerminal, Write},
    sync::{Mutex, PoisonError},
};

use indicatif::{MultiProgress, ProgressDrawTarget, TermLike};

/// How often bars are drawn, in a second.
const DRAWINGS: u8 = 20;
/// Rows and columns of a terminal that does not say.
const PAGE: (u16, u16) = (24, 80);

/// Bars on stderr; they are invisible where it is no terminal.
pub(super) fn on_stderr() -> MultiProgress {
    let target = match io::stderr().is_terminal() {
        true => ProgressDrawTarget::term_like_with_hz(Box::new(Stderr::default()), DRAWINGS),
        false => ProgressDrawTarget::hidden(),
    };
    MultiProgress::with_draw_target(target)
}

/// A terminal on stderr. What is written goes out at once when it is flushed, so that bars do not flicker.
#[derive(Debug, Default)]
struct Stderr {
    waiting: Mutex<Vec<u8>>,
}

impl Stderr {
    fn add(&self, text: &str) -> io::Result<()> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(text.as_bytes());
        Ok(())
    }

    /// A move of the cursor by `n` in the direction that `code` names.
    fn go(&self, n: usize, code: char) -> io::Result<()> {
        if n == 0 { Ok(()) } else { self.add(&format!("\x1b[{n}{code}")) }
    }
}

impl TermLike for Stderr {
    fn width(&self) -> u16 {
        size().1
    }

    fn height(&self) -> u16 {
        size().0
    }

    fn move_cursor_up(&self, n: usize) -> io::Result<()> {
        self.go(n, 'A')
    }

    fn move_cursor_down(&self, n: usize) -> io::Result<()> {
        self.go(n, 'B')
    }

    fn move_cursor_right(&self, n: usize) -> io::Result<()> {
        self.go(n, 'C')
    }

    fn move_cursor_left(&self, n: usize) -> io::Result<()> {
        self.go(n, 'D')
    }

    fn write_line(&self, text: &str) -> io::Result<()> {
        self.add(text)?;
        self.add("\n")
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        self.add(text)
    }

    fn clear_line(&self) -> io::Result<()> {
        self.add("\r\x1b[2K")
    }

    fn flush(&self) -> io::Result<()> {
        let waiting = std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        // With the terminal gone there is nobody left to see it.
        let _ = io::stderr().lock().write_all(&waiting);
        Ok(())
    }
}

/// Rows and columns.
fn size() -> (u16, u16) {
    let size = rustix::termios::tcgetwinsize(io::stderr()).ok().filter(|size| size.ws_row > 0 && size.ws_col > 0);
    size.map_or(PAGE, |size| (size.ws_row, size.ws_col))
}
