//! Checks whether the account has the voices that a manifest requests.

use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use serde::{Deserialize, Serialize};

use super::records::{RequestedVoice, RequestedVoices, TextFindings, VoiceUse};
use crate::{
    definition::{Fault, Scan},
    domain::{
        call::ErrorKind,
        options::nearest,
        printable::visible,
        synthesis_options::{TtsLanguage, TtsModel},
    },
    runner::intake::{AccountCheck, AccountNotes, IntakeError, VoiceCheck},
    store::{Scratch, Store},
    waves::{AccountClone, CloneStatus, Voice},
};

/// The number of similar names that are proposed for an unknown one.
const PROPOSED: usize = 3;
/// The number of warnings that are listed individually.
const LISTED: usize = 20;
/// How long an account's voices are cached.
const FRESH: Duration = Duration::from_hours(24);

/// The properties of a voice that matter here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct KnownVoice {
    id: String,
    languages: Vec<String>,
    /// The models that it supports.
    models: Vec<TtsModel>,
}

impl From<&Voice> for KnownVoice {
    fn from(voice: &Voice) -> Self {
        Self { id: voice.id.clone(), languages: voice.languages.clone(), models: voice.models.clone() }
    }
}

/// Compares the requested voices with those that an account has, and with its clones, if they are known. `list` is the command that
/// lists its voices.
fn judge(
    (manifest, list): (&str, &str),
    requested: &RequestedVoices,
    (voices, clones): (&[KnownVoice], Option<&[AccountClone]>),
) -> AccountNotes {
    let known: BTreeMap<&str, &KnownVoice> = voices.iter().map(|voice| (voice.id.as_str(), voice)).collect();
    let mut judged = AccountNotes::default();
    let (mut unknown, mut unlike, mut more) = (None, None, 0_usize);
    for (asked, seen) in &requested.0 {
        let place = |warning: &str| {
            if seen.by_line { format!("{manifest}:{}: {warning}", seen.first) } else { warning.to_owned() }
        };
        // The catalogs list no clones and no unknown models.
        if is_clone(&asked.voice_id) {
            match clones.map(|clones| judge_clone(asked, clones)) {
                None | Some(Ok(None)) => {}
                Some(Ok(Some(warning))) if judged.warnings.len() < LISTED => judged.warnings.push(place(&warning)),
                Some(Ok(Some(_))) => more += 1,
                Some(Err(message)) => {
                    if unlike.replace((&asked.voice_id, asked.model)) != Some((&asked.voice_id, asked.model)) {
                        judged.faults.push(placed(manifest, *seen, message));
                    }
                }
            }
            continue;
        }
        if asked.model.known().is_none() {
            continue;
        }
        let Some(voice) = known.get(asked.voice_id.as_str()) else {
            if unknown.replace(&asked.voice_id) != Some(&asked.voice_id) {
                judged.faults.push(fault((manifest, list), asked, *seen, known.keys().copied()));
            }
            continue;
        };
        if let Some(message) = other_model(asked, voice, list) {
            if unlike.replace((&asked.voice_id, asked.model)) != Some((&asked.voice_id, asked.model)) {
                judged.faults.push(placed(manifest, *seen, message));
            }
            continue;
        }
        for warning in [language(asked, voice), unlisted_model(asked, voices)].into_iter().flatten() {
            if judged.warnings.len() < LISTED { judged.warnings.push(place(&warning)) } else { more += 1 }
        }
    }
    if more > 0 {
        judged.warnings.push(format!("… and {more} more of voices"));
    }
    judged
}

/// Whether a voice is one of the account's own.
fn is_clone(voice_id: &str) -> bool {
    voice_id.starts_with("voice_")
}

/// Holds a voice of the account's own against its models and its status. `Err`: it cannot speak; `Ok(Some)`: perhaps it cannot.
fn judge_clone(asked: &RequestedVoice, clones: &[AccountClone]) -> Result<Option<String>, String> {
    let RequestedVoice { voice_id, model, .. } = asked;
    let voice_id = visible(voice_id);
    let Some(clone) = clones.iter().find(|clone| clone.id == asked.voice_id) else {
        return Ok(Some(format!("the account's list has no voice of its own `{voice_id}`")));
    };
    if clone.status == Some(CloneStatus::Failed) {
        return Err(format!("`{voice_id}` could not be made, and does not speak (`wavebatch voices clones`)"));
    }
    if let Some(first) = clone.models.first().filter(|_| !clone.models.contains(model)) {
        let own = clone.models.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let message = format!("`{voice_id}` speaks by {own}, and here it is to speak by {model}");
        return match model.known() {
            Some(_) => Err(format!(
                "{message}: set model = \"{first}\", or clone it for that model (`wavebatch voices clone --model {model}`)"
            )),
            None => Ok(Some(message)),
        };
    }
    Ok(match clone.status {
        Some(CloneStatus::Completed) | None => None,
        Some(status) => Some(format!("`{voice_id}` is not ready yet: {status}")),
    })
}

