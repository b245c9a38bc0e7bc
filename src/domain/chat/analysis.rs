//! Post-call analysis: metrics that are asked of a transcript, and the typed values that an answer has for them.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::domain::{options::listed, pool::Pool};

listed! {
    /// The endpoint that lines are sent to.
    ChatEndpoint, "name of an endpoint" {
        /// A chat with a language model.
        Chat = "chat",
        /// The analysis of a call: its transcript is sent with `metrics`, and each has a value, a confidence and a reasoning.
        Pca = "pca",
    }
}

impl ChatEndpoint {
    /// Whether it is a chat.
    #[must_use]
    pub const fn is_chat(&self) -> bool {
        matches!(self, Self::Chat)
    }

    /// The pool of its calls.
    #[must_use]
    pub const fn pool(self) -> Pool {
        match self {
            Self::Chat => Pool::Chat,
            Self::Pca => Pool::Pca,
        }
    }
}

listed! {
    /// What the value of a metric is.
    MetricType, "type of a metric" {
        /// `true` or `false`.
        Boolean = "boolean",
        /// One of its `choices`.
        Enum = "enum",
        /// A whole number.
        Integer = "integer",
        /// A text.
        String = "string",
        /// A text of some sentences.
        Summary = "summary",
    }
}

/// The property that holds the summary of the call, which each answer has.
pub const SUMMARY: &str = "summary";
/// The longest name of a metric, in letters.
const LONGEST_NAME: usize = 64;
/// The largest whole number that every reader of JSON takes exactly.
const MOST_EXACT: f64 = 9_007_199_254_740_992.0;

/// What is asked of each transcript.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metric {
    /// Its name, which is a column of the report.
    pub name: String,
    /// What is asked, in plain words.
    pub prompt: String,
    /// What its value is.
    #[serde(rename = "type")]
    pub kind: MetricType,
    /// The values that an enum may have.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub choices: Vec<String>,
}

impl Metric {
    /// A name, unless it cannot be one.
    ///
    /// # Errors
    /// Why it cannot.
    pub fn name_of(text: &str) -> Result<String, String> {
        let is_good = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-');
        match text {
            "" => Err("may not be empty".to_owned()),
            SUMMARY => {
                Err(format!("`{SUMMARY}` is the summary of the call, which each answer has without being asked"))
            }
            text if text.chars().count() > LONGEST_NAME => Err(format!("has over {LONGEST_NAME} letters")),
            text if !text.chars().all(is_good) => {
                Err(format!("`{text}` cannot be a name: letters, digits, `_` and `-` can"))
            }
            text => Ok(text.to_owned()),
        }
    }

    /// What is wrong with its choices.
    ///
    /// # Errors
    /// An enum has fewer than two, or one twice; another type has some.
    pub fn check_choices(&self) -> Result<(), String> {
        let mut seen = HashSet::new();
        let twice = self.choices.iter().find(|choice| !seen.insert(choice.to_lowercase()));
        match (self.kind, self.choices.len(), twice) {
            (MetricType::Enum, 0 | 1, _) => {
                Err("is an enum, and needs two `choices` or more, e.g. choices = [\"billing\", \"other\"]".to_owned())
            }
            (MetricType::Enum, _, Some(choice)) => Err(format!("has the choice `{choice}` twice")),
            (MetricType::Enum, ..) | (_, 0, _) => Ok(()),
            _ => Err("has `choices`, which are for an enum".to_owned()),
        }
    }

    /// The value that a text stands for.
    fn value(&self, said: &Value) -> Result<Value, String> {
        let text = match said {
            Value::String(text) => text.trim().to_owned(),
            Value::Bool(_) | Value::Number(_) => said.to_string(),
            Value::Null => String::new(),
            Value::Array(_) | Value::Object(_) => return Err("is no text".to_owned()),
        };
        match self.kind {
            MetricType::Boolean => match text.to_ascii_lowercase().as_str() {
                "true" | "yes" => Ok(json!(true)),
                "false" | "no" => Ok(json!(false)),
                _ => Err("is neither true nor false".to_owned()),
            },
            MetricType::Enum => {
                // The spelling is that of the definition.
                let lower = text.to_lowercase();
                let choice = self.choices.iter().find(|choice| choice.trim().to_lowercase() == lower);
                choice.map(|choice| json!(choice)).ok_or_else(|| "is none of its choices".to_owned())
            }
            MetricType::Integer => whole_number(&text).ok_or_else(|| "is no whole number".to_owned()),
            MetricType::String | MetricType::Summary => Ok(json!(text)),
        }
    }

