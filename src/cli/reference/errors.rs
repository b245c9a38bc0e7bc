//! The page of error kinds and pauses.

use super::markdown::{code, table};
use crate::{
    domain::{
        call::{CallFailure, ErrorKind},
        environment::{Environment, LedgerChoice},
        listed::Listed,
        retry::{PauseKind, RetryDecision, Used, verdict},
    },
    report::remedy,
};

const TEXT: &str = "# Errors and pauses
A line fails for a reason in a closed list: the `error_kind` of reports, of `wavebatch jobs` and of the metrics. A batch pauses
if no line is to blame. This page says what each kind means, what wavebatch does, and what you can do.

## Error kinds
A line that fails never stops the batch. \"Tried again\" is up to `[run] max_tries` times, with growing waits, and a `Retry-After` of
the server goes before them.

";

const PAUSES: &str = "
## Pauses
Calls in flight finish, no line uses up a try, and `run` and `work` exit with 3. `wavebatch status BATCH` and `check` say why the
batch is paused and what to do. Once that is done, the next `run` or `work` goes on. A service tries one line every 15 minutes.

";

/// The tries that a line has by default.
const TRIES: u32 = 6;

pub(super) fn page() -> String {
    let rows = ErrorKind::ALL.iter().map(|kind| {
        let meaning = ErrorKind::LIST.meaning(kind.as_str()).to_owned();
        [code(kind.as_str()), meaning, consequence(*kind), action(*kind)]
    });
    let kinds = table(["kind", "meaning", "what wavebatch does", "what you can do"], rows);
    format!("{TEXT}{kinds}{PAUSES}{}", pauses())
}

/// The kinds of pauses.
fn pauses() -> String {
    let rows = PauseKind::ALL.iter().map(|kind| {
        let lifted = match kind {
            kind if kind.only_the_user_lifts() => "`wavebatch resume BATCH`",
            kind if kind.ends_by_itself() => "itself, in its time",
            _ => "the next `run` or `work`, or a service",
        };
        let why = PauseKind::LIST.meaning(kind.as_str()).to_owned();
        [code(kind.as_str()), why, lifted.to_owned(), pause_remedy(*kind)]
    });
    table(["pause", "why", "lifted by", "what you can do"], rows)
}

fn decision(kind: ErrorKind, tries: u32) -> RetryDecision {
    verdict(&CallFailure::new(kind, ""), Used { tries, timed_out: 1, limited: 1 }, TRIES, 0.0)
}

fn consequence(kind: ErrorKind) -> String {
    match (decision(kind, 1), decision(kind, TRIES)) {
        (RetryDecision::Pause(pause), _) => format!("pauses the batch (`{pause}`)"),
        (RetryDecision::Fail, _) => "fails the line".to_owned(),
        (_, RetryDecision::Fail) => "tries again, then fails the line".to_owned(),
        _ => "waits; this uses up no try".to_owned(),
    }
}

fn action(kind: ErrorKind) -> String {
    match decision(kind, 1) {
        RetryDecision::Pause(pause) => pause_remedy(pause),
        _ if matches!(decision(kind, TRIES), RetryDecision::Again | RetryDecision::Later(_)) => {
            "nothing: it goes on by itself".to_owned()
        }
        _ => with_code(&remedy(
            kind,
            "the same `wavebatch run` again",
            ((&LedgerChoice::default(), Environment::Live), "BATCH"),
            false,
        )),
    }
}

fn pause_remedy(kind: PauseKind) -> String {
    kind.remedy("the same `wavebatch run` again", "`wavebatch resume BATCH`")
}

/// The remedy with its commands as code.
fn with_code(remedy: &str) -> String {
    let Some(at) = remedy.find("wavebatch retry").or(remedy.find("wavebatch deliver")) else {
        return remedy.to_owned();
    };
    let command = &remedy[at..];
    let words = command
        .split(' ')
        .take_while(|word| ["wavebatch", "retry", "deliver", "BATCH", "--state", "failed"].contains(word));
    let command: String = words.collect::<Vec<_>>().join(" ");
    remedy.replacen(&command, &code(&command), 1)
}