fn fault<'v>(
    (manifest, list): (&str, &str),
    asked: &RequestedVoice,
    seen: VoiceUse,
    known: impl Iterator<Item = &'v str>,
) -> Fault {
    let mut left: Vec<&str> = known.collect();
    let count = left.len();
    let mut near = Vec::new();
    while let Some(next) = nearest(&asked.voice_id, left.iter().copied()).filter(|_| near.len() < PROPOSED) {
        left.retain(|name| *name != next);
        near.push(format!("`{next}`"));
    }
    let near = match near.as_slice() {
        [] => format!("; `{list}` lists the {count} that it has"),
        near => format!("; did you mean {}?", near.join(" or ")),
    };
    let message = format!("the account has no voice `{}`{near}", visible(&asked.voice_id));
    placed(manifest, seen, message)
}

fn placed(manifest: &str, seen: VoiceUse, message: String) -> Fault {
    if seen.by_line {
        Fault::of_line(manifest, seen.first, Some("voice_id"), message)
    } else {
        Fault::of_field("synthesize.voice_id", message)
    }
}

/// The command that lists the voices of an account.
const fn list_command(sandbox: bool) -> &'static str {
    if sandbox { "wavebatch voices --sandbox" } else { "wavebatch voices" }
}

/// Warns that the voice was not trained on the requested language.
fn language(asked: &RequestedVoice, voice: &KnownVoice) -> Option<String> {
    let language = asked.language.filter(|language| *language != TtsLanguage::Auto)?;
    if voice.languages.is_empty() || voice.languages.iter().any(|own| own == language.as_str()) {
        return None;
    }
    let has = voice.languages.join(", ");
    Some(format!("`{}` is to speak `{language}`, and the catalog has it for {has}", asked.voice_id))
}

/// Reports that the voice belongs to the other model: the call costs the same, is not refused, and sounds wrong.
fn other_model(asked: &RequestedVoice, voice: &KnownVoice, list: &str) -> Option<String> {
    let own = voice.models.first().filter(|_| !voice.models.contains(&asked.model))?;
    let RequestedVoice { voice_id, model, .. } = asked;
    Some(format!(
        "`{voice_id}` is a voice of {own}, and here it is to speak by {model}: the API does not refuse that, and the audio is wrong; set model = \"{own}\", or take a voice of {model} (`{list} --model {model}`)"
    ))
}

/// Warns that the account has no catalog of the model's voices.
fn unlisted_model(asked: &RequestedVoice, voices: &[KnownVoice]) -> Option<String> {
    let is_listed = voices.iter().any(|voice| voice.models.contains(&asked.model));
    (!is_listed).then(|| {
        let RequestedVoice { voice_id, model, .. } = asked;
        format!("whether `{voice_id}` speaks by {model} was not checked: there is no list of its voices")
    })
}

/// The voices of an account, if they were fetched within the last day.
fn remembered(store: &Store, account: &str) -> Option<Vec<KnownVoice>> {
    let path = path(store, account);
    let written = fs::metadata(&path).ok()?.modified().ok()?;
    let age = SystemTime::now().duration_since(written).ok()?;
    serde_json::from_slice(&fs::read(path).ok().filter(|_| age < FRESH)?).ok()
}

/// Compares the requested voices with those that an account had within the last day. `None`: these are not known.
pub(super) fn recall(
    known: Option<(&Store, &str)>,
    (manifest, sandbox): (&str, bool),
    scan: &Scan,
) -> Option<AccountNotes> {
    let Some(found) = TextFindings::of(scan) else { return Some(AccountNotes::default()) };
    let (store, account) = known?;
    Some(judge((manifest, list_command(sandbox)), &found.voices, (&remembered(store, account)?, None)))
}