    /// As the API takes it.
    fn wire(&self) -> Value {
        let mut metric = json!({
            "identifier": self.name,
            "dispositionMetricPrompt": self.prompt,
            "dispositionMetricType": self.kind.as_str().to_ascii_uppercase(),
        });
        if !self.choices.is_empty() {
            metric["choices"] = json!(self.choices);
        }
        metric
    }
}

/// A whole number, also as `80.0`.
fn whole_number(text: &str) -> Option<Value> {
    if let Ok(number) = text.parse::<i64>() {
        return Some(json!(number));
    }
    let number = text.parse::<f64>().ok().filter(|number| number.fract() == 0.0 && number.abs() <= MOST_EXACT)?;
    #[expect(clippy::cast_possible_truncation, reason = "it is a whole number within 53 bits")]
    let number = number as i64;
    Some(json!(number))
}

/// The metrics as the API takes them.
#[must_use]
pub fn wire_metrics(metrics: &[Metric]) -> Value {
    metrics.iter().map(Metric::wire).collect()
}

/// The names of the columns that an analysis has.
#[must_use]
pub fn column_names(metrics: &[Metric]) -> Vec<String> {
    let of = |metric: &Metric| [metric.name.clone(), confidence_of(&metric.name), reasoning_of(&metric.name)];
    [SUMMARY.to_owned()].into_iter().chain(metrics.iter().flat_map(of)).collect()
}

fn confidence_of(name: &str) -> String {
    format!("{name}.confidence")
}

fn reasoning_of(name: &str) -> String {
    format!("{name}.reasoning")
}

/// The places of an analysis that may quote: names with dots.
#[must_use]
pub fn places(metrics: &[Metric]) -> Vec<String> {
    let of = |metric: &Metric| [format!("{}.value", metric.name), reasoning_of(&metric.name)];
    [SUMMARY.to_owned()].into_iter().chain(metrics.iter().flat_map(of)).collect()
}

/// What an answer comes to.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Analysis {
    /// The summary, and an object with `value`, `confidence` and `reasoning` for each metric. What is wrong is left out.
    pub result: Value,
    /// The same for columns, by their names.
    pub cells: Map<String, Value>,
    /// What is wrong, metric by metric. Values are not repeated.
    pub faults: Vec<String>,
}

