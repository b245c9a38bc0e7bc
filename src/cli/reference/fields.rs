//! The pages of TOML files: definitions and settings.

use std::fmt::Write;

use super::markdown::{code, list, names, paragraph, table};
use crate::{
    config::{self, VARIABLES},
    definition::{
        self, DefinitionTask,
        fields::{Absent, Field, FieldChange, FieldKind, FieldTable},
    },
    domain::{
        listed::{List, Listed},
        open::LISTS_AS_OF,
        task::Tasks,
    },
};

/// The longest list whose values stand in the table itself.
const SHORT: usize = 6;

const DEFINITION: &str = "# Definition
A definition is a TOML file that says how a batch is made: the task, the model, where the lines come from and where the outputs
go. This page lists all its fields.

A definition of transcripts:

```toml
task = \"transcribe\"
manifest = \"calls.csv\"            # or a directory, a glob, an s3:// prefix
output = \"out/{batch}/\"
columns = { key = \"call_id\", source = \"recording_url\" }

[transcribe]
model = \"pulse\"
language = \"en\"
formats = [\"json\", \"txt\", \"srt\"]

[run]
max_spend_usd = 5.0               # for the batch, over all its runs
```

A definition of speech:

```toml
task = \"synthesize\"
manifest = \"prompts.csv\"          # or a directory of .txt and .md files
columns = { key = \"prompt\", text = \"words\" }

[synthesize]
model = \"lightning_v3.1_pro\"
voice_id = \"kaitlyn\"
formats = [\"wav\", { format = \"ulaw\", sample_rate = 8000, ending = \"ul\" }]
pause = { paragraph_ms = 800 }
```

- `check` reports all faults of a definition together, each with its line and field. A field that does not exist is a fault.
- Most fields are also [flags](cli.md). A flag goes before the definition.
- Relative paths are relative to the definition. A leading `~` is the home directory.
- A duration is a text like `\"30s\"`, `\"15m\"`, `\"1h30m\"` or `\"14d\"`.
- `{name}`, `{batch}` and `{date}` are known in `batch`, `manifest`, `output`, `[report] to` and `columns`. `{date:%Y/%m/%d}`
  takes any date conversion of strftime. `{{` and `}}` are the braces themselves.
";

const CHANGES: &str = "
The column *identity* says what a change of the field means for the finished lines of a batch, when the definition is run again:

";

const SETTINGS: &str = "# Settings
The settings say where the ledger is, what the account allows and costs, and how a service runs. They come from flags, from
variables of the environment and from the file `wavebatch.toml`. A flag goes before a variable, a variable before the file, and
the file before the defaults.

The file is that of `--config` or `WAVEBATCH_CONFIG`, else `wavebatch.toml` in the working directory, else
`/etc/wavebatch/wavebatch.toml`. It may look like this:

```toml
database = \"sqlite:///var/lib/wavebatch/wavebatch.db\"

[limits.pulse]
requests_per_minute = 100

[spend]
day_usd = 40.0

[webhook]
public_url = \"https://hooks.example.com/wavebatch\"

[serve]
definitions = \"jobs\"

[notify]
url = \"https://chat.example.com/hooks/T0/secret\"
```

The API key stands in no file of wavebatch's: only in the environment, or in a file of yours that is named there.
";

const ACCOUNT: &str =
    "An account is a key and its address. Another key or another address has limits of its own, and so has the
sandbox. Change a key when no call is in flight, or the vendor may see more calls for a minute than the limits allow.
";

const OPEN: &str =
    "Models, languages and audio formats are open lists: these are the values that the vendor's documents named in";
const OPEN_REST: &str = "A value that is not in its list is passed on as it is, with one warning that names the nearest value. An unknown transcription model has a pool of its own name, with 25 requests a minute. An unknown speech model shares the pool `tts`. The price of an unknown model is 0 until [`[rates]`](settings.md#rates) names it; with a spend limit it is a fault. An unknown audio format is written as it came, one part a file, without captions or checks. Redaction in an unknown language is refused.
";

/// The page of definitions.
pub(super) fn definition(tasks: &Tasks<dyn DefinitionTask>) -> String {
    let (top, rest): (Vec<_>, Vec<_>) =
        definition::TABLES.iter().partition(|table| matches!(table.name, "" | "columns"));
    let mut page = Fields::new(DEFINITION, true);
    page.text.push_str(CHANGES);
    page.text.push_str(&list("identity", &FieldChange::LIST));
    page.text.push_str("\n## Names, lines and outputs\n");
    page.tables(&top);
    for task in tasks.iter() {
        page.task = Some(task.name().to_string());
        writeln!(page.text, "\n## Task `{}`", task.name()).expect("a String takes everything");
        page.tables(&task.fields().iter().collect::<Vec<_>>());
    }
    page.task = None;
    page.text.push_str("\n## Runs, stores, reports and schedules\n");
    page.tables(&rest);
    page.text.push_str("\n## Lists\n\n");
    write!(page.text, "{OPEN} {LISTS_AS_OF}. {OPEN_REST}").expect("a String takes everything");
    page.lists();
    page.with_contents()
}

