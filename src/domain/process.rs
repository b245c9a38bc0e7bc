//! Processes that work on one ledger, and where their settings differ.

use std::{collections::BTreeMap, fmt};

use serde_json::Value;

/// A process of some machine.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ProcessName {
    /// The name of its machine.
    pub host: String,
    /// Its number in its system.
    pub pid: i64,
}

impl fmt::Display for ProcessName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {} on {}", self.pid, self.host)
    }
}

/// A setting that processes of one account have with different values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingDifference {
    /// Its place in `wavebatch.toml`, e.g. `limits.pulse.concurrency`.
    pub setting: String,
    /// Each value with the processes that have it; `null`: none is set.
    pub values: Vec<(Value, Vec<ProcessName>)>,
}

/// The settings of a process by their places.
type SettingValues = BTreeMap<String, Value>;

/// Among the settings of a process: the numbers of the batches that it works; without it, it works all.
pub const WORKED: &str = "batches";

/// How many processes are named for one value.
const NAMED: usize = 3;

impl fmt::Display for SettingDifference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is ", self.setting)?;
        for (nth, (value, processes)) in self.values.iter().enumerate() {
            let and = match nth {
                0 => "",
                _ if nth + 1 == self.values.len() => " and ",
                _ => ", ",
            };
            let value = match value {
                Value::Null => "not set".to_owned(),
                Value::String(text) => format!("\"{text}\""),
                other => other.to_string(),
            };
            let names: Vec<String> = processes.iter().take(NAMED).map(ToString::to_string).collect();
            let more = match processes.len().saturating_sub(NAMED) {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            write!(f, "{and}{value} for {}{more}", names.join(", "))?;
        }
        Ok(())
    }
}

/// The settings of which processes have different values. Each process names its settings as a JSON object. Processes of
/// different accounts share no limits and are not compared.
#[must_use]
pub fn differences(processes: &[(ProcessName, String)]) -> Vec<SettingDifference> {
    let mut accounts: BTreeMap<String, Vec<(&ProcessName, SettingValues)>> = BTreeMap::new();
    for (process, settings) in processes {
        let Ok(Value::Object(mut settings)) = serde_json::from_str(settings) else { continue };
        settings.remove(WORKED);
        let account = settings.remove("account").unwrap_or_default().to_string();
        let mut values = SettingValues::new();
        flatten("", &Value::Object(settings), &mut values);
        accounts.entry(account).or_default().push((process, values));
    }
    accounts.values().flat_map(|processes| differences_of(processes)).collect()
}

fn differences_of(processes: &[(&ProcessName, SettingValues)]) -> Vec<SettingDifference> {
    let mut settings: Vec<&String> = processes.iter().flat_map(|(_, values)| values.keys()).collect();
    settings.sort();
    settings.dedup();
    let mut found = Vec::new();
    for setting in settings {
        let mut values: Vec<(Value, Vec<ProcessName>)> = Vec::new();
        for (process, own) in processes {
            let value = own.get(setting).cloned().unwrap_or_default();
            match values.iter_mut().find(|(known, _)| *known == value) {
                Some((_, names)) => names.push((*process).clone()),
                None => values.push((value, vec![(*process).clone()])),
            }
        }
        if values.len() > 1 {
            found.push(SettingDifference { setting: setting.clone(), values });
        }
    }
    found
}

/// The values of an object and of those in it, each by its path.
fn flatten(path: &str, value: &Value, into: &mut SettingValues) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                flatten(&path, value, into);
            }
        }
        // A limit that is not set says the same as one that is not named.
        Value::Null => {}
        other => drop(into.insert(path.to_owned(), other.clone())),
    }
}

/// The differences as one sentence; empty where there is none.
#[must_use]
pub fn differences_in_words(found: &[SettingDifference]) -> String {
    const TOLD: usize = 3;
    if found.is_empty() {
        return String::new();
    }
    let told: Vec<String> = found.iter().take(TOLD).map(ToString::to_string).collect();
    let more = match found.len().saturating_sub(TOLD) {
        0 => String::new(),
        1 => "; one more differs".to_owned(),
        more => format!("; {more} more differ"),
    };
    format!(
        "processes work with different settings, and the higher limits win: {}{more}; start them with the same wavebatch.toml",
        told.join("; ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(host: &str, pid: i64, settings: &str) -> (ProcessName, String) {
        (ProcessName { host: host.into(), pid }, settings.into())
    }

    #[test]
    fn settings_that_differ_are_named_with_hosts_and_values() {
        let limits = |n: &str| {
            format!(r#"{{"account":"a","limits":{{"pulse":{{"requests_per_minute":{n},"concurrency":null}}}}}}"#)
        };
        let same = [process("a", 1, &limits("25")), process("b", 2, &limits("25"))];
        assert_eq!(differences(&same), []);
        assert_eq!(differences_in_words(&[]), "");
        let found = differences(&[
            process("a", 1, &limits("25")),
            process("b", 2, &limits("60")),
            process("c", 3, &limits("25")),
            process("d", 4, &limits("null")),
        ]);
        assert_eq!(found.len(), 1);
        assert_eq!(
            found[0].to_string(),
            "limits.pulse.requests_per_minute is 25 for process 1 on a, process 3 on c, 60 for process 2 on b and not set for process 4 on d"
        );
        let words = differences_in_words(&found);
        assert!(words.ends_with("for process 4 on d; start them with the same wavebatch.toml"), "{words}");
    }

    #[test]
    fn a_table_that_one_lacks_differs_and_other_accounts_do_not_matter() {
        let found = differences(&[
            process("a", 1, r#"{"account":"a","spend":{"day_usd":1.5,"timezone":"UTC"}}"#),
            process("b", 2, r#"{"account":"a"}"#),
            process("c", 3, r#"{"account":"another","spend":{"day_usd":7}}"#),
            process("d", 4, "{}"),
            process("e", 5, "no JSON"),
        ]);
        let words: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert_eq!(
            words,
            [
                "spend.day_usd is 1.5 for process 1 on a and not set for process 2 on b",
                r#"spend.timezone is "UTC" for process 1 on a and not set for process 2 on b"#
            ]
        );
    }

    #[test]
    fn many_are_counted() {
        let many: Vec<_> = (0..8)
            .map(|n| process("h", n, &format!(r#"{{"x":{{"a":{0},"b":{0},"c":{0},"d":{0}}}}}"#, n.min(1))))
            .collect();
        let found = differences(&many);
        assert!(found[0].to_string().ends_with("process 3 on h and 4 more"), "{}", found[0]);
        let words = differences_in_words(&found);
        assert!(words.contains("; one more differs; start"), "{words}");
    }
}
