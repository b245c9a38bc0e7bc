//! Parts that were bought once, and whose files are gone: pruned, or removed by somebody.

use super::{
    SynthesisJob,
    survey::{Surveyed, index},
};
use crate::{
    domain::{call::ErrorKind, job::JobState, row::Note, transcript::SuspectReason},
    store::{Finish, JobFilter, Selection, StoreError},
};

/// The decision about lost parts.
pub(super) enum LostDecision {
    /// They are bought again: the user knows the price, or this job has never paid for them.
    Buy,
    /// Nothing is bought, and the job ends.
    End(Box<Finish>),
    /// Another worker has the job.
    LeaseLost,
}

/// Decides before anything is bought. A bought part is not bought again without the user's request; a `retry` is such a
/// request, and announces that missing parts cost too.
pub(super) async fn judge(job: SynthesisJob<'_>, surveyed: &Surveyed) -> Result<LostDecision, StoreError> {
    let (script, store, lost) = (job.script, job.on.store(), &surveyed.lost);
    let claimed = job.on.job();
    let mut said = script.cache_keys.iter().enumerate().filter(|(_, cache_key)| cache_key.is_some());
    let asked_again = said.any(|(at, _)| surveyed.journals.is_forced(index(at)));
    if !asked_again && let Some(finish) = pruned(job).await? {
        return Ok(LostDecision::End(Box::new(finish)));
    }
    if !asked_again && lost.bought.is_empty() {
        return Ok(LostDecision::Buy);
    }
    if !store.set_parts_aside(claimed.job, claimed.token, lost.parts()).await? {
        return Ok(LostDecision::LeaseLost);
    }
    if asked_again {
        return Ok(LostDecision::Buy);
    }
    let which = match (lost.bought.as_slice(), script.name_of(lost.bought[0])) {
        ([_], Some(part)) => format!("{part}: its audio was bought, and is"),
        ([_], None) => "its audio was bought, and is".to_owned(),
        (several, _) => format!("the audio of {} parts was bought, and is", several.len()),
    };
    let message = format!("{which} gone from the spool; `wavebatch retry` buys it again");
    Ok(LostDecision::End(Box::new(script.failed(ErrorKind::AnswerLost, message))))
}

/// The end of a job whose outputs were written once, and whose audio is gone since: they stay succeeded or suspect. `None`: they
/// were never written.
pub(super) async fn pruned(job: SynthesisJob<'_>) -> Result<Option<Finish>, StoreError> {
    let claimed = job.on.job();
    let filter = JobFilter {
        lines: Selection::of_key(&*claimed.key),
        limit: u32::MAX,
        with_dropped: true,
        ..JobFilter::default()
    };
    let jobs = job.on.store().jobs(claimed.batch, &filter).await?;
    let own = jobs.into_iter().find(|row| row.row.job == claimed.job && row.row.outputs.is_some());
    if own.is_some() && !job.on.store().has_files(claimed.job).await? {
        let message =
            "its audio is pruned, and its file is another output's by now; `wavebatch retry --key` buys it again";
        return Ok(Some(job.script.failed(ErrorKind::AnswerLost, message.to_owned())));
    }
    Ok(own.map(|own| {
        let doubted = !own.doubtful.is_empty();
        Finish {
            state: Some(if doubted { JobState::Suspect } else { JobState::Succeeded }),
            // Without the audio nothing is judged again.
            error_kind: doubted.then(|| own.row.error_kind.unwrap_or_else(|| SuspectReason::TooShort.to_string())),
            error: doubted.then(|| own.row.error.unwrap_or_else(|| SuspectReason::TooShort.in_words().to_owned())),
            notes: Some(Note::AnswerPruned.to_string()),
            units: Some(job.script.characters),
            facts: job.script.facts().or(claimed.facts.clone()),
            ..Finish::default()
        }
    }))
}
