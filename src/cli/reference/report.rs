//! The page of reports.

use std::fmt::Write;

use super::markdown::{code, json_type, list, table};
use crate::{
    domain::{
        job::Wanted,
        listed::Listed,
        row::{Note, RowStatus},
        task::Tasks,
        transcript::SuspectReason,
    },
    report::{
        ReportTask,
        row::Column,
        summary::{SpendReason, Summary, SummaryState},
    },
};

const TEXT: &str = "# Report
`report.csv` has a row for each line of a batch, and `summary.json` has the batch on one page. Both lie beside the outputs. This
page lists their columns, fields and values.

They are written whole, when a batch finishes, pauses or is interrupted. `wavebatch report BATCH` writes them again, and
`wavebatch report BATCH -o FILE` writes the report elsewhere: `.csv`, `.jsonl`, `.csv.gz` or `.jsonl.gz`.

- The file is UTF-8 with LF. Its rows stand in the order in which the lines were first seen. An unknown value is an empty cell.
- Times are RFC 3339 in UTC, with milliseconds.
- After the columns below come the manifest's own columns. One whose name is taken gets `manifest_` before it.
- A cell that a spreadsheet would run as a formula gets an apostrophe before it. Numbers and phone numbers (`+919812345678`) stay as
  they are. JSON lines have every cell as it is.
- A report never loses a transcript that it had. If answers are pruned, it takes the transcript from the report before or from
  the outputs.
";

const LISTS: &str = "
## Status
The column `status`. The first five are final.

";

const SUMMARY: &str = "
## Summary
`summary.json` shows by its `ledger` whose the outputs are. A directory of another batch or another ledger is refused before the first call, until you
say `--take-over`. Fields may be added in later versions; `format` rises when one changes its meaning.

";

pub(super) fn page(tasks: &Tasks<dyn ReportTask>) -> String {
    let mut text = TEXT.to_owned();
    text.push_str("\n## Columns\n");
    let every: Vec<Column> =
        Column::ALL.iter().copied().filter(|column| tasks.iter().all(|task| task.columns().contains(column))).collect();
    text.push_str("\nEvery report has these:\n\n");
    text.push_str(&table(["column", "meaning"], every.iter().map(|column| row(*column))));
    for task in tasks.iter() {
        let own = task.columns().iter().filter(|column| !every.contains(column)).map(|column| row(*column));
        let further = task.own_columns().iter().map(|(name, meaning)| [code(name), (*meaning).to_owned()]);
        writeln!(text, "\nA report of `{}` also has:\n", task.name()).expect("a String takes everything");
        text.push_str(&table(["column", "meaning"], own.chain(further)));
    }
    text.push_str("\nThe order of the columns:\n\n```text\n");
    for task in tasks.iter() {
        let names = task.columns().iter().map(|column| column.as_str());
        let names = names.chain(task.own_columns().iter().map(|(name, _)| *name)).collect::<Vec<_>>();
        writeln!(text, "{}: {}", task.name(), names.join(",")).expect("a String takes everything");
    }
    text.push_str("```\n");
    text.push_str(LISTS);
    text.push_str(&list("`status`", &RowStatus::LIST));
    text.push_str("\n## Notes\nThe column `notes`, joined by `;`. The reasons that make a line suspect stand in the next list.\n\n");
    let notes = Note::LIST.rows().filter(|(name, _)| !SuspectReason::NAMES.contains(name));
    text.push_str(&table(["note", "meaning"], notes.map(|(name, meaning)| [code(name), meaning.to_owned()])));
    text.push_str("\n## Suspect\nWhy a line is `suspect`: the API said success, and the result cannot be right. The reason is also a note.\n\n");
    text.push_str(&list("reason", &SuspectReason::LIST));
    text.push_str("\n## Wanted\nThe column `wanted`.\n\n");
    text.push_str(&list("`wanted`", &Wanted::LIST));
    text.push_str(SUMMARY);
    let fields = Summary::DOCUMENTED.iter();
    text.push_str(&table(
        ["field", "value", "meaning"],
        fields.map(|field| [code(field.name), json_type(field).to_owned(), field.meaning().to_owned()]),
    ));
    text.push_str("\n### State\nThe field `state`.\n\n");
    text.push_str(&list("`state`", &SummaryState::LIST));
    text.push_str("\n### Reasons for expenses\nThe keys of `spend.by_reason`.\n\n");
    text.push_str(&list("reason", &SpendReason::LIST));
    text
}

fn row(column: Column) -> [String; 2] {
    [code(column.as_str()), Column::LIST.meaning(column.as_str()).to_owned()]
}
