//! The page of exit statuses.

use super::markdown::table;
use crate::cli::Exit;

const TEXT: &str = "# Exit status
The exit status of a command says whether it did its work, so that scripts, cron and systemd can act on it. A status never
changes its meaning.

";

const REST: &str = "
- 0 and 1 are finished batches. With 1, the report says which lines failed; `[run] tolerate` accepts a share of them.
- A missing or refused API key is 3: the command is right, and cannot run.
- 2 and 3 need somebody. The last line of stderr that begins with `hint:` names the next command.
- After 130, 143 and 129 nothing is lost: the same command goes on where it stopped.
- In systemd, `SuccessExitStatus=1` accepts nights with failed lines.
";

pub(super) fn page() -> String {
    let rows = Exit::ALL.iter().map(|(exit, meaning)| [exit.code().to_string(), meaning.trim().to_owned()]);
    format!("{TEXT}{}{REST}", table(["status", "meaning"], rows))
}
