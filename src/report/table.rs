//! The summary as a table for a terminal.

use std::fmt::Write;

use unicode_width::UnicodeWidthStr;

use super::{
    summary::{RunFigures, SpendReason, Summary, SummaryState, SynthesisSummary},
    words::{self, command, grouped, printable, shorten},
};
use crate::domain::{
    call::ErrorKind,
    cost::MicroUsd,
    environment::NamedLedger,
    row::{Note, RowStatus},
};

impl Summary {
    /// The summary on one page, for a terminal of `width` columns. Its hints name this ledger.
    #[must_use]
    pub fn to_table(&self, width: usize, ledger: NamedLedger<'_>) -> String {
        table(self, width, ledger)
    }
}

fn table(summary: &Summary, width: usize, ledger: NamedLedger<'_>) -> String {
    let mut out = Table { text: String::new(), width: width.max(40) };
    out.line(&headline(summary));
    out.fact(if summary.synthesis.is_some() { "jobs" } else { "lines" }, &lines(summary));
    if !summary.notes.is_empty() {
        let notes: Vec<String> = summary.notes.iter().map(|(note, n)| format!("{} {note}", grouped(*n))).collect();
        out.fact("notes", &notes.join(", "));
    }
    match &summary.tokens {
        // An analysis does not say what it used.
        Some(tokens) if tokens.is_none() => {}
        Some(tokens) => out.fact("tokens", &words::token_words(tokens)),
        None => out.fact("audio", &audio(summary)),
    }
    if let Some(synthesis) = &summary.synthesis {
        out.fact("speech", &synthesis_words(synthesis));
    }
    out.fact("calls", &calls(summary));
    out.fact("spend", &spend(summary));
    for (model, cost) in &summary.spend.by_model {
        out.fact("", &format!("${cost}  {model}"));
    }
    for (reason, cost) in &summary.spend.by_reason {
        out.fact("", &format!("${cost}  {}", reason_words(*reason)));
    }
    out.fact("outputs", &summary.outputs);
    out.fact("ledger", &summary.ledger.path);

    let failures = summary.failures.iter().map(|f| Group {
        count: f.count,
        name: f.kind.as_str(),
        key: &f.key,
        words: &f.error,
        remedy: remedy_in(f.kind, summary, ledger),
    });
    out.groups("failed", failures.collect());
    let again = command(ledger, &["retry", &summary.batch, "--state", "suspect"]);
    let suspects = summary.suspects.iter().map(|s| Group {
        count: s.count,
        name: s.reason.as_str(),
        key: &s.key,
        words: "",
        remedy: format!("{again}, which pays for them again"),
    });
    out.groups("suspect", suspects.collect());
    out.text
}

/// The length of the audio. An adopted line has none in the ledger.
fn audio(summary: &Summary) -> String {
    let known = duration(summary.audio_seconds);
    match summary.notes.get(&Note::Adopted).copied().unwrap_or(0) {
        0 => known,
        adopted if summary.audio_seconds > 0.0 => {
            format!("{known}, without {} adopted", words::counted(adopted, "line"))
        }
        adopted => format!("not known: {} adopted", words::counted(adopted, "line")),
    }
}

/// The run of this summary, if the batch has calls of earlier runs: then the two are told apart.
fn one_of_several(summary: &Summary) -> Option<&RunFigures> {
    summary.this_run.as_ref().filter(|run| run.calls < summary.calls)
}

/// `2, 2 billed; of the batch 12, 12 billed`
fn calls(summary: &Summary) -> String {
    let words = |calls, billed| format!("{}, {} billed", grouped(calls), grouped(billed));
    let all = words(summary.calls, summary.billed_calls);
    match one_of_several(summary) {
        Some(RunFigures { calls: 0, .. }) => format!("none in this run; of the batch {all}"),
        Some(run) => format!("{} in this run; of the batch {all}", words(run.calls, run.billed_calls)),
        None => all,
    }
}

fn spend(summary: &Summary) -> String {
    let all = format!("${} at list price of {}", summary.spend.total_usd, summary.rates.as_of);
    match one_of_several(summary) {
        Some(run) if run.spend_usd == MicroUsd(0) => format!("nothing in this run; of the batch {all}"),
        Some(run) => format!("${} in this run; of the batch {all}", run.spend_usd),
        None => all,
    }
}

fn headline(summary: &Summary) -> String {
    let took = match (summary.started_at, summary.finished_at) {
        (Some(from), Some(to)) if to >= from => {
            let all = duration(to.abs_diff(from) as f64 / 1_000.0);
            match &summary.this_run {
                Some(run) => {
                    let batch = one_of_several(summary).map(|_| format!("; the batch took {all}")).unwrap_or_default();
                    format!(" in {}{batch}", words::duration(run.took_ms))
                }
                None => format!(" in {all}"),
            }
        }
        _ => String::new(),
    };
    match &summary.state {
        SummaryState::Finished => format!("{}: finished{took}", summary.batch),
        state => format!("{}: {state}", summary.batch),
    }
}

