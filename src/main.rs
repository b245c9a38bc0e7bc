//! The `wavebatch` program; see the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    wavebatch::cli::main()
}
