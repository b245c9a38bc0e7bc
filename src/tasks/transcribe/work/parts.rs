//! A recording that is bought in several calls, or by stretches: each call is a part of the job, and their answers become one
//! conversation, or one transcript. What was tried another way is held against the first answers, and the better ones are kept.

mod answers;
mod joined;

use super::{
    TranscriptionJob,
    deliver::{Common, unreadable, words_asked},
    hear, heard_now,
    plan::{Plan, Plans},
};
use crate::{
    domain::{
        batch::OnLostWords,
        call::Answer,
        facts::Facts,
        job::JobState,
        length::Length,
        listening::{ChannelMode, Listening},
        row::Note,
    },
    large::look_into,
    runner::{
        Leftover, Next, disk,
        one_call::{self, PartAnswer, PartCall, part_of},
        outputs,
    },
    sink::Item,
    store::{AnswerFacts, Finish, StoreError, To},
};
use answers::CallInHand;
use joined::{Joined, Joining, Unjoined};

/// A plan whose answers are there and were judged.
struct Tried {
    calls: Vec<CallInHand>,
    joined: Joined,
    items: Vec<Item>,
    /// Files of the outputs of large answers.
    _drafts: Vec<Leftover>,
}

/// Moves a job with several calls to its next state; `None` if its lease is lost.
pub(super) async fn work(mut job: TranscriptionJob<'_>, mut plans: Plans) -> Result<Option<To>, StoreError> {
    if job.heard.is_none() {
        job.heard = hear::kept(&job).await?;
    }
    loop {
        match step(&mut job, &mut plans).await? {
            Next::Look => {}
            Next::Leave(to) => return Ok(Some(to)),
            Next::Lost => return Ok(None),
        }
    }
}

async fn step(job: &mut TranscriptionJob<'_>, plans: &mut Plans) -> Result<Next, StoreError> {
    let own = match attempt(job, &plans.own, 0).await? {
        Ok(own) => Ok(own),
        // What was kept of the first answers may be gone.
        Err(end) if is_end(&end) && plans.other.is_some() => Err(end),
        Err(next) => return Ok(next),
    };
    if let Ok(own) = &own
        && own.joined.is_mixed_up
    {
        return unpack(job, plans).await;
    }
    let Some(other) = &plans.other else {
        return match own {
            Ok(own) => deliver(job, (&plans.own, None), own).await,
            Err(end) => Ok(end),
        };
    };
    let other_tried = match attempt(job, other, 1).await? {
        Ok(tried) => Ok(tried),
        // The first answers are better than none.
        Err(end) if is_end(&end) => Err(end),
        Err(next) => return Ok(next),
    };
    match (own, other_tried) {
        (Ok(own), Ok(tried)) if tried.joined.verdict().is_better_than(&own.joined.verdict()) => {
            deliver(job, (other, Some(Note::OtherWay)), tried).await
        }
        (Ok(own), _) => deliver(job, (&plans.own, Some(Note::FirstWay)), own).await,
        (Err(_), Ok(tried)) => deliver(job, (other, Some(Note::OtherWay)), tried).await,
        (Err(end), Err(_)) => Ok(end),
    }
}

/// Whether nothing more is tried.
const fn is_end(next: &Next) -> bool {
    matches!(next, Next::Leave(To::Finished(_)))
}

/// Plans the channels of a packed recording one by one: its words cannot be told apart.
async fn unpack<'a>(job: &mut TranscriptionJob<'a>, plans: &mut Plans) -> Result<Next, StoreError> {
    if job.heard.is_none() {
        // What was kept of it is gone, or of another release.
        let mut part = part_of(job.on, job.pool(), 0).await?;
        job.heard = match heard_now(job, &mut part).await? {
            Ok(heard) => heard,
            Err(next) => return Ok(next),
        };
    }
    let split = Listening { channels: ChannelMode::Split, ..job.asked.listening.clone() };
    let plan = job.heard.as_ref().map_or_else(Plan::unheard, |heard| Plan::of(heard, &split, false));
    let (plan, from) = plans.next(plan.because(Note::PackedInVain));
    let lease = (job.on.job().job, job.on.job().token);
    if !job.on.store().freeze_parts(lease, &plan.frozen(), from).await? {
        return Ok(Next::Lost);
    }
    *plans = plans.clone().with(plan);
    Ok(Next::Look)
}

/// Gets and judges the answers of a plan. The inner error is what follows if they cannot be had now.
async fn attempt(job: &mut TranscriptionJob<'_>, plan: &Plan, nth: usize) -> Result<Result<Tried, Next>, StoreError> {
    loop {
        let calls = match buy_all(job, plan).await? {
            Ok(calls) => calls,
            Err(next) => return Ok(Err(next)),
        };
        match judge(job, plan, calls, nth).await? {
            Err(Next::Look) => {}
            judged => return Ok(judged),
        }
    }
}

/// Gets the answers of all parts, one after the other: the account's other calls are those of other lines.
async fn buy_all(job: &mut TranscriptionJob<'_>, plan: &Plan) -> Result<Result<Vec<CallInHand>, Next>, StoreError> {
    let mut answers = Vec::with_capacity(plan.parts.len());
    for (number, sent) in &plan.parts {
        job.turn_to(sent);
        let mut part = part_of(job.on, job.pool(), *number).await?;
        part.reload().await?;
        let answer = match one_call::answer(job, &mut part).await? {
            Ok(answer) => answer,
            Err(next) => return Ok(Err(next)),
        };
        let (call, body, transcript, facts) = match answer {
            PartAnswer::Kept(kept) => (kept.call, kept.body, None, kept.facts),
            PartAnswer::Fresh(fresh) => {
                let processing_ms = Some(fresh.processing_ms);
                let Answer { body, transcript, request_id, content_expiry, .. } = fresh.answer;
                let facts = AnswerFacts { request_id, content_expiry, processing_ms, from_log: false };
                (fresh.call, body, transcript, facts)
            }
        };
        answers.push(CallInHand {
            part: *number,
            sent: sent.clone(),
            words_asked: words_asked(job, &part, call),
            paid_again: part.journal.billed() > 1,
            call,
            body,
            transcript,
            facts,
        });
    }
    Ok(Ok(answers))
}

