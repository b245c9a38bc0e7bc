//! Whether the account has the voices that a manifest asks for.

use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use serde::{Deserialize, Serialize};

use super::IntakeError;
use crate::{
    definition::{
        Fault, Faults,
        manifest::texts::{Cast, Role, Seen},
    },
    domain::{
        call::ErrorKind,
        options::nearest,
        speech::{SpeechLanguage, SpeechModel},
    },
    store::{Scratch, Store},
    waves::{Client, Voice},
};

/// Voices that the vendor's documents pair with a model. Of all others nothing is known.
const PAIRED: [(&str, SpeechModel); 5] = [
    ("meher", SpeechModel::LightningPro),
    ("kaitlyn", SpeechModel::LightningPro),
    ("blake", SpeechModel::LightningPro),
    ("magnus", SpeechModel::Lightning),
    ("jordan", SpeechModel::Lightning),
];
/// Names that are proposed for one that is unknown.
const PROPOSED: usize = 3;
/// Warnings that are told one by one.
const TOLD: usize = 20;
/// How long an account's voices are taken for granted.
const FRESH: Duration = Duration::from_hours(24);

/// The account that a batch is submitted for.
#[derive(Debug, Clone)]
pub struct Account {
    /// Its client.
    pub client: Client,
    /// Its name in the ledger.
    pub name: String,
    /// Whether it knows nothing of what older processes did: it is a sandbox inside this one.
    pub forgets: bool,
}

/// What came of holding a cast against an account.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Judgement {
    /// Voices that the account does not have.
    pub faults: Faults,
    /// What may be meant otherwise.
    pub warnings: Vec<String>,
}

/// What of a voice matters here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownVoice {
    id: String,
    languages: Vec<String>,
}

impl From<&Voice> for KnownVoice {
    fn from(voice: &Voice) -> Self {
        Self { id: voice.id.clone(), languages: voice.languages.clone() }
    }
}

/// Holds what is asked of voices against those that an account has. Clones are the account's own, and pass.
#[must_use]
pub fn judge(manifest: &str, cast: &Cast, voices: &[KnownVoice]) -> Judgement {
    let known: BTreeMap<&str, &KnownVoice> = voices.iter().map(|voice| (voice.id.as_str(), voice)).collect();
    let mut judged = Judgement::default();
    let (mut unknown, mut more) = (None, 0_usize);
    for (role, seen) in &cast.0 {
        if role.voice_id.starts_with("voice_") {
            continue;
        }
        let Some(voice) = known.get(role.voice_id.as_str()) else {
            if unknown.replace(&role.voice_id) != Some(&role.voice_id) {
                judged.faults.push(fault(manifest, role, *seen, known.keys().copied()));
            }
            continue;
        };
        for warning in [language(role, voice), model(role)].into_iter().flatten() {
            let place = if seen.by_line { format!("{manifest}:{}: ", seen.first) } else { String::new() };
            if judged.warnings.len() < TOLD { judged.warnings.push(place + &warning) } else { more += 1 }
        }
    }
    if more > 0 {
        judged.warnings.push(format!("… and {more} more of voices"));
    }
    judged
}

fn fault<'v>(manifest: &str, role: &Role, seen: Seen, known: impl Iterator<Item = &'v str>) -> Fault {
    let mut left: Vec<&str> = known.collect();
    let count = left.len();
    let mut near = Vec::new();
    while let Some(next) = nearest(&role.voice_id, left.iter().copied()).filter(|_| near.len() < PROPOSED) {
        left.retain(|name| *name != next);
        near.push(format!("`{next}`"));
    }
    let near = match near.as_slice() {
        [] => format!("; `wavebatch voices` lists the {count} that it has"),
        near => format!("; did you mean {}?", near.join(" or ")),
    };
    let message = format!("the account has no voice `{}`{near}", role.voice_id.escape_debug());
    if seen.by_line {
        Fault::of_line(manifest, seen.first, Some("voice_id"), message)
    } else {
        Fault::of_field("synthesize.voice_id", message)
    }
}

/// The voice was not trained on the language that it is to speak.
fn language(role: &Role, voice: &KnownVoice) -> Option<String> {
    let language = role.language.filter(|language| *language != SpeechLanguage::Auto)?;
    if voice.languages.is_empty() || voice.languages.iter().any(|own| own == language.as_str()) {
        return None;
    }
    let has = voice.languages.join(", ");
    Some(format!("`{}` is to speak `{language}`, and the catalog has it for {has}", role.voice_id))
}

/// The voice is of the other model.
fn model(role: &Role) -> Option<String> {
    let (voice, model) = PAIRED.iter().find(|(voice, _)| *voice == role.voice_id)?;
    if *model == role.model {
        return None;
    }
    let asked = role.model;
    Some(format!(
        "the vendor's documents have `{voice}` with {model}, and here it is to speak by {asked}: that may sound wrong"
    ))
}

