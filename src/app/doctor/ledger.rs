//! The ledger: its engine, whether it is whole, its disk, its lock, who works on it, and its spool.

use std::{
    path::Path,
    time::{Duration, Instant, SystemTime},
};

use futures::future::BoxFuture;
use tokio::time::timeout;

use super::{LIMIT, LOCK_WAIT, api::compared, failed, patiently, within};
use crate::{
    app::{error::AppError, settings::Settings, views::ExaminedView},
    domain::process::ProcessName,
    report::words::{bytes, counted},
    store::{DiskSpace, LedgerAddress, Life, Registered, Store, StoreError},
};

/// With less free space than this, a night is about to stop.
const LITTLE: u64 = 200 << 20;
/// With less than this, it is told.
const SOME: u64 = 2 << 30;

pub(super) fn none_yet(settings: &Settings) -> ExaminedView {
    let what = format!("there is none at {} yet: the first `run` or `submit` makes it", settings.config.database);
    match &settings.config.database {
        LedgerAddress::File(path) => match nearest_folder(path) {
            Some(folder) if !is_writable(folder) => ExaminedView::failed(
                "ledger",
                format!("there is none at {} yet, and this user may not write to {}", path.display(), folder.display()),
                Some("name another place with --database, or make the folder writable".to_owned()),
            ),
            _ => ExaminedView::well("ledger", what),
        },
        LedgerAddress::Server(_) => ExaminedView::well("ledger", what),
    }
}

/// The nearest folder above a path that exists.
pub(super) fn nearest_folder(path: &Path) -> Option<&Path> {
    path.ancestors().skip(1).find(|folder| folder.is_dir())
}

pub(super) fn is_writable(folder: &Path) -> bool {
    rustix::fs::access(folder, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK).is_ok()
}

pub(super) fn examinations(store: &Store) -> Vec<BoxFuture<'_, Vec<ExaminedView>>> {
    vec![
        within("ledger", LIMIT, engine(store)),
        patiently("integrity", "`wavebatch ledger check`", integrity(store)),
        within("disk", LIMIT, disk(store)),
        within("lock", LIMIT, lock(store)),
        within("processes", LIMIT, processes(store)),
        within("spool", LIMIT, spool(store)),
    ]
}

/// Of a question to the ledger.
fn of<T>(
    name: &'static str,
    asked: Result<T, StoreError>,
    view: impl FnOnce(T) -> Vec<ExaminedView>,
) -> Vec<ExaminedView> {
    match asked {
        Ok(answer) => view(answer),
        Err(e) => vec![failed(name, &AppError::from(e))],
    }
}

async fn engine(store: &Store) -> Vec<ExaminedView> {
    of("ledger", store.engine_facts().await, |facts| {
        let what = format!("{}, {}, schema {}", store.address(), facts.engine, facts.schema);
        let mut found = vec![ExaminedView::well("ledger", what)];
        if let Some(server) = facts.server_time {
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            found.push(compared("clock", "the database's", server, i64::try_from(now.as_millis()).unwrap_or(i64::MAX)));
        }
        found
    })
}

async fn integrity(store: &Store) -> Vec<ExaminedView> {
    of("integrity", store.quick_check().await, |findings| match findings.first() {
        None => vec![ExaminedView::well("integrity", "the quick check of the engine found nothing wrong")],
        Some(first) => {
            let places = first.places.first().map(|place| format!(": {place}")).unwrap_or_default();
            vec![ExaminedView::failed("integrity", format!("{}{places}", first.what), Some(first.remedy.to_owned()))]
        }
    })
}

