//! The rows of the reference for fields of TOML files, held against the code that reads the files.

use std::{collections::BTreeSet, fmt::Debug, fs, path::Path};

use wavebatch::{
    config::{self, Config, Env, Flags},
    definition::{
        self, Definition, DefinitionTask, Faults, Overrides,
        fields::{Absent, Field, FieldKind, FieldTable},
    },
    domain::pool::Pool,
    tasks::Registry,
};

use crate::cli;

/// A name that no field has, nor nearly has.
const STRANGER: &str = "zzzzzzzzzzzzzzzz";

/// A file in parts: its top level, and its tables.
struct Toml(Vec<(String, String)>);

impl Toml {
    /// Adds a line to a table.
    fn add(&mut self, table: &str, line: &str) {
        let at = self.0.iter().position(|(name, _)| name == table).unwrap_or_else(|| {
            self.0.push((table.to_owned(), String::new()));
            self.0.len() - 1
        });
        self.0[at].1.push_str(&format!("{line}\n"));
    }

    fn text(&self) -> String {
        let table = |(name, lines): &(String, String)| {
            if name.is_empty() { lines.clone() } else { format!("[{name}]\n{lines}") }
        };
        self.0.iter().map(table).collect()
    }
}

/// The least definition of a task.
fn least(task: &str) -> Toml {
    let mut toml = Toml(vec![(String::new(), String::new())]);
    toml.add("", &format!("task = \"{task}\"\nmanifest = \"lines.csv\""));
    toml.add(
        task,
        if task == "transcribe" { "model = \"pulse\"\nlanguage = \"en\"" } else { "model = \"lightning_v3.1\"" },
    );
    if task == "synthesize" {
        toml.add(task, "voice_id = \"avery\"");
    }
    toml
}

fn read(dir: &Path, toml: &Toml) -> Result<Definition, Faults> {
    let file = dir.join("definition.toml");
    fs::write(&file, toml.text()).unwrap();
    fs::write(dir.join("lines.csv"), "key,source,text\na,https://rec.example.com/a.wav,Hello.\n").unwrap();
    Definition::load(&file, Registry::built_in().definitions(), &Overrides::default())
}

fn load(dir: &Path, toml: &Toml) -> Result<Config, Faults> {
    let file = dir.join("settings.toml");
    fs::write(&file, toml.text()).unwrap();
    Config::load(&Flags { config: Some(file), ..Flags::default() }, &Env::default(), dir)
}

/// The fields that the code knows in a table, by the message about a field that it does not know.
fn known<T: Debug>(read: Result<T, Faults>) -> BTreeSet<String> {
    let message = read.unwrap_err().to_string();
    let (_, names) = message.split_once("known here: ").unwrap_or_else(|| panic!("{message}"));
    names.lines().next().unwrap().split(", ").map(|name| name.trim_matches('`').to_owned()).collect()
}

fn tables_of(task: &dyn DefinitionTask) -> Vec<FieldTable> {
    definition::TABLES.iter().chain(task.fields()).copied().collect()
}

/// The names of rows in a table, and those of the tables below it.
fn rows(tables: &[FieldTable], name: &str) -> BTreeSet<String> {
    let own = tables.iter().filter(|table| table.name == name).flat_map(|table| table.fields);
    let below = tables.iter().filter_map(|table| {
        let (above, last) = table.name.rsplit_once('.').unwrap_or(("", table.name));
        (above == name && !last.is_empty()).then(|| last.to_owned())
    });
    own.map(|field| field.name.to_owned()).chain(below).filter(|name| name != "OPTION").collect()
}

#[test]
fn every_field_of_a_definition_has_its_row() {
    let dir = cli::fixture();
    for task in Registry::built_in().definitions().iter() {
        let tables = tables_of(&**task);
        let is_option_columns = |field: &&Field| field.name == "option_columns";
        let options = tables.iter().flat_map(|table| table.fields).find(is_option_columns).map(|field| field.kind);
        let options = match options {
            None => &[][..],
            Some(FieldKind::SomeOf(options)) => options.names,
            Some(_) => panic!("option_columns takes options"),
        };
        let names: BTreeSet<&str> = tables.iter().map(|table| table.name).collect();
        for name in names {
            let mut toml = least(task.name().as_str());
            toml.add(name, &format!("{STRANGER} = 1"));
            let mut known = known(read(dir.path(), &toml));
            if name == "columns" {
                options.iter().for_each(|option| assert!(known.remove(*option), "{option}"));
            }
            assert_eq!(known, rows(&tables, name), "the fields of [{name}] in a definition of {}", task.name());
        }
    }
}

