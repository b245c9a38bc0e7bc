//! The page of files on disk.

use super::markdown::{code, table};
use crate::{
    config::{FILE, LEDGER, SANDBOX_LEDGER},
    domain::batch::BatchSpec,
    server::{NOTIFY_SECRET_SUFFIX, WEBHOOK_SECRET_SUFFIX},
};

const TEXT: &str = "# Files on disk
wavebatch writes the ledger with a few files beside it, and the outputs with the report. This page says what each file is, and
which of them a backup needs.

";

const REST: &str = "
- The ledger, the spool and lock files can be read by their owner alone (0600, 0700). Outputs and reports have the permissions of their
  directory and your umask.
- A ledger stands on a local disk. On Linux, NFS, SMB, 9p and AFS are refused.
- Do not copy a ledger that is in use: its newest content may be in the file that ends in `-wal`. `wavebatch backup` makes a copy
  meanwhile. A copy that is older than the outputs beside it is refused.
";

const VOICES: &str = "## Of voices of your own
`wavebatch voices clone --manifest CSV` writes a report, and `REPORT.journal` beside it: the names of voices whose request left and is not
settled. For one voice it is `.wavebatch-clone-….journal` in the working directory. It goes when all is settled; do not remove it before.
";

/// The files beside a ledger and those of outputs, as patterns, with their meaning and whether a backup needs them.
const BESIDE: &[(&str, &str, &str)] = &[
    ("", "The ledger: batches, lines, calls, kept answers. An SQLite file.", "yes"),
    ("-wal", "The ledger's newest changes. It goes when the last process ends.", "with the ledger"),
    ("-shm", "The index of that file. It goes when the last process ends.", "no"),
    ("-process-N.lock", "The lock of a process that works. It shows others that the process lives.", "no"),
    (
        "-spool/",
        "What is too large for the ledger, and temporary files. Those of dead processes go at the next start.",
        "see below",
    ),
    (
        "-spool/speech/",
        "Speech that was paid for (the audio cache), unless `spool` says another place. `wavebatch spool prune` trims it.",
        "yes",
    ),
    ("-spool/unsent/", "Speech that waits for the S3 store of `spool`, while that is out of reach.", "yes"),
    ("-spool/voices-by-model-ACCOUNT.json", "The voices of an account, kept for a day.", "no"),
    ("-spool/fetch/", "Recordings that are downloaded, while they are needed.", "no"),
];

pub(super) fn page() -> String {
    let beside = |suffix: &str| code(&format!("{LEDGER}{suffix}"));
    let row =
        |(suffix, meaning, backup): &(&str, &str, &str)| [beside(suffix), (*meaning).to_owned(), (*backup).to_owned()];
    let secrets = [
        (WEBHOOK_SECRET_SUFFIX, "The secret of the addresses of callbacks, unless `WAVEBATCH_WEBHOOK_SECRET` is set."),
        (NOTIFY_SECRET_SUFFIX, "The key of the signature of notifications, unless `WAVEBATCH_NOTIFY_SECRET` is set."),
    ]
    .map(|(suffix, meaning)| [beside(suffix), meaning.to_owned(), "yes".to_owned()]);
    let ledger = table(["file", "what it is", "backup"], BESIDE.iter().map(row).chain(secrets));
    let report = BatchSpec::REPORT;
    let outputs = [
        ("KEY.json, KEY.txt, KEY.srt, KEY.vtt", "The transcript of a line, in the formats of the definition."),
        ("KEY.wav, KEY.mp3, …", "The speech of a line. Captions stand beside it: `.srt`, `.vtt`, `.json`."),
        (report, "The [report](report.md): a row for each line."),
        (
            "summary.json",
            "The [summary](report.md#summary): the batch on one page, and the proof of who owns the outputs.",
        ),
    ];
    let outputs = table(["file", "what it is"], outputs.map(|(file, meaning)| [file_names(file), meaning.to_owned()]));
    let read = [
        (FILE, "The [settings](settings.md), in the working directory."),
        ("/etc/wavebatch/wavebatch.toml", "The settings of the machine, where the working directory has none."),
        (
            "/etc/wavebatch/key",
            "The API key of the packages' services: their units name it by `SMALLEST_API_KEY_FILE`.",
        ),
    ];
    let read = table(["file", "what it is"], read.map(|(file, meaning)| [code(file), meaning.to_owned()]));
    format!(
        "{TEXT}## Beside the ledger\nThe ledger is `{LEDGER}` in the working directory, unless `--database`, `WAVEBATCH_DATABASE` or `database` in the settings says otherwise. \
         With `--sandbox` it is `{SANDBOX_LEDGER}`. The files beside it begin with its name.\n\n{ledger}{REST}\n## In the output\nOutputs are in the directory or prefix that `output` \
         names: by default `out/{{batch}}/` beside the definition. Each file is there as a whole or not at all.\n\n{outputs}\n{VOICES}\n## What is read\n\n{read}"
    )
}

fn file_names(names: &str) -> String {
    names.split(", ").map(|name| if name == "…" { name.to_owned() } else { code(name) }).collect::<Vec<_>>().join(", ")
}
