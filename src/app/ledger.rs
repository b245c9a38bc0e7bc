//! A ledger that is read or changed without running its batches.

use super::{error::AppError, settings::Settings};
use crate::{
    domain::{
        environment::{Environment, LedgerChoice},
        options::nearest,
    },
    report::words::command,
    store::{BatchRow, Store, StoreError},
};

/// Opens the ledger, which must exist.
///
/// # Errors
/// The ledger does not exist, is locked or is damaged.
pub async fn open_ledger(settings: &Settings) -> Result<Store, AppError> {
    let config = &settings.config;
    let opened = Store::open(config.opening(false)).await;
    opened.map(|(store, _)| store).map_err(|e| AppError::of_ledger(e, &config.database))
}

/// The same; `None` if it does not exist.
///
/// # Errors
/// The ledger is locked or damaged.
pub async fn find_ledger(settings: &Settings) -> Result<Option<Store>, AppError> {
    match open_ledger(settings).await {
        Ok(store) => Ok(Some(store)),
        Err(
            AppError::Store(StoreError::Missing(_))
            | AppError::Ledger { source: StoreError::Missing(_), .. }
            | AppError::NoLedger { .. },
        ) => Ok(None),
        Err(e) => Err(e),
    }
}

/// One batch by name. Hints name the ledger as the user chose it.
///
/// # Errors
/// There is no such batch; the hint has the nearest name.
pub async fn batch_of(store: &Store, name: &str, choice: &LedgerChoice) -> Result<BatchRow, AppError> {
    if let Some(row) = store.batch(name).await? {
        return Ok(row);
    }
    let rows = store.batches().await?;
    let environment = rows.first().map_or(Environment::Live, |row| row.environment);
    let names: Vec<String> = rows.into_iter().map(|row| row.name).collect();
    let hint = match nearest(name, names.iter().map(String::as_str)) {
        Some(near) => format!("did you mean `{near}`?"),
        None => {
            let batches = match names.len() {
                1 => "1 batch".to_owned(),
                n => format!("{n} batches"),
            };
            format!("{} has {batches}; `{}` lists them", store.address(), command((choice, environment), &["status"]))
        }
    };
    Err(AppError::NoBatch { source: StoreError::NoBatch(name.to_owned()), hint })
}
