//! How its jobs are worked: a call each, whose answer is one file.

use std::{sync::Arc, time::Duration};

use futures::future::BoxFuture;
use serde::Deserialize;
use serde_json::json;
use wavebatch::{
    domain::{
        batch::BatchSpec,
        body::Body,
        call::{ErrorKind, LogFlags, Outcome},
        cost::MicroUsd,
        job::{JobState, RequestFingerprint},
        options::ExpireContent,
        pool::Pool,
        task::SpecError,
    },
    runner::{
        BatchTask, Caller, DepartureCheck, JobContext, Maker, Means, Next, OneCall, PartContext, RunnerConfig,
        RunnerTask,
        one_call::{self, FreshAnswer, KeptAnswer, PartCall},
        outputs,
    },
    sink::{Content, Item},
    store::{End, Finish, Permit, Purchase, StoreError, To},
    waves::{EndpointAnswer, EndpointCall},
};

use super::{Echo, Echoing, pool};

impl Maker for Echo {
    fn join(&self, _: &Means) -> Arc<dyn RunnerTask> {
        Arc::new(*self)
    }
}

impl RunnerTask for Echo {
    fn bind(&self, spec: &BatchSpec, _: &RunnerConfig) -> Result<Arc<dyn BatchTask>, SpecError> {
        Ok(Arc::new(Batch { asked: spec.task.read()? }))
    }
}

#[derive(Debug)]
struct Batch {
    asked: Echoing,
}

impl BatchTask for Batch {
    fn work<'a>(&'a self, on: JobContext<'a>) -> BoxFuture<'a, Result<Option<To>, StoreError>> {
        Box::pin(async move {
            let text = on.store().text(on.job().job).await?.unwrap_or_default();
            one_call::work(Job { on, times: self.asked.times, text }, on).await
        })
    }
}

/// A text to be said again.
struct Job<'a> {
    on: JobContext<'a>,
    times: u32,
    text: String,
}

/// What the endpoint says.
#[derive(Deserialize)]
struct Said {
    text: String,
}

impl Caller for Job<'_> {
    type Answer = EndpointAnswer;

    fn buys(&self) -> Purchase {
        Purchase::Priced { units: self.characters(), cost: self.cost() }
    }

    fn unpriced(&self) -> Option<&str> {
        None
    }

    fn request_fingerprint(&self) -> RequestFingerprint {
        RequestFingerprint {
            model: "echo".into(),
            language: String::new(),
            flags: LogFlags::default(),
            bytes: None,
            audio_ms: None,
            estimated_ms: None,
            keywords: Default::default(),
        }
    }

    fn timeout(&self) -> Duration {
        Duration::from_secs(20)
    }

    fn grace_ms(&self) -> i64 {
        500
    }

    async fn send(&self, permit: &Permit, departs: DepartureCheck) -> Outcome<EndpointAnswer> {
        let (body, id) = (json!({ "text": self.text, "times": self.times }), permit.call.to_string());
        let call = EndpointCall { path: "/echo", body: &body, expire: ExpireContent::No, call_id: &id };
        self.on.client().post(&call, move || departs.asked(), self.timeout()).await
    }

    fn answered(&self, answer: &EndpointAnswer) -> End {
        End::Answered {
            body: answer.body.clone(),
            from_log: false,
            request_id: answer.request_id.clone(),
            content_expiry: None,
            audio_ms: None,
            cost: Some(self.cost().0),
        }
    }

    fn expiry<'a>(&self, _: &'a EndpointAnswer) -> (ExpireContent, Option<&'a str>) {
        (ExpireContent::No, None)
    }
}

impl PartCall for Job<'_> {
    fn pool(&self) -> Pool {
        pool()
    }
}

impl OneCall for Job<'_> {
    async fn deliver(&mut self, _: &PartContext<'_>, fresh: FreshAnswer<EndpointAnswer>) -> Result<Next, StoreError> {
        self.write(&fresh.answer.body, fresh.answer.request_id.clone()).await
    }

    async fn deliver_kept(&mut self, _: &PartContext<'_>, kept: KeptAnswer) -> Result<Next, StoreError> {
        self.write(&kept.body, kept.facts.request_id).await
    }
}

impl Job<'_> {
    fn characters(&self) -> u32 {
        u32::try_from(self.text.chars().count()).unwrap_or(u32::MAX)
    }

    fn cost(&self) -> MicroUsd {
        MicroUsd(i64::from(self.characters()) * 10)
    }

    async fn write(&self, body: &Body, request_id: Option<String>) -> Result<Next, StoreError> {
        let said = body.whole().ok().and_then(|body| serde_json::from_slice::<Said>(&body).ok());
        let Some(Said { text }) = said else {
            return Ok(Next::fail(ErrorKind::UnusableAnswer, "the answer has no text"));
        };
        let item = Item {
            name: format!("{}.txt", self.on.job().key),
            content: Content::Bytes(text.clone().into()),
            content_type: "text/plain; charset=utf-8",
        };
        let written = match outputs::write(self.on, vec![item], outputs::always()).await? {
            Ok(written) => written,
            Err(next) => return Ok(next),
        };
        // Silence is what nobody asked for.
        let suspect = text.is_empty().then(|| "empty".to_owned());
        let finish = Finish {
            made_by: Some(self.on.spec_json()),
            state: Some(if suspect.is_some() { JobState::Suspect } else { JobState::Succeeded }),
            error: suspect.is_some().then(|| "nothing was said".to_owned()),
            error_kind: suspect,
            units: Some(self.characters().into()),
            request_id,
            ..Finish::default()
        };
        Ok(Next::finish(written.note(finish)))
    }
}
