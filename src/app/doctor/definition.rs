//! A definition: whether it and its manifest can be read, and whether its source, its output and its voices are there.

use std::{path::Path, time::Duration};

use futures::future::{BoxFuture, FutureExt};

use super::{
    LIMIT, Read, failed,
    ledger::{is_writable, nearest_folder},
    patiently, within,
};
use crate::{
    app::{
        api::Api,
        check::{upstreams, with_copy},
        error::AppError,
        settings::Settings,
        views::ExaminedView,
    },
    definition::{Definition, Origin},
    domain::{causes::in_words, s3::S3Address},
    media::s3::Objects,
    report::words::bytes,
    runner::intake::{self, AccountCheck, IntakeTask, PlanOptions, ReadWatch, VoiceCheck},
    s3::{S3, S3Error, S3Folder, S3Timeouts},
    sink::Sink,
    store::{DiskSpace, Store},
};

/// The file by which an output is tried: its name is wavebatch's own.
const TRIED: &str = "summary.json";

pub(super) fn examinations<'f>(
    (file, read): &'f Read,
    settings: &'f Settings,
    (api, store): (Option<&'f Api>, Option<&'f Store>),
) -> Vec<BoxFuture<'f, Vec<ExaminedView>>> {
    let definition = match read {
        Ok(definition) => definition,
        Err(faults) => {
            let remedy = Some(format!("`wavebatch check {file}` says all of it"));
            let found = ExaminedView::failed("definition", faults.clone(), remedy).of(file);
            return vec![Box::pin(std::future::ready(vec![found]))];
        }
    };
    let examinations = [
        patiently("definition", "`wavebatch check`", manifest(definition, settings, (api, store))),
        within("source", LIMIT, source(definition)),
        within("output", LIMIT, output(definition)),
    ];
    let named = |found: Vec<ExaminedView>| found.into_iter().map(|one| one.of(file)).collect();
    examinations.into_iter().map(|examination| -> BoxFuture<'f, _> { Box::pin(examination.map(named)) }).collect()
}

/// Reads the manifest, and asks the account for the voices that its lines need.
async fn manifest(
    definition: &Definition,
    settings: &Settings,
    (api, store): (Option<&Api>, Option<&Store>),
) -> Vec<ExaminedView> {
    if matches!(definition.origin, Origin::S3Prefix(_) | Origin::Stdin) {
        return vec![ExaminedView::unchecked("definition", "it can be read; `wavebatch check` reads its listing")];
    }
    let asked = PlanOptions {
        tasks: settings.tasks.intakes().clone(),
        again: false,
        update_source: false,
        measure: false,
        rates: settings.config.rates.clone(),
        watch: ReadWatch::default(),
    };
    let planning = async |copy: Option<&crate::definition::Spooled>| {
        intake::plan(store, definition, copy, settings.environment, &asked).await
    };
    let plan = match with_copy(definition, upstreams(settings, store, &[]), tokio::io::empty(), planning).await {
        Ok(plan) => plan,
        Err(e) => return vec![failed("definition", &AppError::from(e))],
    };
    let mut found =
        vec![ExaminedView::well("definition", format!("it and its manifest {} can be read", definition.manifest))];
    let task = settings.tasks.intakes().get(definition.task.task()).filter(|task| task.has_parts());
    if let Some(task) = task {
        found.push(voices((&**task, definition, &plan), settings, (api, store)).await);
    }
    found
}

async fn voices(
    (task, definition, plan): (&dyn IntakeTask, &Definition, &intake::Plan),
    settings: &Settings,
    (api, store): (Option<&Api>, Option<&Store>),
) -> ExaminedView {
    let (Some(store), Some(account)) = (store, api.and_then(Api::account)) else {
        return ExaminedView::unchecked(
            "voices",
            "without a ledger and a key nobody says whether the account has them",
        );
    };
    let check = AccountCheck {
        store,
        account: Some(&account),
        manifest: &definition.manifest,
        scan: &plan.scan,
        sandbox: settings.is_sandbox(),
        voice_check: VoiceCheck::Fault,
    };
    match task.check_account(check).await {
        Ok(warnings) => match warnings.first() {
            None => ExaminedView::well("voices", "the account has all that its lines name"),
            Some(first) => {
                ExaminedView::warning("voices", first.clone(), "`wavebatch voices` lists what the account has")
            }
        },
        Err(e) => {
            let remedy = Some("`wavebatch voices` lists what the account has".to_owned());
            ExaminedView::failed("voices", in_words(&e), remedy)
        }
    }
}

fn of_store(name: &'static str, error: &S3Error) -> ExaminedView {
    ExaminedView::failed(name, in_words(error), error.hint().map(str::to_owned))
}

async fn source(definition: &Definition) -> Vec<ExaminedView> {
    let well = |what: String| vec![ExaminedView::well("source", what)];
    match &definition.origin {
        Origin::S3Prefix(prefix) => match first_page(definition, prefix).await {
            Ok(()) => well(format!("{prefix} can be listed")),
            Err(e) => vec![of_store("source", &e)],
        },
        Origin::S3Object(at) => match Objects::new(&definition.source).try_reading(at).await {
            Ok(()) => well(format!("{at} can be read")),
            Err(e) => vec![of_store("source", &e)],
        },
        Origin::File(path) => match std::fs::File::open(path) {
            Ok(_) => well(format!("{} can be read", path.display())),
            Err(e) => unreadable(path, &e),
        },
        Origin::Listing { root, .. } => match std::fs::read_dir(root) {
            Ok(_) => well(format!("{} can be listed", root.display())),
            Err(e) => unreadable(root, &e),
        },
        // Read with the manifest, or given with the command.
        Origin::Files(_) | Origin::Url(_) | Origin::Stdin | Origin::Batch(_) => Vec::new(),
    }
}

fn unreadable(path: &Path, error: &std::io::Error) -> Vec<ExaminedView> {
    let remedy = Some("see that it is there, and that this user may read it".to_owned());
    vec![ExaminedView::failed("source", format!("{} cannot be read: {error}", path.display()), remedy)]
}

async fn first_page(definition: &Definition, prefix: &S3Address) -> Result<(), S3Error> {
    let timeouts = S3Timeouts { answer: Duration::from_secs(5), all: Duration::from_secs(8), ..S3Timeouts::default() };
    let folder = S3Folder::new(S3::new(&definition.source), prefix.clone(), timeouts);
    folder.pages("").next().await.map(drop)
}

async fn output(definition: &Definition) -> Vec<ExaminedView> {
    let address = definition.output.as_str();
    if address.starts_with("s3://") {
        let tried = match Sink::open(address, &definition.sink) {
            Ok(sink) => sink.try_out(TRIED).await,
            Err(e) => Err(e),
        };
        return vec![match tried {
            Ok(()) => ExaminedView::well("output", format!("{address} can be written")),
            Err(e) => failed("output", &AppError::from(e)),
        }];
    }
    // A folder that is not there yet is made by the first run, not by a look.
    let path = Path::new(address).join(TRIED);
    let Some(folder) = nearest_folder(&path) else { return Vec::new() };
    if !is_writable(folder) {
        let remedy = Some("make the folder writable for this user, or name another `output`".to_owned());
        return vec![ExaminedView::failed("output", format!("{} cannot be written", folder.display()), remedy)];
    }
    let free = DiskSpace::of(folder).map(|space| format!("; {} free", bytes(space.free)));
    vec![ExaminedView::well("output", format!("{address} can be written{}", free.unwrap_or_default()))]
}
