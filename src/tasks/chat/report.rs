//! The report of a chat.

use serde_json::Value;

use super::Chat;
use crate::{
    domain::{
        chat::{Chat as Asking, ChatLine, EVIDENCE_AT, Usage, column_names as analysis_columns},
        cost::{ChatPrice, Rates},
        pool::Pool,
        task::{SpecError, TaskSpec},
    },
    report::{
        BatchRequest, JobRequest, OwnColumn, ReportTask,
        row::{Column, OwnCell},
        words::{counted, dollars, unpriced},
    },
    store::{Field, ReportRow, Retried},
};

const COLUMNS: &[Column] = &[
    Column::Batch,
    Column::Line,
    Column::Key,
    Column::Status,
    Column::Outputs,
    Column::Model,
    Column::Parts,
    Column::Tries,
    Column::BilledCalls,
    Column::CostUsd,
    Column::RequestId,
    Column::SubmittedAt,
    Column::StartedAt,
    Column::FinishedAt,
    Column::ProcessingMs,
    Column::ErrorKind,
    Column::Error,
    Column::Notes,
    Column::Wanted,
];

/// The column of a reply that is a text.
pub(super) const REPLY: &str = "reply";
/// What stands before a property whose name is another column's.
const PREFIX: &str = "reply.";

const OWN_COLUMNS: &[OwnColumn] = &[
    ("prompt_tokens", "The tokens that the model read for this line, in all its calls."),
    ("cached_tokens", "Those of them that were in the vendor's cache, and so cost less."),
    ("completion_tokens", "The tokens that the model wrote."),
    ("reply", "The reply, where there is no schema."),
    (
        "evidence_at",
        "When each quote was said, in seconds, and by whom, as JSON; where `grounded` names quotes and the transcript of another batch has word times.",
    ),
    ("summary", "Of an analysis: the summary of the call."),
    (
        "{metric}",
        "Of an analysis: the value of a metric, with the type that it was asked for. If another column has the name, `reply.` stands before it.",
    ),
    ("{metric}.confidence", "How sure the vendor is of that value, from 0 to 1."),
    ("{metric}.reasoning", "What the value rests on, in the vendor's words."),
    (
        "{property}",
        "A property of the reply, by the schema: there is a column for each. That of an object within the reply has the names of both, with a dot: `customer.name`. A list is JSON. If another column has the name, `reply.` stands before it.",
    ),
];

impl ReportTask for Chat {
    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn own_columns(&self) -> &'static [OwnColumn] {
        OWN_COLUMNS
    }

    fn batch(&self, spec: &TaskSpec) -> Result<Box<dyn BatchRequest>, SpecError> {
        Ok(Box::new(spec.read::<Asking>()?))
    }

    fn invented(&self) -> &'static str {
        "replies are invented"
    }
}

/// The names of the properties of replies, each as its values are kept.
pub(super) fn property_names(asked: &Asking) -> Vec<String> {
    let mut names = match asked.schema {
        _ if !asked.endpoint.is_chat() => analysis_columns(&asked.metrics),
        Some(_) => asked.properties().into_iter().map(|property| property.name).collect(),
        None => vec![REPLY.to_owned()],
    };
    names.extend(asked.tells_moments().then(|| EVIDENCE_AT.to_owned()));
    names
}

/// The columns of tokens. An analysis does not say what it used.
const TOKENS: [&str; 3] = ["prompt_tokens", "cached_tokens", "completion_tokens"];

/// The names as columns behind these: none is that of another.
fn column_names(tokens: &[&str], names: &[String]) -> Vec<String> {
    let is_taken = |name: &str| COLUMNS.iter().any(|column| column.as_str() == name) || tokens.contains(&name);
    let named = |name: &String| if is_taken(name) { format!("{PREFIX}{name}") } else { name.clone() };
    tokens.iter().map(|name| (*name).to_owned()).chain(names.iter().map(named)).collect()
}

fn tokens_of(asked: &Asking) -> &'static [&'static str] {
    if asked.endpoint.is_chat() { &TOKENS } else { &[] }
}

impl BatchRequest for Asking {
    fn own_columns(&self) -> Vec<String> {
        column_names(tokens_of(self), &property_names(self))
    }