/// The voices of an account as they were told within the last day; nothing where that is not known.
#[must_use]
pub fn remembered(store: &Store, account: &str) -> Option<Vec<KnownVoice>> {
    let path = path(store, account);
    let written = fs::metadata(&path).ok()?.modified().ok()?;
    let age = SystemTime::now().duration_since(written).ok()?;
    serde_json::from_slice(&fs::read(path).ok().filter(|_| age < FRESH)?).ok()
}

/// Asks the account for its voices, unless they were told within the last day, and judges by them.
pub(super) async fn check(
    store: &Store,
    account: Option<&Account>,
    manifest: &str,
    cast: &Cast,
) -> Result<Vec<String>, IntakeError> {
    if cast.0.keys().all(|role| role.voice_id.starts_with("voice_")) {
        return Ok(Vec::new());
    }
    let Some(account) = account else {
        return Ok(vec!["voices were not checked: there is no key to ask the account by".to_owned()]);
    };
    let voices = match remembered(store, &account.name) {
        Some(voices) => voices,
        None => match account.client.voices().await {
            Ok(voices) => {
                let voices: Vec<KnownVoice> = voices.iter().map(KnownVoice::from).collect();
                // Without a memory it is asked again next time, no more.
                let _ = remember(store, &account.name, &voices);
                voices
            }
            Err(trouble) if matches!(trouble.kind, ErrorKind::Unauthorized | ErrorKind::Forbidden) => {
                return Err(IntakeError::Account(trouble));
            }
            Err(trouble) => return Ok(vec![format!("voices were not checked: {}", trouble.message)]),
        },
    };
    let judged = judge(manifest, cast, &voices);
    if judged.faults.is_empty() { Ok(judged.warnings) } else { Err(IntakeError::Voices(judged.faults)) }
}

fn remember(store: &Store, account: &str, voices: &[KnownVoice]) -> std::io::Result<()> {
    let (scratch, mut file) = Scratch::create(&store.spool(), "voices")?;
    file.write_all(&serde_json::to_vec(voices)?)?;
    fs::rename(scratch.path(), path(store, account))
}

fn path(store: &Store, account: &str) -> PathBuf {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' };
    let account: String = account.chars().map(plain).collect();
    Path::new(&store.spool()).join(format!("voices-{account}.json"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn voices() -> Vec<KnownVoice> {
        let voice = |id: &str, languages: &[&str]| KnownVoice {
            id: id.into(),
            languages: languages.iter().map(|code| (*code).to_owned()).collect(),
        };
        vec![voice("avery", &["en"]), voice("meher", &["en", "hi"]), voice("jordan", &[])]
    }

    fn cast(roles: &[(&str, &str, SpeechModel, Option<SpeechLanguage>)]) -> Cast {
        let role = |(at, (voice, by, model, language)): (usize, &(&str, &str, SpeechModel, Option<SpeechLanguage>))| {
            let role = Role { voice_id: (*voice).into(), model: *model, language: *language };
            (role, Seen { first: at as u64 + 2, lines: 1, by_line: *by == "line" })
        };
        Cast(roles.iter().enumerate().map(role).collect())
    }

    #[test]
    fn unknown_voices_are_told_once_with_the_nearest_and_clones_pass() {
        use SpeechModel::Lightning;
        let cast = cast(&[
            ("avrey", "definition", Lightning, None),
            ("avrey", "definition", Lightning, Some(SpeechLanguage::En)),
            ("voice_abc", "line", Lightning, Some(SpeechLanguage::Hi)),
            ("zzzzzz", "line", Lightning, None),
            ("jordan", "line", Lightning, Some(SpeechLanguage::Hi)),
        ]);
        let judged = judge("p.csv", &cast, &voices());
        assert_eq!(
            judged.faults.to_string(),
            "`synthesize.voice_id`: the account has no voice `avrey`; did you mean `avery`?\n\
             p.csv:5: column `voice_id`: the account has no voice `zzzzzz`; `wavebatch voices` lists the 3 that it has"
        );
        assert!(judged.warnings.is_empty());
    }

    #[test]
    fn a_language_and_a_model_that_are_not_the_voices_are_warned_of() {
        use SpeechModel::{Lightning, LightningPro};
        let cast = cast(&[
            ("avery", "line", Lightning, Some(SpeechLanguage::Hi)),
            ("avery", "line", Lightning, Some(SpeechLanguage::Auto)),
            ("meher", "definition", Lightning, Some(SpeechLanguage::Hi)),
            ("jordan", "definition", LightningPro, None),
        ]);
        let judged = judge("p.csv", &cast, &voices());
        assert!(judged.faults.is_empty());
        assert_eq!(judged.warnings.len(), 3, "{:?}", judged.warnings);
        assert_eq!(judged.warnings[0], "p.csv:2: `avery` is to speak `hi`, and the catalog has it for en");
        assert!(judged.warnings[1].starts_with("the vendor's documents have `jordan` with lightning_v3.1, and here"));
        assert!(judged.warnings[2].contains("`meher` with lightning_v3.1_pro"));
    }
}