/// Joins and judges answers.
async fn judge(
    job: &TranscriptionJob<'_>,
    plan: &Plan,
    calls: Vec<CallInHand>,
    nth: usize,
) -> Result<Result<Tried, Next>, StoreError> {
    let on = job.on;
    let formats = &job.asked.formats;
    let drafts: Vec<_> = match calls.iter().any(|call| call.body.is_large()) {
        true => formats.iter().map(|format| Leftover::new(on, &format!("{nth}.{format}"))).collect(),
        false => Vec::new(),
    };
    let len = calls.iter().map(|call| call.body.len()).sum();
    let joining = Joining {
        key: on.job().key.clone(),
        formats: formats.clone(),
        drafts: drafts.iter().map(|draft| draft.path.clone()).collect(),
        roles: job.roles.clone(),
        is_by_channel: plan.is_by_channel(),
        is_packed: plan.is_packed(),
        length: plan.length_ms().map_or(Length::Unknown, Length::Exact),
        heard: job.heard.clone(),
        limits: job.asked.listening.alarms,
        language: job.options.language.as_str().to_owned(),
        allow_silence: job.options.allow_silence,
        redo_lost_words: on.run().on_lost_words == OnLostWords::Redo,
    };
    let (judged, calls) = look_into(len, move || joining.join(calls)).await;
    let (joined, items) = match judged {
        Ok(all) => all,
        Err(Unjoined::WordsLost(call)) => {
            on.store().set_aside(on.job().job, call).await?;
            return Ok(Err(Next::Look));
        }
        Err(Unjoined::Answer(part, call, e)) => {
            let part = part_of(on, job.pool(), part).await?;
            return unreadable(&part, call, &e).await.map(Err);
        }
        Err(Unjoined::Disk(path, e)) => {
            return Ok(Err(Next::again_at(on.wait_for_machine(&disk::message(&path, &e)))));
        }
    };
    Ok(Ok(Tried { calls, joined, items, _drafts: drafts }))
}

/// Writes the outputs of a plan.
async fn deliver(
    job: &TranscriptionJob<'_>,
    (plan, way): (&Plan, Option<Note>),
    tried: Tried,
) -> Result<Next, StoreError> {
    let Tried { calls, joined, items, _drafts: drafts } = tried;
    if !job.on.is_held().await? {
        return Ok(Next::Lost);
    }
    let written = match outputs::write(job.on, items, outputs::always()).await? {
        Ok(written) => written,
        Err(next) => return Ok(next),
    };
    drop(drafts);
    Ok(Next::finish(written.note(finish(job, (plan, way), joined, &calls))))
}

fn finish(
    job: &TranscriptionJob<'_>,
    (plan, way): (&Plan, Option<Note>),
    joined: Joined,
    calls: &[CallInHand],
) -> Finish {
    let of_all = |of: fn(&AnswerFacts) -> Option<&str>| {
        let mut all: Vec<&str> = calls.iter().filter_map(|call| of(&call.facts)).collect();
        all.dedup();
        (!all.is_empty()).then(|| all.join(";"))
    };
    let first = joined.doubts.first();
    Finish {
        made_by: Some(job.on.spec_json()),
        state: Some(if first.is_some() { JobState::Suspect } else { JobState::Succeeded }),
        units: Some(plan.sent_ms()).filter(|ms| *ms > 0),
        error_kind: first.map(|doubt| doubt.reason.to_string()),
        error: first.map(|doubt| doubt.words.clone()),
        notes: notes(job, (plan, way), &joined, calls),
        request_id: of_all(|facts| facts.request_id.as_deref()),
        content_expiry: of_all(|facts| facts.content_expiry.as_deref()),
        processing_ms: calls.iter().map(|call| call.facts.processing_ms).sum::<Option<i64>>(),
        doubtful: joined.doubts.iter().map(|doubt| doubt.part).collect(),
        facts: Facts {
            audio_ms: joined.length_ms,
            channels: joined.channels,
            talk: joined.talk,
            channels_note: plan.note().filter(|_| plan.is_by_channel()).map(|note| note.to_string()),
            ..Facts::default()
        }
        .or(job.on.job().facts.clone()),
        ..Finish::default()
    }
}

fn notes(
    job: &TranscriptionJob<'_>,
    (plan, way): (&Plan, Option<Note>),
    joined: &Joined,
    calls: &[CallInHand],
) -> Option<String> {
    let is_applied = |call: &CallInHand| call.facts.content_expiry.as_deref() == Some("applied");
    let common = Common {
        from_log: calls.iter().any(|call| call.facts.from_log),
        words_not_asked: joined.words_not_asked,
        captions: joined.captions,
        is_empty: joined.is_empty,
        has_speakers: joined.has_speakers,
        is_expiring: calls.iter().all(is_applied),
        paid_again: calls.iter().any(|call| call.paid_again),
    };
    let doubts = joined.doubts.iter().map(|doubt| Note::from(doubt.reason));
    let own = [
        plan.note(),
        way,
        joined.raw_differs,
        (joined.doubtful_joints > 0).then_some(Note::DoubtfulJoint),
        joined.has_new_speakers.then_some(Note::SpeakersByPiece),
    ];
    let own = own.into_iter().flatten().chain(plan.cut_notes());
    common.notes(&job.options, doubts.chain(own))
}
