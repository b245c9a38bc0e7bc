//! The columns of a line's texts: one, or one for each language.

use crate::{
    definition::{
        Synthesizing,
        manifest::{NameRule, Record, Uses, rule_name},
        text::{excerpt, shell_word, ticked},
    },
    domain::{
        synthesis::SynthesisOption,
        synthesis_options::{SynthesisOptions, TtsLanguage},
    },
};

/// Where a text comes from.
#[derive(Debug)]
pub(super) struct TextColumn {
    /// Its language, if the column has one.
    pub(super) language: Option<TtsLanguage>,
    /// The name of the column or template.
    pub(super) name: String,
    pub(super) rule: NameRule,
    /// The columns of a template that no other language has. Without them there is no text.
    own: Vec<usize>,
}

impl TextColumn {
    /// The only text of each line.
    pub(super) fn only(rule: NameRule, columns: &[String]) -> Self {
        Self { language: None, name: rule_name(&rule, columns), rule, own: Vec::new() }
    }

    /// The text of a line, if it has one.
    pub(super) fn text<'r>(&self, record: &'r Record) -> Option<std::borrow::Cow<'r, str>> {
        let is_missing = !self.own.is_empty() && self.own.iter().all(|at| record.cell(*at).trim().is_empty());
        Some(self.rule.text(record)).filter(|text| !text.is_empty() && !is_missing)
    }
}

/// The columns of the text in each language.
///
/// # Errors
/// The columns that do not exist.
pub(super) fn columns(asked: &Synthesizing, uses: &Uses<'_>) -> Result<Vec<TextColumn>, Vec<String>> {
    let (mut texts, mut faults): (Vec<TextColumn>, Vec<String>) = (Vec::new(), Vec::new());
    for (language, template) in &asked.text_columns {
        match uses.rule(template, uses.columns.len()) {
            Ok(rule) => {
                let (name, language, own) = (rule_name(&rule, uses.columns), Some(*language), Vec::new());
                texts.push(TextColumn { language, name, rule, own });
            }
            Err(message) => faults.push(format!("text_columns.{language}: {message}")),
        }
    }
    if !faults.is_empty() {
        return Err(faults);
    }
    let all: Vec<Vec<usize>> = texts.iter().map(|text| text.rule.columns()).collect();
    for (at, text) in texts.iter_mut().enumerate() {
        let others = || all.iter().enumerate().filter(|(other, _)| *other != at);
        let is_own = |column: &usize| others().all(|(_, columns)| !columns.contains(column));
        text.own = all[at].iter().copied().filter(is_own).collect();
    }
    Ok(texts)
}

/// The languages that have no voice, or that the model does not speak, where no column of the manifest could mend that.
pub(super) fn voices(asked: &Synthesizing, texts: &[TextColumn], options: &[(SynthesisOption, usize)]) -> Vec<String> {
    let is_set = |option| options.iter().any(|(own, _)| *own == option);
    let languages = || texts.iter().filter_map(|text| text.language);
    let mut faults = Vec::new();
    if !asked.voices_by_language.is_empty() && !is_set(SynthesisOption::VoiceId) {
        let voiceless = languages().filter(|language| !asked.voices_by_language.contains_key(language));
        faults.extend(voiceless.map(|language| {
            format!(
                "text_columns has texts in `{language}`, and `voices` in [synthesize] names no voice for it; add {language} = [\"…\"] (`wavebatch voices --language {language}` lists them)"
            )
        }));
    }
    if !is_set(SynthesisOption::Model) {
        let spoken = |language| SynthesisOptions { language: Some(language), ..asked.synthesis.options.clone() };
        let broken = languages().flat_map(|language| spoken(language).faults());
        let broken = broken.filter(|fault| fault.field == "language");
        faults.extend(broken.map(|fault| format!("text_columns: {}", fault.message)));
    }
    faults
}

/// What may not be meant so: a text that is spoken in two languages, and columns that look like one more text or like the
/// language.
pub(super) fn warnings(
    asked: &Synthesizing,
    texts: &[TextColumn],
    (columns, carried): (&[String], &[usize]),
) -> Vec<String> {
    if asked.text_columns.is_empty() {
        return Vec::new();
    }
    let mut warnings = Vec::new();
    for (at, text) in texts.iter().enumerate() {
        let twin = texts[..at].iter().find(|other| other.name == text.name);
        if let Some((before, now)) = twin.and_then(|twin| Some((twin.language?, text.language?))) {
            let column = excerpt(&text.name);
            warnings.push(format!("column `{column}` is spoken twice: as `{before}` and as `{now}`"));
        }
    }
    for column in carried.iter().map(|at| columns[*at].as_str()) {
        let name = excerpt(column);
        if is_alike(column, SynthesisOption::Language.as_str()) {
            warnings.push(format!(
                "column `{name}` sets nothing and is carried into the report: each text has the language that text_columns gives it"
            ));
        } else if is_alike(column, "text") {
            warnings.push(format!("column `{name}` is not spoken: text_columns does not name it"));
        } else if let Some(language) = one_more(texts, column) {
            warnings.push(format!(
                "column `{name}` is not spoken; if it is the text in `{language}`, add {language} = \"{name}\" to text_columns, or say --column text.{language}={}",
                shell_word(column)
            ));
        }
    }
    warnings
}