impl Analysis {
    /// Reads an answer that was asked for these metrics.
    #[must_use]
    pub fn of(metrics: &[Metric], answer: &Value) -> Self {
        let mut faults = Vec::new();
        let (mut result, mut cells) = (Map::new(), Map::new());
        let mut put = |cell: String, value: &Value| drop((!value.is_null()).then(|| cells.insert(cell, value.clone())));
        let summary = answer.get("summary").filter(|summary| summary.is_string()).cloned().unwrap_or_default();
        put(SUMMARY.to_owned(), &summary);
        result.insert(SUMMARY.to_owned(), summary);
        let all = answer.get("dispositionMetrics").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        for metric in metrics {
            let name = &metric.name;
            let mut found = all.iter().filter(|own| own.get("identifier").and_then(Value::as_str) == Some(name));
            let Some(own) = found.next() else {
                faults.push(format!("`{name}` has no value"));
                continue;
            };
            if found.next().is_some() {
                faults.push(format!("`{name}` comes twice"));
                continue;
            }
            let value = metric.value(own.get("value").unwrap_or(&Value::Null)).unwrap_or_else(|why| {
                faults.push(format!("`{name}` {why}"));
                Value::Null
            });
            let confidence = match own.get("confidence").unwrap_or(&Value::Null) {
                Value::Null => Value::Null,
                said if said.as_f64().is_some_and(|number| (0.0..=1.0).contains(&number)) => said.clone(),
                _ => {
                    faults.push(format!("the confidence of `{name}` is not between 0 and 1"));
                    Value::Null
                }
            };
            let reasoning = own.get("reasoning").filter(|text| text.is_string()).cloned().unwrap_or_default();
            put(name.clone(), &value);
            put(confidence_of(name), &confidence);
            put(reasoning_of(name), &reasoning);
            result.insert(name.clone(), json!({"value": value, "confidence": confidence, "reasoning": reasoning}));
        }
        Self { result: Value::Object(result), cells, faults }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metric(name: &str, kind: MetricType, choices: &[&str]) -> Metric {
        let choices = choices.iter().map(|choice| (*choice).to_owned()).collect();
        Metric { name: name.to_owned(), prompt: "What?".to_owned(), kind, choices }
    }

    fn metrics() -> Vec<Metric> {
        vec![
            metric("refund", MetricType::Boolean, &[]),
            metric("reason", MetricType::Enum, &["Billing", "other"]),
            metric("dollars", MetricType::Integer, &[]),
            metric("name", MetricType::String, &[]),
        ]
    }

    fn answer(values: [Value; 4]) -> Value {
        let own = ["refund", "reason", "dollars", "name"].iter().zip(values);
        let own: Value = own
            .map(|(name, value)| json!({"identifier": name, "value": value, "confidence": 0.5, "reasoning": "said"}))
            .collect();
        json!({"summary": "A call.", "dispositionMetrics": own})
    }

    #[test]
    fn values_have_the_types_that_were_asked_for() {
        let read = Analysis::of(&metrics(), &answer([json!("True"), json!("billing"), json!("80.0"), json!(" Ann ")]));
        assert_eq!(read.faults, [""; 0]);
        assert_eq!(read.cells["refund"], json!(true));
        assert_eq!((&read.cells["reason"], &read.cells["dollars"]), (&json!("Billing"), &json!(80)));
        assert_eq!((&read.cells["name"], &read.cells["summary"]), (&json!("Ann"), &json!("A call.")));
        assert_eq!((&read.cells["name.confidence"], &read.cells["name.reasoning"]), (&json!(0.5), &json!("said")));
        assert_eq!(read.result["refund"], json!({"value": true, "confidence": 0.5, "reasoning": "said"}));
        let names = column_names(&metrics());
        assert!(read.cells.keys().all(|name| names.contains(name)) && names.len() == read.cells.len(), "{names:?}");
        let bare = Analysis::of(&metrics(), &answer([json!(false), json!("other"), json!(-3), Value::Null]));
        assert_eq!((bare.faults.len(), &bare.cells["dollars"], &bare.cells["name"]), (0, &json!(-3), &json!("")));
    }

    #[test]
    fn what_is_wrong_is_told_by_metric_and_the_rest_is_kept() {
        let read = Analysis::of(&metrics(), &answer([json!("maybe"), json!("secret"), json!("8.5"), json!([1])]));
        let wanted = [
            "`refund` is neither true nor false",
            "`reason` is none of its choices",
            "`dollars` is no whole number",
            "`name` is no text",
        ];
        assert_eq!(read.faults, wanted);
        assert!(!read.cells.contains_key("refund") && read.cells["refund.reasoning"] == "said");
        for (number, is_whole) in [("1e3", true), ("", false), ("eighty", false), ("1e300", false), ("NaN", false)] {
            assert_eq!(whole_number(number).is_some(), is_whole, "{number}");
        }
    }

    #[test]
    fn metrics_that_are_missing_or_come_twice_are_told() {
        let one = json!({"identifier": "refund", "value": "true", "confidence": 7});
        let read = Analysis::of(&metrics()[..2], &json!({"dispositionMetrics": [one, {"identifier": "more"}]}));
        assert_eq!(read.faults, ["the confidence of `refund` is not between 0 and 1", "`reason` has no value"]);
        let read = Analysis::of(&metrics()[..1], &json!({"dispositionMetrics": [one, one]}));
        assert_eq!(read.faults, ["`refund` comes twice"]);
        assert_eq!(Analysis::of(&[], &json!({"summary": "S."})).faults, [""; 0], "a summary alone may be asked for");
        assert_eq!(Analysis::of(&metrics(), &json!({})).faults.len(), 4);
    }

    #[test]
    fn metrics_that_cannot_be_asked_say_why() {
        for (name, why) in
            [("", "empty"), ("summary", "each answer has"), ("a b", "cannot be a name"), ("a.b", "cannot")]
        {
            assert!(Metric::name_of(name).unwrap_err().contains(why), "{name}");
        }
        assert!(Metric::name_of(&"x".repeat(65)).is_err() && Metric::name_of("größe_2-a").is_ok());
        let why = |kind, choices: &[&str]| metric("m", kind, choices).check_choices().err().unwrap_or_default();
        assert!(why(MetricType::Enum, &[]).contains("two `choices` or more"));
        assert!(why(MetricType::Enum, &["a"]).contains("two `choices` or more"));
        assert!(why(MetricType::Enum, &["a", "A"]).contains("`A` twice"));
        assert!(why(MetricType::Integer, &["1"]).contains("for an enum"));
        assert!(why(MetricType::Enum, &["a", "b"]).is_empty() && why(MetricType::String, &[]).is_empty());
    }

    #[test]
    fn the_api_gets_them_in_its_own_words() {
        let wire = wire_metrics(&metrics()[..2]);
        insta::assert_snapshot!(wire, @r#"[{"identifier":"refund","dispositionMetricPrompt":"What?","dispositionMetricType":"BOOLEAN"},{"identifier":"reason","dispositionMetricPrompt":"What?","dispositionMetricType":"ENUM","choices":["Billing","other"]}]"#);
    }
}
