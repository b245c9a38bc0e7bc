//! A chat's call: what is sent, and what its answer pays for.

use std::time::Duration;

use serde_json::Value;

use super::ChatJob;
use crate::{
    domain::{
        call::{LogFlags, Outcome},
        chat::{Usage, estimated_tokens},
        job::RequestFingerprint,
        options::ExpireContent,
        pool::Pool,
    },
    runner::{Caller, DepartureCheck, one_call::PartCall, reconcile::grace_ms},
    store::{End, Permit, Purchase},
    waves::{ChatAnswer, ChatCall},
};

/// The time-out of a call, unless the definition sets one.
const TIMEOUT: Duration = Duration::from_secs(120);

/// Buys one reply.
pub(super) struct ChatCaller<'a> {
    job: &'a ChatJob<'a>,
    body: Value,
}

impl<'a> ChatCaller<'a> {
    pub(super) const fn new(job: &'a ChatJob<'a>, body: Value) -> Self {
        Self { job, body }
    }

    /// What it can use at most, as far as that is known before.
    fn most(&self) -> Usage {
        let asked = &self.job.batch.asked;
        let messages = self.body["messages"].as_array().map_or(&[][..], Vec::as_slice);
        let texts = messages.iter().filter_map(|message| message["content"].as_str());
        let estimated: u64 = texts.map(|text| 4 + estimated_tokens(text)).sum();
        // The estimate may be off by a quarter.
        let prompt_tokens = estimated + estimated / 4;
        Usage { prompt_tokens, cached_tokens: 0, completion_tokens: asked.most_completion_tokens(estimated) }
    }
}

impl Caller for ChatCaller<'_> {
    type Answer = ChatAnswer;

    fn buys(&self) -> Purchase {
        let ChatJob { on, batch, prompt, .. } = self.job;
        let units = u32::try_from(prompt.chars().count()).unwrap_or(u32::MAX);
        Purchase::Priced { units, cost: on.config().rates.chat_cost(&batch.asked, &self.most(), 1) }
    }

    fn unpriced(&self) -> Option<&str> {
        let asked = &self.job.batch.asked;
        self.job.on.config().rates.chat_price(asked).is_none().then(|| asked.answered_by())
    }

    fn request_fingerprint(&self) -> RequestFingerprint {
        RequestFingerprint {
            model: self.job.batch.asked.answered_by().to_owned(),
            language: String::new(),
            flags: LogFlags::default(),
            bytes: None,
            audio_ms: None,
            estimated_ms: None,
            keywords: Default::default(),
        }
    }

    fn timeout(&self) -> Duration {
        self.job.on.run().call_timeout.unwrap_or(TIMEOUT)
    }

    fn grace_ms(&self) -> i64 {
        grace_ms(self.job.on.run().unknown_grace, None)
    }

    async fn send(&self, permit: &Permit, departs: DepartureCheck) -> Outcome<ChatAnswer> {
        let id = permit.call.to_string();
        let call = ChatCall { endpoint: self.job.batch.asked.endpoint, body: &self.body, call_id: &id };
        let outcome = self.job.on.client().chat(&call, move || departs.asked(), self.timeout()).await;
        self.job.on.note_local_outage(&outcome);
        outcome
    }

    fn answered(&self, answer: &ChatAnswer) -> End {
        let usage = &answer.completion.usage;
        let cost = self.job.on.config().rates.chat_cost(&self.job.batch.asked, usage, 1);
        End::Answered {
            body: answer.body.clone(),
            from_log: false,
            request_id: answer.request_id.clone(),
            content_expiry: None,
            audio_ms: None,
            // An answer that does not say what it used costs what was reserved.
            cost: (*usage != Usage::default()).then_some(cost.0),
        }
    }

    fn expiry<'a>(&self, _: &'a ChatAnswer) -> (ExpireContent, Option<&'a str>) {
        (ExpireContent::No, None)
    }
}

impl PartCall for ChatCaller<'_> {
    fn pool(&self) -> Pool {
        self.job.batch.asked.endpoint.pool()
    }
}