/// The language of a column that is called as a text's column is, but for its language.
fn one_more(texts: &[TextColumn], column: &str) -> Option<TtsLanguage> {
    texts.iter().find_map(|text| {
        let (before, after) = around(&text.name, text.language?)?;
        let language = language_in(column)?;
        let own = around(column, language)?;
        (is_alike(before, own.0) && is_alike(after, own.1)).then_some(language)
    })
}

/// The fault of a manifest that has no text that is known. Columns whose names end in a language may be the texts.
pub(super) fn no_text(columns: &[String]) -> String {
    let found = ticked(columns);
    let texts: Vec<_> = columns.iter().filter_map(|column| Some((language_of_text(column)?, column))).collect();
    let way_out = if texts.is_empty() {
        "Call it `text` (or `text_file`), or name it in the definition: columns = { text = \"…\" }".to_owned()
    } else {
        let table: Vec<_> = texts.iter().map(|(language, column)| format!("{language} = \"{column}\"")).collect();
        let flags: Vec<_> =
            texts.iter().map(|(language, column)| format!("--column text.{language}={}", shell_word(column))).collect();
        format!(
            "If each language has a column, say text_columns = {{ {} }} in the definition, or {}; else call the text's column `text`",
            table.join(", "),
            flags.join(" ")
        )
    };
    format!("no column is known to hold the text; found: {found}. {way_out}")
}

/// `hi` of `text_hi`, and nothing of `note_hi`. A column `id` or `text_id` has numbers more often than Indonesian.
fn language_of_text(column: &str) -> Option<TtsLanguage> {
    let language = language_in(column).filter(|language| *language != TtsLanguage::Id)?;
    let (before, after) = around(column, language)?;
    let bare = |part: &str| part.trim_matches(SEPARATORS).to_lowercase();
    // `no` and `or` alone are words.
    let is_word = matches!(language, TtsLanguage::No | TtsLanguage::Or);
    let rest = bare(before) + &bare(after);
    (["text", "prompt"].contains(&rest.as_str()) || rest.is_empty() && !is_word).then_some(language)
}

/// What stands between the words of a column's name.
const SEPARATORS: [char; 4] = ['_', '-', ' ', '.'];

/// The listed language that a column's name has as its last word, or its first.
fn language_in(column: &str) -> Option<TtsLanguage> {
    let listed = |word: &str| {
        let listed = TtsLanguage::ALL.iter().copied().filter(|language| *language != TtsLanguage::Auto);
        listed.into_iter().find(|language| language.as_str().eq_ignore_ascii_case(word))
    };
    let mut words = column.split(SEPARATORS);
    words.clone().next_back().and_then(listed).or_else(|| words.next().and_then(listed))
}

/// What stands before and after the language in a column's name.
fn around(column: &str, language: TtsLanguage) -> Option<(&str, &str)> {
    let code = language.as_str();
    let cut = |at: usize| Some((column.get(..at)?, column.get(at + code.len()..)?, column.get(at..at + code.len())?));
    let last = cut(column.len().checked_sub(code.len())?);
    let first = cut(0).filter(|(_, after, _)| after.starts_with(SEPARATORS));
    let is_word = |(before, _, word): &(&str, &str, &str)| {
        word.eq_ignore_ascii_case(code) && (before.is_empty() || before.ends_with(SEPARATORS))
    };
    [last, first].into_iter().flatten().find(is_word).map(|(before, after, _)| (before, after))
}

/// Whether two names differ at most in case and in what separates their words.
fn is_alike(one: &str, other: &str) -> bool {
    let folded = |name: &str| name.trim().replace(SEPARATORS, "_").to_lowercase();
    folded(one) == folded(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_columns_language_is_its_last_word_or_its_first() {
        let found = |column| language_in(column).map(|language| (language, around(column, language).unwrap()));
        assert_eq!(found("text_hi"), Some((TtsLanguage::Hi, ("text_", ""))));
        assert_eq!(found("Text HI"), Some((TtsLanguage::Hi, ("Text ", ""))));
        assert_eq!(found("ta-prompt"), Some((TtsLanguage::Ta, ("", "-prompt"))));
        assert_eq!(found("hi"), Some((TtsLanguage::Hi, ("", ""))));
        assert_eq!(found("texthi"), None, "no word of its own");
        assert_eq!(found("text_auto"), None);
        assert_eq!(language_of_text("Text-HI"), Some(TtsLanguage::Hi));
        for other in ["note_hi", "id", "text_id", "no", "text"] {
            assert_eq!(language_of_text(other), None, "{other}");
        }
    }
}
