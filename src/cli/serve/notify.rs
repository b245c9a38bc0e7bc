//! What a service tells: in its log, and to whoever wants to know.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio_util::sync::CancellationToken;

use crate::{
    cli::{
        Context,
        notify::{about_close, about_pause, is_here, secret, target},
    },
    config::Config,
    definition::Notify,
    domain::{environment::Environment, notice::NoticeEvent},
    server::{BatchNews, Metrics, News, NotifySettings, OwnTarget, Scheduling},
    store::{BatchStatus, NewNotice, Store, StoreError},
};

/// Tells how a batch stands.
pub(super) async fn notify(
    store: &Store,
    settings: &NotifySettings,
    news: &BatchNews,
    sandbox: bool,
) -> Result<(), StoreError> {
    let definition = &news.batch.definition;
    let own = (settings.own)(definition).is_some();
    if settings.notifies(definition, own)
        && let Some(notice) = notice_of(store, news, own, sandbox).await?
    {
        store.post_notice(notice).await?;
    }
    log(news);
    Ok(())
}

/// Tells what becomes of schedules, and keeps their metrics.
pub(super) async fn schedules(
    store: Store,
    settings: NotifySettings,
    metrics: Metrics,
    sandbox: bool,
    mut events: UnboundedReceiver<Scheduling>,
) {
    while let Some(event) = events.recv().await {
        if let Scheduling::CouldNotStart { definition, batch, at, why, hint } = &event {
            let batch = batch.as_deref().unwrap_or(definition);
            let reason = hint.as_ref().map_or_else(|| why.clone(), |hint| format!("{why}; {hint}"));
            let news = News { sandbox, ..News::could_not_start(definition, batch, &reason, store.clock().now()) };
            let own = (settings.own)(definition).is_some();
            if settings.notifies(definition, own)
                && let Err(e) = store.post_notice(news.notice(format!("{at} {why}"), own)).await
            {
                tracing::warn!(error = %e, "nobody is told that a run could not be started");
            }
        }
        log_scheduling(&event);
        if let Scheduling::States(states) = event {
            metrics.schedules(states);
        }
    }
}

/// How often it is looked whether a spend limit is close.
const LOOK: Duration = Duration::from_secs(1);

/// Tells, until it is stopped, that spend limits are close, whichever process noticed it.
pub(super) async fn spend_limits(
    store: Store,
    settings: NotifySettings,
    environment: Environment,
    stop: CancellationToken,
) {
    let mut failing = false;
    while tokio::time::timeout(LOOK, stop.cancelled()).await.is_err() {
        match post_spend_notices(&store, &settings, environment).await {
            Ok(()) => failing = false,
            Err(e) if !std::mem::replace(&mut failing, true) => {
                tracing::warn!(error = %e, "nobody is told that a spend limit is close");
            }
            Err(_) => {}
        }
    }
}

async fn post_spend_notices(
    store: &Store,
    settings: &NotifySettings,
    environment: Environment,
) -> Result<(), StoreError> {
    for close in store.spend_notices(environment).await? {
        let batch = store.batch_by_id(close.batch).await?;
        let own = (settings.own)(&batch.definition).is_some();
        if settings.notifies(&batch.definition, own) {
            let news = News { sandbox: environment.is_sandbox(), ..News::spend_close(&batch, &close) };
            store.post_notice(news.notice(about_close(&close), own)).await?;
        }
        store.spend_notice_posted(&close).await?;
    }
    Ok(())
}