    fn job(&self, job: &ReportRow) -> JobRequest {
        let count =
            |of: fn(&Usage) -> u64| job.reply.as_ref().map_or(OwnCell::Empty, |reply| OwnCell::Count(of(&reply.usage)));
        let mut own =
            vec![count(|own| own.prompt_tokens), count(|own| own.cached_tokens), count(|own| own.completion_tokens)];
        own.truncate(tokens_of(self).len());
        let cells = job.reply.as_ref().map(|reply| &reply.cells);
        own.extend(property_names(self).iter().map(|name| match cells.and_then(|cells| cells.get(name)) {
            None | Some(Value::Null) => OwnCell::Empty,
            Some(value) => OwnCell::Json(value.clone()),
        }));
        JobRequest { model: Some(self.answered_by().to_owned()), own, ..JobRequest::default() }
    }

    fn field_of(&self, column: Column) -> Option<Field> {
        let default = Some(self.answered_by().to_owned());
        (column == Column::Model).then_some(Field::Option { path: &["model"], default })
    }

    fn pool(&self) -> Pool {
        self.endpoint.pool()
    }

    fn is_priced(&self, rates: &Rates) -> bool {
        rates.chat_price(self).is_some()
    }

    fn price(&self, rates: &Rates) -> String {
        price_of(self, rates)
    }

    fn price_of_retry(&self, plan: &Retried, rates: &Rates) -> String {
        let characters = counted(plan.units, "character");
        if rates.chat_price(self).is_none() {
            return format!("{characters}, at a price that is {}", unpriced(self.answered_by()));
        }
        // Only the letters of the prompts are known here; the text before them is in each request again.
        let jobs = plan.jobs.saturating_sub(plan.deliveries);
        let stable = self.stable_tokens(&ChatLine::default());
        let prompt_tokens = plan.units / 4 + stable * jobs;
        let most = self.options.max_tokens.map_or(0, u64::from);
        let usage = Usage { prompt_tokens, cached_tokens: 0, completion_tokens: most * jobs };
        format!(
            "about {} for {characters} in {}",
            dollars(rates.chat_cost(self, &usage, jobs).0),
            counted(jobs, "request")
        )
    }
}

/// The price of requests as text.
pub(super) fn price_of(asked: &Asking, rates: &Rates) -> String {
    let model = asked.answered_by();
    let prices = match rates.chat_price(asked) {
        None if !asked.endpoint.is_chat() => {
            return "not known, and counted as 0: the vendor publishes no price of it; [rates] pca in wavebatch.toml sets that of a request".to_owned();
        }
        None => return unpriced(model),
        Some(ChatPrice::Request(price)) => return format!("{} a request by {model}, by [rates]", dollars(price.0)),
        Some(ChatPrice::Tokens(prices)) => prices,
    };
    let [input, cached, output] = [prices.input, prices.cached, prices.output].map(|price| dollars(price.0));
    format!("{input} a million by {model}, {cached} cached, {output} written, list price of {}", rates.as_of)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{chat::ChatEndpoint, cost::MicroUsd};

    #[test]
    fn a_property_called_like_another_column_is_told_apart() {
        let names = ["resolved", "status", "cached_tokens", "customer.name", "error"].map(str::to_owned);
        insta::assert_snapshot!(column_names(&TOKENS, &names).join(" "), @"prompt_tokens cached_tokens completion_tokens resolved reply.status reply.cached_tokens customer.name reply.error");
    }

    #[test]
    fn a_price_names_its_parts() {
        let asked = |model: &str| -> Asking {
            serde_json::from_value(serde_json::json!({"options": {"model": model}, "repairs": 1})).unwrap()
        };
        let price = price_of(&asked("electron"), &Rates::default());
        insta::assert_snapshot!(price, @"$0.40 a million by electron, $0.10 cached, $1.60 written, list price of 2026-09-07");
        assert!(price_of(&asked("electron-2"), &Rates::default()).contains("electron-2"));
        let analysis = Asking { endpoint: ChatEndpoint::Pca, ..asked("pca") };
        assert!(price_of(&analysis, &Rates::default()).contains("the vendor publishes no price of it; [rates] pca"));
        let rates = Rates { pca: Some(MicroUsd(20_000)), ..Rates::default() };
        assert_eq!(price_of(&analysis, &rates), "$0.02 a request by pca, by [rates]");
    }
}
