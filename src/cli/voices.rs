//! `wavebatch voices`

use std::collections::BTreeMap;

use clap::Args;
use unicode_width::UnicodeWidthStr;

use super::{
    clones::CloneVerb,
    context::Context,
    error::{CliError, Exit},
    words::{counted, grouped, printable, shell, shorten, table},
};
use crate::{
    app::{Api, views::VoiceView},
    domain::{
        options::nearest,
        synthesis_options::{TtsLanguage, TtsModel},
    },
    waves::{Voice, voice_language},
};

/// The maximum number of values listed if nothing matches.
const LISTED: usize = 12;
/// The room for the last column, besides its header.
const LAST: usize = 5;

/// List the voices that the account can use, and make voices of your own
///
/// They are those of both models; `clones` lists your own. A voice speaks by the model that it stands beside: the API does not refuse another one,
/// and the audio is then wrong.
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:\n  wavebatch voices --language hi --gender female\n  wavebatch voices --sandbox --json\n  wavebatch voices clone ann.wav --name Ann"
)]
pub struct Voices {
    #[command(subcommand)]
    verb: Option<CloneVerb>,
    /// Only voices that were trained on it: its code or its name, hi or hindi
    #[arg(long, value_name = "LANGUAGE", value_parser = voice_language)]
    language: Option<TtsLanguage>,
    /// Only voices that speak by it, e.g. lightning_v3.1_pro
    #[arg(long, value_name = "MODEL")]
    model: Option<TtsModel>,
    /// Only voices of it, e.g. female
    #[arg(long, value_name = "GENDER")]
    gender: Option<String>,
    /// Only voices that have it, e.g. indian
    #[arg(long, value_name = "ACCENT")]
    accent: Option<String>,
    /// The voices of the local stand-in: needs no key
    #[arg(long)]
    sandbox: bool,
    /// As JSON, with all that the catalog says
    #[arg(long)]
    json: bool,
}

impl Voices {
    pub(super) async fn run(mut self, context: &Context) -> Result<Exit, CliError> {
        if let Some(verb) = self.verb.take() {
            return verb.run(context).await;
        }
        let api = Api::open(&context.settings(self.sandbox)?).await?;
        let all = api.client().voices().await?;
        api.close().await;
        let screen = &context.screen;
        let found: Vec<&Voice> = all.iter().filter(|voice| self.wants(voice)).collect();
        if self.json {
            screen.view(&found.iter().map(|voice| VoiceView::from(*voice)).collect::<Vec<_>>())?;
        } else if !found.is_empty() {
            screen.result(&lines(&found, screen.result_width()))?;
            screen.message(&format!("\n{}", counted(found.len() as u64, "voice")));
        }
        if found.is_empty() {
            screen.message(&self.nothing(&all));
        }
        Ok(Exit::Success)
    }

    fn wants(&self, voice: &Voice) -> bool {
        let is = |wanted: &Option<String>, has: &Option<String>| {
            wanted.as_ref().is_none_or(|wanted| has.as_ref().is_some_and(|has| same(has, wanted)))
        };
        self.language.is_none_or(|wanted| voice.languages.iter().any(|language| language == wanted.as_str()))
            && self.model.is_none_or(|wanted| voice.models.contains(&wanted))
            && is(&self.gender, &voice.gender)
            && is(&self.accent, &voice.accent)
    }

    /// The message that nothing was found, with the available values.
    fn nothing(&self, all: &[Voice]) -> String {
        if all.is_empty() {
            return "the account has no voices".into();
        }
        let accents = tally(all.iter().filter_map(|voice| voice.accent.as_ref()));
        let genders = tally(all.iter().filter_map(|voice| voice.gender.as_ref()));
        let languages = tally(all.iter().flat_map(|voice| &voice.languages));
        let language = self.language.map(|language| language.to_string());
        let model = self.model.map(|model| model.to_string());
        let asked = [("language", &language), ("model", &model), ("gender", &self.gender), ("accent", &self.accent)];
        let asked = asked.iter().filter_map(|(flag, value)| Some(format!(" --{flag} {}", shell(value.as_ref()?))));
        let mut out = format!("none of {} is{}", counted(all.len() as u64, "voice"), asked.collect::<String>());
        for (wanted, known) in [(&self.gender, &genders), (&self.accent, &accents)] {
            let Some(wanted) = wanted.as_ref().filter(|wanted| known.iter().all(|(name, _)| !same(name, wanted)))
            else {
                continue;
            };
            if let Some(near) = nearest(wanted.trim(), known.iter().map(|(name, _)| name.as_str())) {
                out.push_str(&format!("; did you mean `{near}`?"));
            }
        }
        for (what, known) in [("languages", languages), ("genders", genders), ("accents", accents)] {
            let message = known.iter().take(LISTED).map(|(name, n)| format!("{name} {}", grouped(*n)));
            let more = if known.len() > LISTED { ", …" } else { "" };
            out.push_str(&format!("\n  {what:<9}  {}{more}", message.collect::<Vec<_>>().join(", ")));
        }
        out
    }
}

