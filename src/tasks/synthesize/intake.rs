//! Submitting texts.

use futures::future::BoxFuture;
use serde_json::Value;

use super::{
    Synthesize, dictionary, parts,
    purchases::SynthesisSurvey,
    records::{TextFindings, rendition},
    voices,
};
use crate::{
    definition::{Definition, Scan, Spooled, manifest::JobDraft},
    domain::{
        cost::Rates,
        printable::printable,
        synthesis::{CaptionFormat, Dictionary, Synthesis},
        task::{SpecChange, TaskSpec},
    },
    runner::intake::{
        Account, AccountCheck, AccountNotes, ContentFindings, IntakeError, IntakeTask, OutputEndings, Parts, Survey,
    },
    store::{BatchRow, KeptClips, Store},
};

impl IntakeTask for Synthesize {
    /// The manifest's hash covers its texts.
    fn has_sources(&self) -> bool {
        false
    }

    fn price_unit(&self, _model: &str) -> &'static str {
        "US dollars per 10,000 characters"
    }

    fn output_endings(&self, definition: &Definition) -> OutputEndings {
        let Some(asked) = definition.synthesizing() else { return OutputEndings::default() };
        let formats = asked.synthesis.formats.iter().map(|format| format!(".{}", format.ending));
        let captions = asked.synthesis.captions.iter().flat_map(|caption| caption.files());
        let captions = captions.map(|file| format!(".{}", file.ending()));
        OutputEndings { all: formats.chain(captions).collect(), may_be_empty: Vec::new() }
    }

    fn outputs(&self, definition: &Definition, _key: &str, job: &JobDraft) -> Vec<String> {
        let captions: &[CaptionFormat] = definition.synthesizing().map_or(&[], |asked| &asked.synthesis.captions);
        rendition(job).map(|output| output.files(captions)).unwrap_or_default()
    }

    fn asks_for_other_calls(&self, before: &TaskSpec, now: &TaskSpec) -> bool {
        let calls = |spec: &TaskSpec| spec.read::<Synthesis>().ok().map(|asked| asked.identity(&asked.options));
        calls(before) != calls(now)
    }

    /// The account's id of a dictionary is not the definition's.
    fn makes_same_lines(&self, before: &TaskSpec, now: &TaskSpec) -> bool {
        let lines = |spec: &TaskSpec| {
            let mut asked = spec.read::<Synthesis>().ok()?;
            asked.dictionary.iter_mut().for_each(|dictionary| dictionary.id = None);
            serde_json::to_value(asked).ok()
        };
        lines(before).is_some() && lines(before) == lines(now)
    }

    /// The speed is stored in thousandths.
    fn option_in_words(&self, name: &str, value: &Value) -> Option<String> {
        match value.as_f64() {
            Some(thousandths) if name == "speed" => Some((thousandths / 1_000.0).to_string()),
            Some(number) => Some(number.to_string()),
            None if value.is_null() => None,
            None => Some(value.as_str().map_or_else(|| value.to_string(), str::to_owned)),
        }
    }

    /// Another dictionary is another hash of its file.
    fn change_in_words(&self, change: &SpecChange, before: &TaskSpec, now: &TaskSpec) -> Option<String> {
        if !matches!(change.name.as_str(), "dictionary" | "hash" | "words" | "file") {
            return None;
        }
        let of = |spec: &TaskSpec| spec.read::<Synthesis>().ok().and_then(|asked| asked.dictionary);
        let file = |dictionary: &Dictionary| format!("`{}`", printable(&dictionary.file));
        match (of(before), of(now)) {
            (Some(before), Some(now)) => {
                let words = dictionary::changed_words(&before, &now);
                Some(format!("`pronunciations`: {words} in {}", file(&now)))
            }
            (before, now) => {
                let [before, now] = [before, now].map(|one| one.as_ref().map_or_else(|| "none".into(), file));
                Some(format!("`pronunciations` from {before} to {now}"))
            }
        }
    }

    /// Names are excluded: each job has its own, which is compared line by line.
    fn needs_redelivery(&self, before: &TaskSpec, now: &TaskSpec) -> bool {
        let presented = |spec: &TaskSpec| {
            let Synthesis { pause, mut captions, .. } = spec.read().ok()?;
            captions.sort_unstable();
            Some((pause, captions))
        };
        presented(before).is_none_or(|before| Some(before) != presented(now))
    }

    fn at_its_origin(&self, definition: &Definition, before: &TaskSpec) -> Definition {
        let origin = before.read::<Synthesis>().ok().and_then(|asked| asked.origin);
        definition.clone().asked_at(origin)
    }

    fn survey(
        &self,
        definition: &Definition,
        audio_cache: Option<KeptClips>,
        rates: &Rates,
    ) -> Option<Box<dyn Survey>> {
        Some(Box::new(SynthesisSurvey::new(definition.synthesizing()?, audio_cache, rates)))
    }

    fn parts(
        &self,
        definition: &Definition,
        copy: Option<&Spooled>,
        key: Option<&str>,
        audio_cache: Option<KeptClips>,
    ) -> Option<Parts> {
        Some(parts::parts(definition, copy, key, audio_cache))
    }

    fn findings(&self, scan: &Scan) -> ContentFindings {
        TextFindings::of(scan).map(TextFindings::shown).unwrap_or_default()
    }

    /// A text has the language of its column.
    fn options_of_content(&self, definition: &Definition, job: &JobDraft) -> Vec<(String, String)> {
        let has_languages = definition.synthesizing().is_some_and(|asked| !asked.text_columns.is_empty());
        let language = rendition(job).filter(|_| has_languages).and_then(|output| output.overrides.language);
        language.map(|language| ("language".to_owned(), language.to_string())).into_iter().collect()
    }

    fn recall_account(&self, known: Option<(&Store, &str)>, about: (&str, bool), scan: &Scan) -> Option<AccountNotes> {
        voices::recall(known, about, scan)
    }

    fn check_account<'a>(&'a self, check: AccountCheck<'a>) -> BoxFuture<'a, Result<Vec<String>, IntakeError>> {
        Box::pin(async move {
            let changes = TextFindings::of(check.scan).map(TextFindings::changes).unwrap_or_default();
            let mut warnings = voices::check(check).await?;
            warnings.extend(changes);
            Ok(warnings)
        })
    }

    fn prepare_account<'a>(
        &'a self,
        store: &'a Store,
        account: Option<&'a Account>,
        definition: &'a mut Definition,
    ) -> BoxFuture<'a, Result<Option<String>, IntakeError>> {
        Box::pin(dictionary::push(store, account, definition))
    }

    fn renew_account<'a>(
        &'a self,
        store: &'a Store,
        account: Option<&'a Account>,
        batch: &'a BatchRow,
    ) -> BoxFuture<'a, Result<(), IntakeError>> {
        Box::pin(dictionary::renew(store, account, batch))
    }
}