fn lines(summary: &Summary) -> String {
    let some = RowStatus::ALL.iter().map(|status| (status, summary.count(*status))).filter(|(_, count)| *count > 0);
    let by_status: Vec<_> = some.map(|(status, count)| format!("{} {status}", grouped(count))).collect();
    match by_status.as_slice() {
        [] => "none".into(),
        [one] => one.clone(),
        several => format!("{}: {}", grouped(summary.total()), several.join(", ")),
    }
}

fn synthesis_words(synthesis: &SynthesisSummary) -> String {
    let reused = match synthesis.reused_parts {
        0 => String::new(),
        n => format!(", {} of them there already", grouped(n)),
    };
    let parts = if synthesis.parts == 1 { "part" } else { "parts" };
    format!("{} characters in {} {parts}{reused}", grouped(synthesis.characters), grouped(synthesis.parts))
}

const fn reason_words(reason: SpendReason) -> &'static str {
    match reason {
        SpendReason::FirstCall => "for first calls",
        SpendReason::AfterUnknown => "for calls after an unknown outcome",
        SpendReason::Retry => "for calls after a useless answer, or by `retry`",
    }
}

fn remedy_in(kind: ErrorKind, summary: &Summary, ledger: NamedLedger<'_>) -> String {
    let run = match &summary.definition {
        Some(definition) => command(ledger, &["run", definition]),
        None => "the same `wavebatch run` again".into(),
    };
    remedy(kind, &run, (ledger, &summary.batch), summary.synthesis.is_some())
}

/// The command for lines that failed in this way. Failed sources and deliveries cost nothing to try again, so `run` does it; a
/// line that the API refuses must be changed; `retry` handles everything else. `run` is the command that made the batch.
#[must_use]
pub fn remedy(kind: ErrorKind, run: &str, (ledger, batch): (NamedLedger<'_>, &str), is_synthesis: bool) -> String {
    let retry = || command(ledger, &["retry", batch, "--state", "failed"]);
    match kind {
        ErrorKind::BadLine => format!("mend the manifest's line, then {run}"),
        ErrorKind::SourceMissing
        | ErrorKind::SourceEmpty
        | ErrorKind::SourceUnreadable
        | ErrorKind::SourceTooLarge
        | ErrorKind::SourceNotAudio
        | ErrorKind::SourceRefused
        | ErrorKind::SourceChanged => format!("mend the source, then {run}"),
        ErrorKind::SourceArchived => format!("restore the object, then {run}"),
        ErrorKind::SourceTimedOut | ErrorKind::SourceUnavailable => run.to_owned(),
        ErrorKind::BadRequest if is_synthesis => format!("change the line, then {run}"),
        ErrorKind::LanguageNotEnabled | ErrorKind::ModelRetired => {
            format!("ask for another language, model or region host, then {run}")
        }
        ErrorKind::BadRequest | ErrorKind::TooLarge => {
            format!("change the line or its recording, then {run}")
        }
        ErrorKind::LedgerRefused => {
            let what = "its error says which number or row the ledger does not take; mend the recording or the setting";
            format!("{what}, then {}", retry())
        }
        ErrorKind::Internal => {
            format!("a fault of wavebatch: please report it with its error; {} tries again", retry())
        }
        ErrorKind::AnswerTooLarge => {
            format!("shorten the line or its recording, then {run}; {} pays for it as it is", retry())
        }
        ErrorKind::SinkRefused => {
            format!("give the line another key, or make way for it and {}", command(ledger, &["deliver", batch]))
        }
        _ => retry(),
    }
}

struct Group<'a> {
    count: u64,
    name: &'a str,
    key: &'a str,
    words: &'a str,
    remedy: String,
}

struct Table {
    text: String,
    width: usize,
}

impl Table {
    fn line(&mut self, text: &str) {
        let line = shorten(text, self.width);
        self.text.push_str(line.trim_end());
        self.text.push('\n');
    }

    /// Appends a fact. Facts are never shortened: the user copies addresses.
    fn fact(&mut self, name: &str, value: &str) {
        writeln!(self.text, "  {name:<9} {}", printable(value)).expect("a String takes everything");
    }

    fn groups(&mut self, what: &str, groups: Vec<Group<'_>>) {
        if groups.is_empty() {
            return;
        }
        let counts: Vec<String> = groups.iter().map(|g| grouped(g.count)).collect();
        let widest = |cells: &mut dyn Iterator<Item = usize>| cells.max().unwrap_or(0);
        let (count, name) =
            (widest(&mut counts.iter().map(String::len)), widest(&mut groups.iter().map(|g| g.name.len())));
        let key = widest(&mut groups.iter().map(|g| g.key.width())).min(self.width / 3);
        self.text.push('\n');
        self.line(&format!("{what}, by {}", if what == "failed" { "kind" } else { "reason" }));
        for (g, n) in groups.iter().zip(&counts) {
            let short = shorten(g.key, key);
            let pad = " ".repeat(key.saturating_sub(short.width()));
            self.line(&format!("  {n:>count$}  {:<name$}  {short}{pad}  {}", g.name, g.words));
            writeln!(self.text, "  {:>count$}  -> {}", "", printable(&g.remedy)).expect("a String takes everything");
        }
    }
}