/// Fetches the account's voices, unless they were fetched within the last day, and judges by them. If a voice is missing, they
/// are fetched once more: it may be younger than a day.
pub(super) async fn check(check: AccountCheck<'_>) -> Result<Vec<String>, IntakeError> {
    let AccountCheck { store, account, manifest, scan, sandbox, voice_check } = check;
    let about = (manifest, list_command(sandbox));
    let Some(TextFindings { voices: requested, .. }) = TextFindings::of(scan) else { return Ok(Vec::new()) };
    let (has_clones, has_others) =
        requested.0.keys().fold((false, false), |(clones, others), voice| match is_clone(&voice.voice_id) {
            true => (true, others),
            false => (clones, true),
        });
    if !has_clones && !has_others {
        return Ok(Vec::new());
    }
    let Some(account) = account else {
        return Ok(vec!["voices were not checked: there is no key to ask the account by".to_owned()]);
    };
    // A clone may be younger than what is remembered, and its list is one page.
    let (clones, unread) = match has_clones {
        true => match account.client.clones().await {
            Ok(clones) => (Some(clones), None),
            Err(failure) => (None, Some(format!("voices of your own were not checked: {}", failure.message))),
        },
        false => (None, None),
    };
    let clones = clones.as_deref();
    let none_asked = (!has_others).then(|| judge(about, requested, (&[], clones)));
    let known = || remembered(store, &account.name).map(|voices| judge(about, requested, (&voices, clones)));
    let judged = match none_asked.or_else(known) {
        Some(judged) if judged.faults.is_empty() => judged,
        stale => match account.client.voices().await {
            Ok(voices) => {
                let voices: Vec<KnownVoice> = voices.iter().map(KnownVoice::from).collect();
                // If caching fails, the voices are only fetched again next time.
                let _ = remember(store, &account.name, &voices);
                judge(about, requested, (&voices, clones))
            }
            Err(failure) if matches!(failure.kind, ErrorKind::Unauthorized | ErrorKind::Forbidden) => {
                return Err(IntakeError::Account(failure));
            }
            Err(failure) => match stale {
                Some(judged) => judged,
                None => return Ok(vec![format!("voices were not checked: {}", failure.message)]),
            },
        },
    };
    let judged = if voice_check == VoiceCheck::Warn { judged.lenient() } else { judged };
    if judged.faults.is_empty() {
        Ok(judged.warnings.into_iter().chain(unread).collect())
    } else {
        Err(IntakeError::Voices(judged.faults))
    }
}

fn remember(store: &Store, account: &str, voices: &[KnownVoice]) -> std::io::Result<()> {
    let (scratch, mut file) = Scratch::create(&store.spool(), "voices")?;
    file.write_all(&serde_json::to_vec(voices)?)?;
    fs::rename(scratch.path(), path(store, account))
}