/// The page of settings.
pub(super) fn settings() -> String {
    let mut page = Fields::new(SETTINGS, false);
    page.text.push_str("\n## Environment\n\n");
    let rows = VARIABLES.iter().map(|(name, meaning)| [code(name), (*meaning).to_owned()]);
    page.text.push_str(&table(["variable", "meaning"], rows));
    page.text.push_str("\n## Account\n\n");
    page.text.push_str(ACCOUNT);
    page.text.push_str("\n## The file\n");
    page.tables(&config::TABLES.iter().collect::<Vec<_>>());
    page.with_contents()
}

/// A page that grows.
struct Fields {
    text: String,
    /// Whether the fields are those of definitions, whose changes mean something for lines.
    is_definition: bool,
    /// The headings of its tables.
    headings: Vec<String>,
    /// The task whose fields are written, for headings that are not unique without it.
    task: Option<String>,
    long: Vec<(String, List)>,
}

impl Fields {
    fn new(beginning: &str, is_definition: bool) -> Self {
        Self { text: beginning.to_owned(), is_definition, headings: Vec::new(), task: None, long: Vec::new() }
    }

    /// Writes tables; those of one name that follow each other are one.
    fn tables(&mut self, tables: &[&FieldTable]) {
        for chunk in tables.chunk_by(|a, b| a.name == b.name) {
            let [first, ..] = chunk else { continue };
            let heading = match (&self.task, first.name) {
                (Some(task), "") => format!("Top level of the file, for `{task}`"),
                (None, "") => "Top level of the file".to_owned(),
                (Some(task), name) if name != *task && !name.starts_with(&format!("{task}.")) => {
                    format!("`[{name}]`, for `{task}`")
                }
                (_, name) => format!("`[{name}]`"),
            };
            self.headings.push(heading.clone());
            let about: Vec<String> = chunk.iter().map(|table| table.about().to_owned()).collect();
            writeln!(self.text, "\n### {heading}\n\n{}\n", about.join(" ")).expect("a String takes everything");
            let fields: Vec<&Field> = chunk.iter().flat_map(|table| table.fields).collect();
            let rows: Vec<[String; 5]> = fields
                .iter()
                .map(|field| {
                    let change = field.change.map_or("", FieldChange::as_str).to_owned();
                    [code(field.name), self.kind(field), absent(field.absent), change, meaning(field)]
                })
                .collect();
            self.text.push_str(&if self.is_definition {
                table(["field", "value", "default", "identity", "meaning"], rows)
            } else {
                let rows = rows.into_iter().map(|[field, kind, absent, _, meaning]| [field, kind, absent, meaning]);
                table(["field", "value", "default", "meaning"], rows)
            });
        }
    }

    /// What a field may be. The values of a long list stand at the end of the page.
    fn kind(&mut self, field: &Field) -> String {
        if field.name == "option_columns" {
            return "a list of options' names".to_owned();
        }
        let (list, several) = match field.kind {
            FieldKind::Words(words) => return words.to_owned(),
            FieldKind::OneOf(list) => (list, false),
            FieldKind::SomeOf(list) => (list, true),
        };
        let lead = if several { "a list of " } else { "" };
        if list.names.len() <= SHORT {
            return format!("{lead}{}", names(&list));
        }
        let title = self.title(&list);
        format!("{lead}[{}](#{})", title.to_lowercase().replace('`', ""), anchor(&title))
    }

    /// The heading of a list at the end of the page.
    fn title(&mut self, list: &List) -> String {
        let own = match (list.what, &self.task) {
            (what, Some(task)) if list.is_open => format!("{what}s of `{task}`"),
            (what, _) if what.ends_with('s') => format!("{what}es"),
            (what, _) => format!("{what}s"),
        };
        let title = own[..1].to_uppercase() + &own[1..];
        if self.long.iter().all(|(known, _)| *known != title) {
            self.long.push((title.clone(), *list));
        }
        title
    }

    /// Writes the lists whose values did not stand in a table.
    fn lists(&mut self) {
        for (title, values) in std::mem::take(&mut self.long) {
            let body = if values.is_open { paragraph(&values) } else { list("value", &values) };
            write!(self.text, "\n### {title}\n\n{body}").expect("a String takes everything");
        }
    }

    /// The page with a list of its tables before the first of them.
    fn with_contents(self) -> String {
        let links: String =
            self.headings.iter().map(|heading| format!("- [{heading}](#{})\n", anchor(heading))).collect();
        match self.text.split_once("\n## ") {
            Some((beginning, rest)) => format!("{beginning}\nThe tables:\n\n{links}\n## {rest}"),
            None => self.text,
        }
    }
}

/// The meaning of a field, with the meanings of the values of a short list.
fn meaning(field: &Field) -> String {
    let own = field.meaning().to_owned();
    let (FieldKind::OneOf(list) | FieldKind::SomeOf(list)) = field.kind else { return own };
    if list.names.len() > SHORT {
        return own;
    }
    let values: Vec<String> = list.rows().map(|(name, meaning)| format!("`{name}`: {meaning}")).collect();
    format!("{own}<br>{}", values.join("<br>"))
}

fn absent(absent: Absent) -> String {
    match absent {
        Absent::Required => "required".to_owned(),
        Absent::Value(value) => code(value),
        Absent::Words(words) => words.to_owned(),
        Absent::Nothing => "none".to_owned(),
    }
}

/// The anchor of a heading, as GitHub and mdBook make it.
fn anchor(title: &str) -> String {
    title
        .to_lowercase()
        .chars()
        .filter(|c| c.is_alphanumeric() || " -_".contains(*c))
        .collect::<String>()
        .replace(' ', "-")
}