fn log_scheduling(event: &Scheduling) {
    let message = |at: i64| Timestamp::from_millisecond(at).map(|at| at.to_string()).unwrap_or_default();
    match event {
        Scheduling::Found { definition, file, scheduled: true } => {
            tracing::info!(definition, file = %file.display(), "schedule found");
        }
        Scheduling::Changed { definition, file, .. } => {
            tracing::info!(definition, file = %file.display(), "definition changed");
        }
        Scheduling::Broken { file, faults } => {
            tracing::error!(file = %file.display(), "a definition is broken and starts nothing: {faults}");
        }
        Scheduling::Mended { definition, file } => tracing::info!(definition, file = %file.display(), "mended"),
        Scheduling::Gone { definition: Some(definition), file } => {
            tracing::info!(definition, file = %file.display(), "definition gone: it starts nothing more");
        }
        Scheduling::Clash { definition, why, .. } => tracing::error!(definition, "{why}"),
        Scheduling::Started { definition, at, name, added, older_batch, warnings, faults, .. } => {
            let same = if *older_batch { "; it is the night before, with the same manifest and options" } else { "" };
            tracing::info!(
                definition,
                scheduled = message(*at),
                batch.name = name,
                lines_new = added,
                "batch started{same}"
            );
            warnings.iter().for_each(|warning| tracing::warn!(batch.name = name, "{warning}"));
            if !faults.is_empty() {
                tracing::warn!(batch.name = name, "bad lines are skipped:\n{faults}");
            }
        }
        Scheduling::CouldNotStart { definition, at, why, hint, .. } => {
            tracing::error!(definition, scheduled = message(*at), hint, "could not start, and is tried again: {why}");
        }
        Scheduling::Waits { definition, at, why } => {
            tracing::info!(definition, scheduled = message(*at), "waits: {why}")
        }
        Scheduling::Dropped { definition, at, why } => {
            tracing::warn!(definition, scheduled = message(*at), "let go: {why}");
        }
        Scheduling::Found { .. } | Scheduling::Gone { .. } | Scheduling::States(_) => {}
    }
}

/// What a service tells by: what the settings say, and what its definitions say themselves.
pub(super) fn settings(
    context: &Context,
    config: &Config,
    own: OwnTarget,
    sandbox: bool,
    metrics: Metrics,
) -> NotifySettings {
    let heard = move |to: &Notify| !sandbox || is_here(to);
    let everybodys = config.notify.clone().zip(config.file.as_deref()).filter(|(to, _)| heard(to));
    let everybodys = everybodys.map(|(to, file)| target(to, file));
    let own = Arc::new(move |definition: &str| own(definition).filter(|target| heard(&target.to)));
    let settings = NotifySettings::new(everybodys, own, secret(context, Some(config)));
    NotifySettings { on_sent: Arc::new(move |well| metrics.notice(well)), ..settings }
}

/// What a service tells of a batch.
async fn notice_of(store: &Store, news: &BatchNews, own: bool, sandbox: bool) -> Result<Option<NewNotice>, StoreError> {
    let (event, at, about) = match news.batch_status {
        BatchStatus::Finished(at) => (NoticeEvent::Finished, at, at),
        BatchStatus::Paused(at) => (NoticeEvent::Paused, at, store.resumed_at(news.batch.id).await?),
        BatchStatus::WindowClosed(at) => (NoticeEvent::WindowClosed, at, at),
        BatchStatus::Working | BatchStatus::Over => return Ok(None),
    };
    let mut message = News { sandbox, ..News::of(event, &news.batch.definition, &news.summary, at) };
    if let Some(why) = &news.unpublished {
        (message.report, message.summary) = (None, None);
        message.reason = Some(message.reason.map_or_else(|| why.clone(), |reason| format!("{reason}; {why}")));
    }
    let about = match &news.batch.pause {
        Some((kind, _)) if event == NoticeEvent::Paused => about_pause(*kind, &news.batch, about),
        _ => about.to_string(),
    };
    Ok(Some(message.notice(about, own)))
}

fn log(news: &BatchNews) {
    let (name, summary) = (news.batch.name.as_str(), &news.summary);
    let lines: Vec<String> =
        summary.lines.iter().filter(|(_, n)| **n > 0).map(|(status, n)| format!("{n} {status}")).collect();
    let lines = lines.join(", ");
    let report = summary.report.as_str();
    match &news.batch_status {
        BatchStatus::Finished(_) => tracing::info!(batch.name = name, lines, report, "batch finished"),
        BatchStatus::Paused(_) => {
            let reason = summary.pause_reason.as_deref().unwrap_or_default();
            match &news.batch.pause {
                Some((kind, _)) if kind.ends_by_itself() => {
                    tracing::warn!(batch.name = name, lines, reason, "batch paused; it goes on by itself");
                }
                _ => tracing::warn!(
                    batch.name = name,
                    lines,
                    reason,
                    "batch paused; one line of it is tried every 15 min"
                ),
            }
        }
        BatchStatus::WindowClosed(_) => {
            tracing::warn!(
                batch.name = name,
                lines,
                report,
                "window closed with lines left; they go on in the next one"
            );
        }
        BatchStatus::Working | BatchStatus::Over => {}
    }
}