fn same(one: &str, other: &str) -> bool {
    one.trim().to_lowercase() == other.trim().to_lowercase()
}

/// The count of each value, the most frequent first.
fn tally<'v>(values: impl Iterator<Item = &'v String>) -> Vec<(String, u64)> {
    let mut counts = BTreeMap::<String, u64>::new();
    values.for_each(|value| *counts.entry(printable(value).to_lowercase()).or_default() += 1);
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
    counts
}

/// One row per voice. Cells are cut where they would hide the last column. An id is never cut, because users copy it.
fn lines(voices: &[&Voice], width: usize) -> String {
    let header = ["id", "model", "name", "languages", "gender", "accent", "age", "use cases"];
    let rows = |columns: usize| -> Vec<Vec<String>> {
        let cut = |text: &str| shorten(text, columns);
        let one = |text: &Option<String>| cut(text.as_deref().unwrap_or_default());
        let row = |voice: &&Voice| {
            vec![
                voice.id.clone(),
                models(voice),
                cut(&voice.name),
                cut(&voice.languages.join(", ")),
                one(&voice.gender),
                one(&voice.accent),
                one(&voice.age),
                voice.usecases.join(", "),
            ]
        };
        voices.iter().map(row).collect()
    };
    let fits = |columns: &usize| {
        let all = table(&header, &rows(*columns), &[], usize::MAX);
        all.lines().next().is_some_and(|header| header.width() + LAST <= width)
    };
    let columns = std::iter::once(usize::MAX).chain((8..=32).rev()).find(fits).unwrap_or(8);
    table(&header, &rows(columns), &[], width)
}

fn models(voice: &Voice) -> String {
    voice.models.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn voice(id: &str, languages: &[&str], gender: &str, accent: &str) -> Voice {
        Voice {
            id: id.into(),
            name: id.to_uppercase(),
            languages: languages.iter().map(|code| (*code).to_owned()).collect(),
            gender: (!gender.is_empty()).then(|| gender.into()),
            accent: (!accent.is_empty()).then(|| accent.into()),
            usecases: vec!["conversational".into(), "narration".into()],
            ..Voice::default()
        }
    }

    fn asked(language: Option<TtsLanguage>, gender: Option<&str>, accent: Option<&str>) -> Voices {
        let [gender, accent] = [gender, accent].map(|text| text.map(str::to_owned));
        Voices { verb: None, language, model: None, gender, accent, sandbox: false, json: false }
    }

    #[test]
    fn voices_are_found_whatever_the_case_of_letters() {
        let meher = voice("meher", &["en", "hi"], "Female", "indian");
        assert!(asked(Some(TtsLanguage::Hi), Some("female"), Some("Indian ")).wants(&meher));
        assert!(!asked(Some(TtsLanguage::De), None, None).wants(&meher));
        let silent = voice("jordan", &[], "", "");
        assert!(asked(None, None, None).wants(&silent) && !asked(None, Some("male"), None).wants(&silent));
    }

    #[test]
    fn where_nothing_is_found_it_is_told_what_there_is() {
        let all = [voice("a", &["en"], "male", "british"), voice("b", &["en", "hi"], "female", "indian")];
        insta::assert_snapshot!(asked(Some(TtsLanguage::Hi), Some("femal"), None).nothing(&all), @r"
        none of 2 voices is --language hi --gender femal; did you mean `female`?
          languages  en 2, hi 1
          genders    female 1, male 1
          accents    british 1, indian 1
        ");
        assert_eq!(asked(None, None, None).nothing(&[]), "the account has no voices");
    }

    #[test]
    fn the_table_fits_and_leaves_ids_whole() {
        let long = voice("voice_0123456789", &["en", "hi", "ta", "te", "kn", "ml"], "female", "south-east indian");
        insta::assert_snapshot!(lines(&[&long, &voice("a", &[], "", "")], 80), @r"
        id                model  name      languages  gender  accent    age  use cases
        voice_0123456789         VOICE_0…  en, hi,…   female  south-e…       conversati…
        a                        A                                           conversati…
        ");
        assert!(lines(&[&long], usize::MAX).contains("south-east indian"), "where nobody measures, nothing is cut");
    }
}
