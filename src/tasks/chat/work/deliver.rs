//! Makes the output of a reply that was judged. Nothing here costs money.

use serde_json::{Map, Value};

use super::{super::report::REPLY, ChatJob, JudgedReply, usage_of};
use crate::{
    domain::{
        chat::{Reply, cells},
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
    if !on.is_held().await? {
        return Ok(Next::Lost);
    }
    let item = item(&on.job().key, &last.judged.result);
    let written = match outputs::write(on, vec![item], outputs::always()).await? {
        Ok(written) => written,
        Err(next) => return Ok(next),
    };
    let doubt = last.judged.doubt.as_ref();
    let reply = ReplyFacts { usage: usage_of(&replies), cells: cells_of(job, &last.judged.result) };
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

/// The values of the reply's properties.
fn cells_of(job: &ChatJob<'_>, result: &Reply) -> Map<String, Value> {
    match (result, &job.batch.asked.schema) {
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