fn path(store: &Store, account: &str) -> PathBuf {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' };
    let account: String = account.chars().map(plain).collect();
    Path::new(&store.spool()).join(format!("voices-by-model-{account}.json"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn voices() -> Vec<KnownVoice> {
        use TtsModel::{Lightning, LightningPro};
        let voice = |id: &str, languages: &[&str], models: &[TtsModel]| KnownVoice {
            id: id.into(),
            languages: languages.iter().map(|code| (*code).to_owned()).collect(),
            models: models.to_vec(),
        };
        vec![
            voice("avery", &["en"], &[Lightning]),
            voice("meher", &["en", "hi"], &[LightningPro]),
            voice("jordan", &[], &[Lightning, LightningPro]),
        ]
    }

    fn requested(voices_asked: &[(&str, &str, TtsModel, Option<TtsLanguage>)]) -> RequestedVoices {
        let asked = |(at, (voice, by, model, language)): (usize, &(&str, &str, TtsModel, Option<TtsLanguage>))| {
            let asked = RequestedVoice { voice_id: (*voice).into(), model: *model, language: *language };
            (asked, VoiceUse { first: at as u64 + 2, lines: 1, by_line: *by == "line" })
        };
        RequestedVoices(voices_asked.iter().enumerate().map(asked).collect())
    }

    #[test]
    fn unknown_voices_are_told_once_with_the_nearest_and_clones_pass() {
        use TtsModel::Lightning;
        let requested = requested(&[
            ("avrey", "definition", Lightning, None),
            ("avrey", "definition", Lightning, Some(TtsLanguage::En)),
            ("voice_abc", "line", Lightning, Some(TtsLanguage::Hi)),
            ("zzzzzz", "line", Lightning, None),
            ("jordan", "line", Lightning, Some(TtsLanguage::Hi)),
        ]);
        let judged = judge(("p.csv", list_command(false)), &requested, (&voices(), None));
        assert_eq!(
            judged.faults.to_string(),
            "`synthesize.voice_id`: the account has no voice `avrey`; did you mean `avery`?\n\
             p.csv:5: column `voice_id`: the account has no voice `zzzzzz`; `wavebatch voices` lists the 3 that it has"
        );
        assert!(judged.warnings.is_empty());
        let there = judge(("p.csv", list_command(true)), &requested, (&voices(), None)).faults.to_string();
        assert!(there.ends_with("`wavebatch voices --sandbox` lists the 3 that it has"), "{there}");
    }

    #[test]
    fn a_clone_is_held_against_its_models_and_its_status() {
        use TtsModel::{Lightning, LightningPro};
        let clone = |id: &str, status, models: &[TtsModel]| AccountClone {
            id: id.into(),
            name: id.into(),
            status: Some(status),
            models: models.to_vec(),
            language: None,
            kind: None,
            accent: None,
            tags: Vec::new(),
            description: None,
            created_at: None,
        };
        let clones = [
            clone("voice_a", CloneStatus::Completed, &[Lightning]),
            clone("voice_b", CloneStatus::Pending, &[]),
            clone("voice_c", CloneStatus::Failed, &[Lightning]),
        ];
        let requested = requested(&[
            ("voice_a", "line", Lightning, None),
            ("voice_a", "line", LightningPro, None),
            ("voice_a", "line", "lightning_v4".parse().unwrap(), None),
            ("voice_b", "line", LightningPro, None),
            ("voice_c", "definition", Lightning, None),
            ("voice_d", "line", Lightning, None),
        ]);
        let judged = judge(("p.csv", list_command(false)), &requested, (&voices(), Some(&clones)));
        assert_eq!(
            judged.faults.to_string(),
            "p.csv:3: column `voice_id`: `voice_a` speaks by lightning_v3.1, and here it is to speak by lightning_v3.1_pro: set \
             model = \"lightning_v3.1\", or clone it for that model (`wavebatch voices clone --model lightning_v3.1_pro`)\n\
             `synthesize.voice_id`: `voice_c` could not be made, and does not speak (`wavebatch voices clones`)"
        );
        assert_eq!(
            judged.warnings,
            [
                "p.csv:4: `voice_a` speaks by lightning_v3.1, and here it is to speak by lightning_v4",
                "p.csv:5: `voice_b` is not ready yet: pending",
                "p.csv:7: the account's list has no voice of its own `voice_d`",
            ]
        );
        assert!(judge(("p.csv", ""), &requested, (&voices(), None)).faults.is_empty(), "nobody knows them");
    }

    #[test]
    fn a_language_that_is_not_the_voices_is_warned_of_and_a_model_is_a_fault() {
        use TtsModel::{Lightning, LightningPro};
        let requested = requested(&[
            ("avery", "line", Lightning, Some(TtsLanguage::Hi)),
            ("avery", "line", Lightning, Some(TtsLanguage::Auto)),
            ("avery", "line", LightningPro, Some(TtsLanguage::En)),
            ("avery", "line", LightningPro, Some(TtsLanguage::Hi)),
            ("avery", "line", "lightning_v4".parse().unwrap(), None),
            ("meher", "definition", Lightning, Some(TtsLanguage::Hi)),
            ("meher", "definition", LightningPro, Some(TtsLanguage::Hi)),
            ("jordan", "definition", LightningPro, None),
        ]);
        let judged = judge(("p.csv", list_command(false)), &requested, (&voices(), None));
        assert_eq!(judged.warnings, ["p.csv:2: `avery` is to speak `hi`, and the catalog has it for en"]);
        let message = judged.faults.to_string();
        let message: Vec<_> = message.lines().collect();
        assert_eq!(message.len(), 2, "{message:#?}");
        let pair =
            "column `voice_id`: `avery` is a voice of lightning_v3.1, and here it is to speak by lightning_v3.1_pro";
        assert!(message[0].contains(pair), "{message:#?}");
        assert!(
            message[1].starts_with("`synthesize.voice_id`: `meher` is a voice of lightning_v3.1_pro"),
            "{message:#?}"
        );
        assert!(message[1].ends_with("(`wavebatch voices --model lightning_v3.1`)"), "{message:#?}");
        let lenient = judged.lenient();
        assert_eq!((lenient.faults.is_empty(), lenient.warnings.len()), (true, 3));
        let standard: Vec<_> = voices().into_iter().filter(|voice| voice.id == "avery").collect();
        let pro = RequestedVoice { voice_id: "avery".into(), model: LightningPro, language: None };
        assert!(unlisted_model(&pro, &standard).is_some());
    }
}
