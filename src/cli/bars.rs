//! The terminal for progress bars. If it goes away during the work, nothing is drawn. The library's own terminal
//! treats a failed write as a bug and ends the drawing thread.

use std::{
    io::{self, IsTerminal, Write},
    sync::{Mutex, PoisonError},
};

use indicatif::{MultiProgress, ProgressDrawTarget, TermLike};

/// Redraws per second.
const DRAWINGS: u8 = 20;
/// Rows and columns if the terminal reports none.
const PAGE: (u16, u16) = (24, 80);

/// Bars on stderr; hidden if stderr is not a terminal.
pub(super) fn on_stderr() -> MultiProgress {
    let target = match io::stderr().is_terminal() {
        true => ProgressDrawTarget::term_like_with_hz(Box::new(Stderr::default()), DRAWINGS),
        false => ProgressDrawTarget::hidden(),
    };
    MultiProgress::with_draw_target(target)
}

/// A terminal on stderr. Output is buffered until a flush, so that bars do not flicker.
#[derive(Debug, Default)]
struct Stderr {
    waiting: Mutex<Vec<u8>>,
}

impl Stderr {
    fn add(&self, text: &str) -> io::Result<()> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(text.as_bytes());
        Ok(())
    }

    /// Moves the cursor by `n` in the direction of `code`.
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
        // If the terminal is gone, nobody sees the output.
        let _ = io::stderr().lock().write_all(&waiting);
        Ok(())
    }
}

/// Rows and columns.
fn size() -> (u16, u16) {
    let size = rustix::termios::tcgetwinsize(io::stderr()).ok().filter(|size| size.ws_row > 0 && size.ws_col > 0);
    size.map_or(PAGE, |size| (size.ws_row, size.ws_col))
}