async fn disk(store: &Store) -> Vec<ExaminedView> {
    let asked = async { Ok::<_, StoreError>((store.sizes().await?, store.growth().await?)) };
    of("disk", asked.await, |(sizes, growth)| {
        let all = sizes.file.saturating_add(sizes.wal);
        let daily = match growth.calls {
            0 => 0,
            calls => all / calls * growth.recent_calls / growth.days,
        };
        let mut what = bytes(all);
        if sizes.spool > 0 {
            what.push_str(&format!(", spool {}", bytes(sizes.spool)));
        }
        if daily > 0 {
            what.push_str(&format!("; it grows by about {} a day", bytes(daily)));
        }
        let Ok(Some(DiskSpace { free, .. })) = store.places().ledger_disk() else {
            return vec![ExaminedView::well("disk", format!("{what}; the server's disk is seen on the server"))];
        };
        what.push_str(&format!("; {} free", bytes(free)));
        let days = free.checked_div(daily);
        let remedy = "make room, or `wavebatch prune` answers that are not needed any more";
        vec![match (free, days) {
            (free, _) if free < LITTLE => ExaminedView::failed("disk", what, Some(remedy.to_owned())),
            (_, Some(0)) => ExaminedView::failed("disk", format!("{what}: full within a day"), Some(remedy.to_owned())),
            (_, Some(days)) if days < 14 => {
                ExaminedView::warning("disk", format!("{what}: full in {}", counted(days, "day")), remedy)
            }
            (free, _) if free < SOME => ExaminedView::warning("disk", what, remedy),
            _ => ExaminedView::well("disk", what),
        }]
    })
}

async fn lock(store: &Store) -> Vec<ExaminedView> {
    let began = Instant::now();
    let tried = timeout(LOCK_WAIT + Duration::from_secs(2), store.can_be_written());
    // While somebody holds it.
    let watch = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        store.write_lock_holders()
    };
    let (tried, holders) = tokio::join!(tried, async { timeout(LOCK_WAIT, watch).await.unwrap_or_default() });
    let held_by = match holders.as_slice() {
        [] => String::new(),
        [one, ..] => {
            let program = one.program.as_ref().map(|name| format!(" ({name})")).unwrap_or_default();
            format!(" by process {}{program}", one.pid)
        }
    };
    match tried {
        Ok(Ok(())) if holders.is_empty() || began.elapsed() < Duration::from_secs(1) => {
            vec![ExaminedView::well("lock", "the ledger can be written, and nobody holds its lock for long")]
        }
        Ok(Ok(())) => {
            let what = format!("the write lock was held{held_by}, and became free");
            vec![ExaminedView::warning("lock", what, "if that lasts, work waits for it")]
        }
        Ok(Err(StoreError::Locked(_))) | Err(_) => {
            let remedy = "end that program, or let it finish: calls wait for the lock".to_owned();
            vec![ExaminedView::failed("lock", format!("the write lock is held{held_by}"), Some(remedy))]
        }
        Ok(Err(e)) => vec![failed("lock", &AppError::from(e))],
    }
}

async fn processes(store: &Store) -> Vec<ExaminedView> {
    of("processes", store.registered().await, |registered| {
        let named = |life: Life| {
            let of = registered.iter().filter(|process| process.life == life);
            of.map(|Registered { host, pid, .. }| ProcessName { host: host.clone(), pid: *pid }.to_string())
                .collect::<Vec<_>>()
        };
        let (at_work, silent, dead) = (named(Life::AtWork), named(Life::Silent), named(Life::Dead));
        if !silent.is_empty() {
            let what = format!("silent: {}", silent.join(", "));
            let remedy =
                "it is stopped, or cut off from the database: end it; its lines go on elsewhere when its lease is over";
            return vec![ExaminedView::warning("processes", what, remedy)];
        }
        if !dead.is_empty() && at_work.is_empty() {
            let what = format!("died and left lines: {}", dead.join(", "));
            let remedy = "the next `run`, `work` or `serve` goes on with them".to_owned();
            return vec![ExaminedView::warning("processes", what, remedy)];
        }
        vec![ExaminedView::well(
            "processes",
            match at_work.as_slice() {
                [] => "nobody works on the ledger".to_owned(),
                some => format!("at work: {}", some.join(", ")),
            },
        )]
    })
}

async fn spool(store: &Store) -> Vec<ExaminedView> {
    let cache = store.audio_cache();
    match cache.try_out().await {
        Err(e @ StoreError::NoSharedSpool { .. }) => {
            let hint = AppError::from(e).hint().unwrap_or_default();
            vec![ExaminedView::warning("spool", "there is no place for bought speech; transcription needs none", hint)]
        }
        Err(e) => vec![failed("spool", &AppError::from(e))],
        Ok(()) => of("spool", cache.place().await, |place| {
            vec![ExaminedView::well("spool", format!("bought speech is kept in {place}"))]
        }),
    }
}
