//! What a service tells: in its log, and to whoever wants to know.

use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::mpsc::UnboundedReceiver;

use crate::{
    cli::{
        Context,
        told::{is_here, secret, target},
    },
    config::Config,
    definition::Notify,
    domain::notice::NoticeEvent,
    server::{BatchNews, Metrics, News, NotifySettings, OwnTarget, Scheduling},
    store::{NewNotice, Standing, Store, StoreError},
};

/// Tells how a batch stands.
pub(super) async fn tell(
    store: &Store,
    settings: &NotifySettings,
    news: &BatchNews,
    sandbox: bool,
) -> Result<(), StoreError> {
    let definition = &news.batch.definition;
    let own = (settings.own)(definition).is_some();
    if settings.tells(definition, own)
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
            if settings.tells(definition, own)
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

fn log_scheduling(event: &Scheduling) {
    let told = |at: i64| Timestamp::from_millisecond(at).map(|at| at.to_string()).unwrap_or_default();
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
        Scheduling::Started { definition, at, name, added, same_night, warnings, faults, .. } => {
            let same = if *same_night { "; it is the night before, with the same manifest and options" } else { "" };
            tracing::info!(
                definition,
                scheduled = told(*at),
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
            tracing::error!(definition, scheduled = told(*at), hint, "could not start, and is tried again: {why}");
        }
        Scheduling::Waits { definition, at, why } => tracing::info!(definition, scheduled = told(*at), "waits: {why}"),
        Scheduling::Dropped { definition, at, why } => {
            tracing::warn!(definition, scheduled = told(*at), "let go: {why}");
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
    let (event, at, about) = match news.standing {
        Standing::Finished(at) => (NoticeEvent::Finished, at, at),
        Standing::Paused(at) => (NoticeEvent::Paused, at, store.resumed_at(news.batch.id).await?),
        Standing::WindowClosed(at) => (NoticeEvent::WindowClosed, at, at),
        Standing::Working | Standing::Over => return Ok(None),
    };
    let mut told = News { sandbox, ..News::of(event, &news.batch.definition, &news.summary, at) };
    if let Some(why) = &news.unpublished {
        (told.report, told.summary) = (None, None);
        told.reason = Some(told.reason.map_or_else(|| why.clone(), |reason| format!("{reason}; {why}")));
    }
    Ok(Some(told.notice(about.to_string(), own)))
}

fn log(news: &BatchNews) {
    let (name, summary) = (news.batch.name.as_str(), &news.summary);
    let lines: Vec<String> =
        summary.lines.iter().filter(|(_, n)| **n > 0).map(|(status, n)| format!("{n} {status}")).collect();
    let lines = lines.join(", ");
    let report = summary.report.as_str();
    match &news.standing {
        Standing::Finished(_) => tracing::info!(batch.name = name, lines, report, "batch finished"),
        Standing::Paused(_) => {
            let reason = summary.pause_reason.as_deref().unwrap_or_default();
            tracing::warn!(batch.name = name, lines, reason, "batch paused; one line of it is tried every 15 min");
        }
        Standing::WindowClosed(_) => {
            tracing::warn!(
                batch.name = name,
                lines,
                report,
                "window closed with lines left; they go on in the next one"
            );
        }
        Standing::Working | Standing::Over => {}
    }
}
