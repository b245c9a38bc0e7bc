//! Examines everything that a night depends on: what works, what does not, and what to do about it.
//!
//! The examinations run side by side, each within its time, and none of them costs money or changes a line.

mod api;
mod definition;
mod ledger;
mod machine;

use std::{path::PathBuf, time::Duration};

use futures::future::{BoxFuture, join_all};
use tokio::time::timeout;

use super::{
    api::Api,
    error::AppError,
    settings::Settings,
    views::{DoctorView, ExaminedView, Health},
};
use crate::{
    definition::{Definition, Overrides},
    store::{Opening, Store, StoreError},
};

/// How long an examination may take.
const LIMIT: Duration = Duration::from_secs(10);
/// How long those may take that read a whole ledger or manifest.
const LONG_LIMIT: Duration = Duration::from_secs(20);
/// How long the ledger is waited for that another program has locked.
const LOCK_WAIT: Duration = Duration::from_secs(3);

/// A definition that is examined, or why it cannot be read.
pub(super) type Read = (String, Result<Definition, String>);

/// Examines the settings, and these definitions.
///
/// # Errors
/// The clients cannot be made.
pub async fn examine(settings: &Settings, definitions: &[PathBuf]) -> Result<DoctorView, AppError> {
    let settings = settings.clone().without_calls();
    let definitions: Vec<Read> = definitions.iter().map(|path| read(&settings, path)).collect();
    let api = Api::open(&settings).await;
    let opening = Opening { busy_timeout: LOCK_WAIT, ..settings.config.opening(false) };
    let store = match timeout(LIMIT, Store::open(opening)).await {
        Ok(Ok((store, _))) => Ok(Some(store)),
        Ok(Err(StoreError::Missing(_))) => Ok(None),
        Ok(Err(e)) => Err(AppError::of_ledger(e, &settings.config.database)),
        Err(_) => Err(AppError::NotWorkable(super::error::NotWorkable {
            why: format!("{} did not answer within {} s", settings.config.database, LIMIT.as_secs()),
            hint: "see that its disk or its server answers".to_owned(),
        })),
    };
    let found = {
        let mut examinations: Vec<BoxFuture<'_, Vec<ExaminedView>>> = Vec::new();
        let api_found = match &api {
            Ok(api) => within("api", LIMIT, api::examine(&settings, api)),
            Err(e) => Box::pin(std::future::ready(vec![failed("key", e)])),
        };
        examinations.push(api_found);
        match &store {
            Ok(Some(store)) => examinations.extend(ledger::examinations(store)),
            Ok(None) => examinations.push(Box::pin(std::future::ready(vec![ledger::none_yet(&settings)]))),
            Err(e) => examinations.push(Box::pin(std::future::ready(vec![failed("ledger", e)]))),
        }
        let store = store.as_ref().ok().and_then(Option::as_ref);
        examinations.push(within("webhook", LIMIT, machine::webhook(&settings, store)));
        examinations.push(Box::pin(std::future::ready(machine::examine(&settings, &definitions))));
        for read in &definitions {
            examinations.extend(definition::examinations(read, &settings, (api.as_ref().ok(), store)));
        }
        join_all(examinations).await.into_iter().flatten().collect::<Vec<_>>()
    };
    if let Ok(Some(store)) = store {
        store.give_up();
        store.close().await;
    }
    if let Ok(api) = api {
        api.close().await;
    }
    let is_well = found.iter().all(|one| one.state != Health::Failed);
    Ok(DoctorView { version: env!("CARGO_PKG_VERSION"), is_well, examined: found })
}

fn read(settings: &Settings, path: &std::path::Path) -> Read {
    let sandbox_output = settings.is_sandbox().then(|| super::settings::SANDBOX_OUTPUT.to_owned());
    let overrides = Overrides { now: settings.env.now, output: sandbox_output, ..Overrides::default() };
    let read = Definition::load(path, settings.tasks.definitions(), &overrides);
    let read = read.map(|definition| definition.asked_at(settings.config.origin()));
    (path.display().to_string(), read.map_err(|faults| faults.to_string()))
}

/// An examination that says so where it takes too long.
fn within<'f>(
    name: &'static str,
    limit: Duration,
    examination: impl Future<Output = Vec<ExaminedView>> + Send + 'f,
) -> BoxFuture<'f, Vec<ExaminedView>> {
    Box::pin(async move {
        timeout(limit, examination).await.unwrap_or_else(|_| {
            let what = format!("it did not answer within {} s", limit.as_secs());
            vec![ExaminedView::failed(name, what, Some("see that it can be reached from this machine".to_owned()))]
        })
    })
}

/// The same, where taking long proves nothing.
fn patiently<'f>(
    name: &'static str,
    instead: &'static str,
    examination: impl Future<Output = Vec<ExaminedView>> + Send + 'f,
) -> BoxFuture<'f, Vec<ExaminedView>> {
    Box::pin(async move {
        timeout(LONG_LIMIT, examination).await.unwrap_or_else(|_| {
            let what = format!("it takes longer than {} s: {instead} takes its time", LONG_LIMIT.as_secs());
            vec![ExaminedView::unchecked(name, what)]
        })
    })
}

/// That this failed.
fn failed(name: &'static str, error: &AppError) -> ExaminedView {
    ExaminedView::failed(name, crate::domain::causes::in_words(error), error.hint())
}