#[test]
fn every_field_of_the_settings_has_its_row() {
    let dir = cli::fixture();
    for name in config::TABLES.iter().map(|table| table.name) {
        let mut toml = Toml(vec![(String::new(), String::new())]);
        // Any name may be a model's in `[limits]` and `[rates]`, if it has a table or a price.
        toml.add(&name.replace("POOL", "pulse"), &format!("{STRANGER} = \"x\""));
        let mut rows = rows(config::TABLES, name);
        if rows.remove("POOL") {
            rows.extend(Pool::NAMES.iter().map(ToString::to_string));
        }
        rows.remove("MODEL");
        assert_eq!(known(load(dir.path(), &toml)), rows, "the fields of [{name}]");
    }
}

#[test]
fn a_model_that_no_row_names_has_limits_and_a_price() {
    let dir = cli::fixture();
    let own = |table: &str, line: &str| {
        let mut toml = Toml(vec![(String::new(), String::new())]);
        toml.add(table, line);
        load(dir.path(), &toml)
    };
    let config = own("limits.whisper", "concurrency = 3").unwrap();
    assert_eq!(config.limits_of("whisper".parse().unwrap()).limits.concurrency, Some(3));
    assert_eq!(own("rates", "whisper = 0.2").unwrap().rates.models["whisper"].usd(), 0.2);
    for (table, line, words) in [
        ("rates", "currency = \"EUR\"", "there is no such field; known here: "),
        ("rates", "whisper = \"0.2\"", "must be a number"),
        ("rates", "puls = 0.2", "did you mean `pulse`?"),
        ("limits", "area = \"in\"", "there is no such field; known here: "),
        ("limits", "whisper = 3", "must be a table"),
    ] {
        let faults = own(table, line).unwrap_err().to_string();
        assert!(faults.contains(words), "{line}: {faults}");
    }
}

#[test]
fn a_field_with_its_default_means_what_its_absence_means() {
    let dir = cli::fixture();
    let mut checked = 0;
    for task in Registry::built_in().definitions().iter() {
        for table in tables_of(&**task) {
            for field in table.fields {
                let Absent::Value(value) = field.absent else { continue };
                let mut toml = least(task.name().as_str());
                match table.name {
                    "schedule" => toml.add("schedule", "cron = \"0 2 * * *\""),
                    "sink" => {
                        toml.add("", "output = \"s3://bucket/\"");
                        toml.add("sink", "");
                    }
                    _ => {}
                }
                let without = format!("{:?}", read(dir.path(), &toml).unwrap());
                toml.add(table.name, &format!("{} = {value}", field.name));
                let with = read(dir.path(), &toml).unwrap_or_else(|faults| panic!("{faults}\n{}", toml.text()));
                assert_eq!(format!("{with:?}"), without, "{} = {value}", table.dotted(field));
                checked += 1;
            }
        }
    }
    for table in config::TABLES {
        for field in table.fields {
            let Absent::Value(value) = field.absent else { continue };
            let mut toml = Toml(vec![(String::new(), String::new())]);
            toml.add(table.name, "");
            let without = format!("{:?}", load(dir.path(), &toml).unwrap());
            toml.add(table.name, &format!("{} = {value}", field.name));
            let with = load(dir.path(), &toml).unwrap_or_else(|faults| panic!("{faults}\n{}", toml.text()));
            assert_eq!(format!("{with:?}"), without, "{} = {value}", table.dotted(field));
            checked += 1;
        }
    }
    assert!(checked > 60, "{checked}");
}

#[test]
fn a_required_field_is_missed() {
    let dir = cli::fixture();
    for task in Registry::built_in().definitions().iter() {
        for table in tables_of(&**task) {
            for field in table.fields.iter().filter(|field| field.absent == Absent::Required) {
                let mut toml = least(task.name().as_str());
                toml.add(table.name, "");
                let text = toml.0.iter_mut().find(|(name, _)| name == table.name).map(|(_, lines)| lines).unwrap();
                *text = text
                    .lines()
                    .filter(|line| !line.starts_with(&format!("{} =", field.name)))
                    .map(|l| format!("{l}\n"))
                    .collect();
                let message = read(dir.path(), &toml).unwrap_err().to_string();
                assert!(message.contains(&table.dotted(field)), "{}: {message}", table.dotted(field));
            }
        }
    }
}
