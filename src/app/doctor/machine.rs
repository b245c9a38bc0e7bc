//! The machine: its limits and programs, and whether the vendor's callbacks reach it.

use std::{os::unix::fs::PermissionsExt, path::PathBuf};

use secrecy::ExposeSecret;

use super::Read;
use crate::{
    app::{error::AppError, settings::Settings, views::ExaminedView},
    domain::{
        callback::{Keyring, SecretPurpose},
        pool::Pool,
    },
    process,
    report::words::grouped,
    server::{
        Secrets,
        probe::{self, ProbeSettings},
        secrets_beside,
    },
    store::Store,
};

/// Files, sockets and pipes that are open whatever is worked.
const ALWAYS_OPEN: u64 = 64;
/// How many a call has open at most: its connection, its recording, its output, and one to spare.
const BY_CALL: u64 = 4;

/// The limits and programs of the machine.
pub(super) fn examine(settings: &Settings, definitions: &[Read]) -> Vec<ExaminedView> {
    vec![files(settings, definitions), ffmpeg(settings)]
}

fn files(settings: &Settings, definitions: &[Read]) -> ExaminedView {
    let of_definitions = definitions.iter().filter_map(|(_, read)| read.as_ref().ok()?.run.concurrency);
    let of_pools = Pool::ALL.iter().filter_map(|pool| settings.config.limits_of(*pool).limits.concurrency);
    let calls = of_definitions.chain(of_pools).max().unwrap_or(16);
    let (most, needed) = (process::open_files(), ALWAYS_OPEN + BY_CALL * u64::from(calls));
    let what = format!("{} files may be open at once; {calls} calls in flight need about {needed}", grouped(most));
    match (process::too_few_files(), most < needed) {
        (None, false) => ExaminedView::well("files", what),
        (message, _) => ExaminedView::failed(
            "files",
            message.unwrap_or(what),
            Some(format!(
                "raise the limit to {} or more (`ulimit -Hn`, LimitNOFILE=)",
                needed.next_power_of_two().max(1_024)
            )),
        ),
    }
}

fn ffmpeg(settings: &Settings) -> ExaminedView {
    const USE: &str = "optional: it decodes GSM, AMR, WMA, G.722 and video";
    let is_program =
        |path: &PathBuf| path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0);
    if let Some(path) = &settings.config.ffmpeg {
        let what = format!("{} ([audio] ffmpeg)", path.display());
        return match is_program(path) {
            true => ExaminedView::well("ffmpeg", what),
            false => ExaminedView::failed(
                "ffmpeg",
                format!("{what} is no program"),
                Some("correct the path in wavebatch.toml, or leave it out to use the one on PATH".to_owned()),
            ),
        };
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join("ffmpeg")).find(is_program);
    ExaminedView::well(
        "ffmpeg",
        match found {
            Some(path) => format!("{} ({USE})", path.display()),
            None => format!("not on PATH ({USE})"),
        },
    )
}

/// Whether a callback would reach this ledger's receiver.
pub(super) async fn webhook(settings: &Settings, store: Option<&Store>) -> Vec<ExaminedView> {
    let Some(public_url) = settings.config.webhook.public_url.clone().filter(|_| !settings.is_sandbox()) else {
        return vec![ExaminedView::unchecked("webhook", "no public_url is set: answers are waited for, not posted")];
    };
    let Some(store) = store else {
        return vec![ExaminedView::unchecked("webhook", "there is no ledger yet, and so no secret of callbacks")];
    };
    let secrets = match secrets(settings, store).await {
        Ok(secrets) => secrets,
        Err(e) => return vec![super::failed("webhook", &e)],
    };
    if secrets.newest().is_none() {
        let what = format!("{public_url} was not tried: `wavebatch serve` has not made the secret of callbacks yet");
        return vec![ExaminedView::unchecked("webhook", what)];
    }
    let probe = ProbeSettings::new(public_url.clone(), secrets, store.clock().clone());
    let probe = ProbeSettings { timeouts: super::LIMIT / 2, ..probe };
    vec![match probe::once(&probe).await {
        Ok(()) => ExaminedView::well("webhook", format!("callbacks to {public_url} reach this ledger's receiver")),
        Err(e) => ExaminedView::failed(
            "webhook",
            format!("callbacks to {public_url} do not reach this ledger's receiver: {e}"),
            Some("start `wavebatch serve`, and see to the proxy in front of it; until then answers are found in the vendor's log only".to_owned()),
        ),
    }]
}

/// The secrets of callbacks, if there are any: none is made here.
async fn secrets(settings: &Settings, store: &Store) -> Result<Keyring, AppError> {
    if let Some(given) = &settings.env.webhook_secret {
        return Ok(Secrets::given(SecretPurpose::Webhook, given.expose_secret())?.keyring().clone());
    }
    let all = match store.file() {
        Some(file) => secrets_beside(file)?,
        None => store.ledger_secrets().await?,
    };
    let webhook = all.into_iter().filter(|one| one.purpose == SecretPurpose::Webhook).map(|one| one.secret);
    Ok(Keyring::new(webhook.collect()))
}
