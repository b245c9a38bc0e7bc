//! The `wavebatch` program; see the library.

use std::process::ExitCode;

use wavebatch::tasks::Registry;

fn main() -> ExitCode {
    wavebatch::cli::main(Registry::built_in())
}
