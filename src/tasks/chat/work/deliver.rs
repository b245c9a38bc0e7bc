//! Makes the output of a reply that was judged. Nothing here costs money.

use serde_json::{Map, Value};

use super::{super::report::REPLY, ChatJob, JudgedReply, usage_of};
use crate::{
    domain::{
        chat::{Analysis, EVIDENCE_AT, Grounded, Reply, SpokenSource, cells, moments},
        facts::{Facts, ReplyFacts},
        job::JobState,
        row::Note,
    },
    runner::{Next, outputs},
    sink::{Content, Item},
    store::{Finish, StoreError},
};

/// Writes the output of the last of these replies, to a line that was asked in so many pieces.
pub(super) async fn deliver(
    job: &ChatJob<'_>,
    (replies, pieces): (Vec<JudgedReply>, usize),
) -> Result<Next, StoreError> {
    let on = job.on;
    let Some(last) = replies.last() else { return Ok(Next::again_at(on.now())) };
    let (result, moments) = with_moments(job, &last.judged.result);
    if !on.is_held().await? {
        return Ok(Next::Lost);
    }
    let item = item(&on.job().key, &result);
    let written = match outputs::write(on, vec![item], outputs::always()).await? {
        Ok(written) => written,
        Err(next) => return Ok(next),
    };
    let doubt = last.judged.doubt.as_ref();
    let reply = ReplyFacts { usage: usage_of(&replies), cells: cells_of(job, last, moments) };
    let processing_ms: Option<i64> = replies.iter().map(|reply| reply.facts.processing_ms).sum();
    let finish = Finish {
        made_by: Some(on.spec_json()),
        state: Some(if doubt.is_some() { JobState::Suspect } else { JobState::Succeeded }),
        error_kind: doubt.map(|(reason, _)| reason.to_string()),
        error: doubt.map(|(_, words)| words.clone()),
        facts: Facts { reply: Some(reply), parts: Some(pieces as u64), ..Facts::default() }.or(on.job().facts.clone()),
        units: Some(job.prompt.chars().count() as u64),
        request_id: last.facts.request_id.clone(),
        processing_ms,
        notes: notes(&replies),
        ..Finish::default()
    };
    Ok(Next::finish(written.note(finish)))
}

/// The file of a reply: an object that was checked has an ending of its own.
fn item(key: &str, result: &Reply) -> Item {
    match result {
        Reply::Object(object) => {
            let mut json = serde_json::to_vec_pretty(object).expect("what was read as JSON is written as JSON");
            json.push(b'\n');
            let content = Content::Bytes(json.into());
            Item { name: format!("{key}.json"), content, content_type: "application/json" }
        }
        Reply::Text(text) => {
            let content = Content::Bytes(text.clone().into());
            Item { name: format!("{key}.txt"), content, content_type: "text/plain; charset=utf-8" }
        }
    }
}

/// A result with the moments of its quotes, and these as a cell of the report.
fn with_moments(job: &ChatJob<'_>, result: &Reply) -> (Reply, Option<Value>) {
    let (asked, spoken) = (&job.batch.asked, &job.line.spoken);
    let Reply::Object(object) = result else { return (result.clone(), None) };
    if spoken.is_empty() || !asked.tells_moments() {
        return (result.clone(), None);
    }
    let patterns: Vec<Grounded> = asked.grounded.iter().filter_map(|text| Grounded::parse(text).ok()).collect();
    let moments = moments(&patterns, object, &SpokenSource::of(spoken));
    let mut object = object.clone();
    object[EVIDENCE_AT] = Value::from(moments.clone());
    // The quotes have columns of their own.
    let without_quote = |mut moment: Value| {
        moment.as_object_mut().map(|fields| fields.remove("quote"));
        moment
    };
    let cell = moments.into_iter().map(without_quote).collect();
    (Reply::Object(object), Some(cell))
}

/// The values of the reply's properties, and the moments of its quotes.
fn cells_of(job: &ChatJob<'_>, last: &JudgedReply, moments: Option<Value>) -> Map<String, Value> {
    let mut cells = properties_of(job, last);
    cells.extend(moments.map(|moments| (EVIDENCE_AT.to_owned(), moments)));
    cells
}

fn properties_of(job: &ChatJob<'_>, last: &JudgedReply) -> Map<String, Value> {
    if !job.batch.asked.endpoint.is_chat() {
        // Metrics that are right are told beside one that is not.
        let answer = serde_json::from_str(&last.completion.text).unwrap_or_default();
        return Analysis::of(&job.batch.asked.metrics, &answer).cells;
    }
    match (&last.judged.result, &job.batch.asked.schema) {
        (Reply::Object(object), Some(_)) => cells(&job.batch.asked.properties(), object),
        (Reply::Object(object), None) => [(REPLY.to_owned(), object.clone())].into_iter().collect(),
        (Reply::Text(text), None) => [(REPLY.to_owned(), Value::from(text.trim()))].into_iter().collect(),
        (Reply::Text(_), Some(_)) => Map::new(),
    }
}

fn notes(replies: &[JudgedReply]) -> Option<String> {
    let last = replies.last()?;
    let doubt = last.judged.doubt.as_ref().map(|(reason, _)| Note::from(*reason));
    let notes = [
        (replies.iter().any(|reply| !reply.judged.faults.is_empty()) && last.judged.faults.is_empty())
            .then_some(Note::Repaired),
        replies.iter().any(|reply| reply.paid_again).then_some(Note::PaidAgain),
        doubt,
    ];
    let names: Vec<&str> = notes.iter().flatten().map(|note| note.as_str()).collect();
    (!names.is_empty()).then(|| names.join(";"))
}