/// `45.2 s`, `3 min 12 s`, `20 h 42 min`
fn duration(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    match whole {
        0..60 => format!("{seconds:.1} s"),
        60..3_600 => format!("{} min {} s", whole / 60, whole % 60),
        _ => format!("{} h {} min", grouped(whole / 3_600), whole / 60 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::environment::{Environment, LedgerChoice},
        report::summary::tests::summary,
    };

    fn live(summary: &Summary, width: usize) -> String {
        table(summary, width, (&LedgerChoice::default(), Environment::Live))
    }

    #[test]
    fn every_command_names_the_ledger_as_the_user_did() {
        let mut s = summary();
        let choice = LedgerChoice::of(Some("my ledger.db"), None);
        for kind in ErrorKind::ALL {
            s.failures[0].kind = *kind;
            for command in table(&s, 200, (&choice, Environment::Sandbox)).split("wavebatch ").skip(1) {
                let command = command.lines().next().unwrap_or_default();
                let is_one = ["run ", "retry ", "deliver "].iter().any(|verb| command.starts_with(verb));
                assert!(!is_one || command.contains(" --database 'my ledger.db' --sandbox"), "{kind}: {command}");
            }
        }
    }

    #[test]
    fn the_table_says_what_failed_and_what_to_do() {
        insta::assert_snapshot!(live(&summary(), 80), @"
        support-calls: finished in 3 min 13 s
          lines     1,221: 1,204 succeeded, 3 suspect, 14 failed
          notes     1,200 stereo, 5 paid_again
          audio     20 h 42 min
          calls     1,230, 1,211 billed
          spend     $6.235000 at list price of 2026-09-07
                    $6.235000  pulse
                    $6.210000  for first calls
                    $0.025000  for calls after an unknown outcome
          outputs   /srv/out/support-calls
          ledger    /srv/wavebatch.db

        failed, by kind
          12  source_missing   2026/call-17  no such file: /srv/rec/call-17.wav
              -> mend the source, then wavebatch run jobs/support-calls.toml
           2  unknown_outcome  2026/call-40  the connection broke after the request left
              -> wavebatch retry support-calls --state failed

        suspect, by reason
          3  empty  2026/call-9
             -> wavebatch retry support-calls --state suspect, which pays for them again
        ");
    }

    #[test]
    fn a_run_is_told_apart_from_the_batch() {
        let mut s = summary();
        let mut run = RunFigures { took_ms: 50, calls: 2, billed_calls: 1, spend_usd: MicroUsd(25) };
        let mut shown = |run| {
            s.this_run = Some(run);
            live(&s, 200)
        };
        let text = shown(run);
        assert!(text.starts_with("support-calls: finished in 50 ms; the batch took 3 min 13 s\n"), "{text}");
        assert!(text.contains("\n  calls     2, 1 billed in this run; of the batch 1,230, 1,211 billed\n"), "{text}");
        assert!(text.contains("\n  spend     $0.000025 in this run; of the batch $6.235000 at list"), "{text}");
        run.calls = 0;
        assert!(shown(run).contains("\n  calls     none in this run; of the batch 1,230"));
        run.calls = 1_230;
        assert!(shown(run).contains("\n  calls     1,230, 1,211 billed\n"), "the first run is the batch");
    }

    #[test]
    fn speech_is_counted_in_characters_and_parts() {
        let mut s = summary();
        s.failures.truncate(1);
        s.failures[0].kind = ErrorKind::BadRequest;
        s.synthesis = Some(SynthesisSummary { characters: 200_412, parts: 1_003, reused_parts: 12 });
        let text = live(&s, 100);
        assert!(text.contains("\n  jobs      1,221: 1,204 succeeded"), "{text}");
        assert!(text.contains("\n  speech    200,412 characters in 1,003 parts, 12 of them there already\n"), "{text}");
        assert!(text.contains("-> change the line, then wavebatch run"), "{text}");
        assert_eq!(
            synthesis_words(&SynthesisSummary { characters: 5, parts: 1, reused_parts: 0 }),
            "5 characters in 1 part"
        );
    }

    #[test]
    fn narrow_terminals_and_hostile_words() {
        let mut s = summary();
        s.state = SummaryState::Paused;
        s.pause_reason = Some("the key is not accepted \u{1b}[31m".into());
        s.batch = "it's".into();
        s.failures.truncate(1);
        s.failures[0].kind = ErrorKind::TimedOut;
        s.failures[0].key = "很长的钥匙".repeat(20);
        let text = live(&s, 50);
        assert!(!text.contains('\u{1b}'));
        assert!(text.contains("wavebatch retry 'it'\\''s' --state failed"));
        let group = text.lines().find(|l| l.contains("timed_out")).unwrap();
        assert!(group.width() <= 50, "{group}");
    }

    #[test]
    fn numbers_and_lengths_read_well() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(
            [0.04, 59.4, 59.6, 3_599.0, 3_600.0].map(duration),
            ["0.0 s", "59.4 s", "1 min 0 s", "59 min 59 s", "1 h 0 min"]
        );
    }
}
