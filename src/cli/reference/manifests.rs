//! The page of manifests.

use std::fmt::Write;

use super::markdown::{code, list, table};
use crate::{
    definition::{
        DefinitionTask, ManifestFormat,
        fields::{Field, FieldKind},
        manifest::KEY_NAMES,
        paths::AUDIO,
    },
    domain::{
        key::Key,
        listed::{List, Listed},
        task::Tasks,
    },
};

const TEXT: &str = "# Manifests
A manifest says which recordings or texts a batch has: one line for each. This page lists its formats, its columns and the rules for
keys. `wavebatch check` shows how a manifest is read.

## Where lines come from

| manifest | lines |
| --- | --- |
| `calls.csv` | the records of the file |
| `rec/`, `rec/2026-*/*.wav` | the files of a directory or of a glob, in the order in which people count (`chapter-2` before `chapter-10`) |
| `https://example.com/calls.csv.gz` | the records of the file at the URL |
| `s3://bucket/export.csv` | the records of the object |
| `s3://bucket/2026/11/20/` | the objects below the prefix, in the order of their names |
| `-` | the records of stdin; `--batch` names the batch |

A directory, a glob or a prefix takes files with a known ending: [recordings](#known-endings-of-recordings), or `.txt` and `.md` as texts to be spoken. All
others are counted and reported.

";

const CSV: &str = "
All are read as streams, also compressed with gzip.

- **Delimiter**: `,` `;` `|` or a tab is found from the content. `delimiter` or `--delimiter` names another character. A first line
  `sep=;` is understood.
- **Encoding**: UTF-8, or what a byte order mark says (UTF-8, UTF-16). `encoding` or `--encoding` names another, e.g. `windows-1252`.
- **Cells**: quoted cells may contain line breaks. Lines may end in CR LF.
- **JSON lines**: each line is an object. A list, an object, `true` or `false` is no key, source or text.
- A column without a name, and a name that two unused columns have, are warnings.

## Columns

The case of a column's name does not matter, nor whether its words are separated by a space, `-` or `_`. `columns` or `--column` names a column
that is called otherwise, e.g. `--column language=Sprache`.

";

const OPTIONS: &str = "
A column that is named like an option overrides the option for its line. An empty cell means \"as in the definition\". `option_columns`
says which columns may do so. These are the options:

";

const REST: &str = "
- A column `extra.NAME` sends a parameter that this release does not know: of a recording in the query, of a text in the body. In a body, a
  cell is JSON if it is a number, `true`, `false`, a list or an object, and else a text.
- Every other column is carried into the [report](report.md).
- A value of `columns` may be a template over columns, e.g. `{ key = \"{call_id}-{leg}\", source = \"/mnt/rec/{file}.wav\" }`.
- `text_columns = { en = \"text_en\", hi = \"text_hi\" }`, or `--column text.en=text_en`, names a column of the text in each language. A line
  then has an output for each text that is not empty.

## Another batch

`batch:NAME` is the batch of that name: its finished lines, as they finish. They have the columns of its manifest and of its report; see
[a batch of a batch](../guides/chains.md).

## Keys

A key is unique in its manifest, and it names the outputs of its line. `/` makes folders.

- Without a column for it, the key is the source's file name without its ending, else `line-000123`. In a directory or prefix it is the
  path below the root, without the ending.
";

const RULES: &str = "- `summary` and `report` are files of the batch itself, and no keys.
- A key is not empty, and has no `..`, no `/` at its beginning or end, no `//`, no `\\` and no control characters.
- In a prefix of a store, names are taken as they are. A folder without a name becomes `%2F` in the key, and `..` becomes `%2E%2E`.

## Faults

A fault of a manifest names its file, line and column. All faults are reported together, and nothing is submitted. With `bad_lines = \"skip\"` or
`--skip-bad-lines` the good lines are submitted, and a bad line stands in the report as `failed` until it is mended.

## Known endings of recordings

";

pub(super) fn page(tasks: &Tasks<dyn DefinitionTask>) -> String {
    let mut text = format!(
        "{TEXT}## Formats\n\nThe ending of the name decides, unless `manifest_format` or `--manifest-format` does.\n\n"
    );
    text.push_str(&list("format", &ManifestFormat::LIST));
    text.push_str(CSV);
    let key = ["the key".to_owned(), "every task".to_owned(), names(&KEY_NAMES)];
    let contents = tasks.iter().flat_map(|task| {
        let row =
            move |(content, known): &(&str, &[&str])| [(*content).to_owned(), code(task.name().as_str()), names(known)];
        task.content_columns().iter().map(row)
    });
    text.push_str(&table(["what it has", "task", "names that are known"], [key].into_iter().chain(contents)));
    text.push_str(OPTIONS);
    let options = tasks.iter().flat_map(|task| {
        let rows = options_of(&**task).into_iter().flat_map(|list| list.rows().collect::<Vec<_>>());
        rows.map(move |(name, meaning)| [code(name), code(task.name().as_str()), meaning.to_owned()])
    });
    text.push_str(&table(["column", "task", "meaning"], options));
    text.push_str(REST);
    writeln!(
        text,
        "- A key has at most {} bytes, and at most {} between two `/`.",
        Key::MAX_BYTES,
        Key::MAX_SEGMENT_BYTES
    )
    .expect("a String takes everything");
    text.push_str(RULES);
    text.push_str(&names(AUDIO));
    text + ".\n"
}

/// The options that columns may override.
fn options_of(task: &dyn DefinitionTask) -> Option<List> {
    let is_option_columns = |field: &&Field| field.name == "option_columns";
    match task.fields().iter().flat_map(|table| table.fields).find(is_option_columns)?.kind {
        FieldKind::SomeOf(list) => Some(list),
        FieldKind::OneOf(_) | FieldKind::Words(_) => None,
    }
}

fn names(names: &[&str]) -> String {
    names.iter().map(|name| code(name)).collect::<Vec<_>>().join(", ")
}
