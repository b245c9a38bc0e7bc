//! Scripts that voices speak, or that may have slipped into a text.

use std::ops::Range;

use crate::domain::synthesis_options::TtsLanguage;

/// A script other than Latin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Script {
    Greek,
    Cyrillic,
    Armenian,
    Hebrew,
    Arabic,
    Devanagari,
    Bengali,
    Gurmukhi,
    Gujarati,
    Odia,
    Tamil,
    Telugu,
    Kannada,
    Malayalam,
    Sinhala,
    Thai,
    Lao,
    Tibetan,
    Myanmar,
    Georgian,
    Hangul,
    Ethiopic,
    Khmer,
    Kana,
    Han,
}

impl Script {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Greek => "Greek",
            Self::Cyrillic => "Cyrillic",
            Self::Armenian => "Armenian",
            Self::Hebrew => "Hebrew",
            Self::Arabic => "Arabic",
            Self::Devanagari => "Devanagari",
            Self::Bengali => "Bengali",
            Self::Gurmukhi => "Gurmukhi",
            Self::Gujarati => "Gujarati",
            Self::Odia => "Odia",
            Self::Tamil => "Tamil",
            Self::Telugu => "Telugu",
            Self::Kannada => "Kannada",
            Self::Malayalam => "Malayalam",
            Self::Sinhala => "Sinhala",
            Self::Thai => "Thai",
            Self::Lao => "Lao",
            Self::Tibetan => "Tibetan",
            Self::Myanmar => "Burmese",
            Self::Georgian => "Georgian",
            Self::Hangul => "Korean",
            Self::Ethiopic => "Ethiopic",
            Self::Khmer => "Khmer",
            Self::Kana => "Kana",
            Self::Han => "Chinese",
        }
    }

    /// The script of a letter; `None` for Latin, for marks that several scripts share, and for what no voice could speak.
    const fn of(c: char) -> Option<Self> {
        Some(match c {
            '\u{0}'..='\u{36f}' => return None,
            // Shared by the Indic scripts.
            '\u{951}'..='\u{954}' | '\u{964}' | '\u{965}' => return None,
            '\u{370}'..='\u{3ff}' | '\u{1f00}'..='\u{1fff}' => Self::Greek,
            '\u{400}'..='\u{52f}' | '\u{1c80}'..='\u{1c8f}' | '\u{2de0}'..='\u{2dff}' | '\u{a640}'..='\u{a69f}' => {
                Self::Cyrillic
            }
            '\u{530}'..='\u{58f}' => Self::Armenian,
            '\u{590}'..='\u{5ff}' | '\u{fb1d}'..='\u{fb4f}' => Self::Hebrew,
            '\u{600}'..='\u{6ff}'
            | '\u{750}'..='\u{77f}'
            | '\u{8a0}'..='\u{8ff}'
            | '\u{fb50}'..='\u{fdff}'
            | '\u{fe70}'..='\u{fefe}' => Self::Arabic,
            '\u{900}'..='\u{97f}' | '\u{a8e0}'..='\u{a8ff}' => Self::Devanagari,
            '\u{980}'..='\u{9ff}' => Self::Bengali,
            '\u{a00}'..='\u{a7f}' => Self::Gurmukhi,
            '\u{a80}'..='\u{aff}' => Self::Gujarati,
            '\u{b00}'..='\u{b7f}' => Self::Odia,
            '\u{b80}'..='\u{bff}' => Self::Tamil,
            '\u{c00}'..='\u{c7f}' => Self::Telugu,
            '\u{c80}'..='\u{cff}' => Self::Kannada,
            '\u{d00}'..='\u{d7f}' => Self::Malayalam,
            '\u{d80}'..='\u{dff}' => Self::Sinhala,
            '\u{e00}'..='\u{e7f}' => Self::Thai,
            '\u{e80}'..='\u{eff}' => Self::Lao,
            '\u{f00}'..='\u{fff}' => Self::Tibetan,
            '\u{1000}'..='\u{109f}' => Self::Myanmar,
            '\u{10a0}'..='\u{10ff}' | '\u{1c90}'..='\u{1cbf}' => Self::Georgian,
            '\u{1100}'..='\u{11ff}' | '\u{3130}'..='\u{318f}' | '\u{a960}'..='\u{a97f}' | '\u{ac00}'..='\u{d7ff}' => {
                Self::Hangul
            }
            '\u{1200}'..='\u{139f}' => Self::Ethiopic,
            '\u{1780}'..='\u{17ff}' => Self::Khmer,
            '\u{3041}'..='\u{30ff}' | '\u{31f0}'..='\u{31ff}' | '\u{ff66}'..='\u{ff9f}' => Self::Kana,
            '\u{2e80}'..='\u{2fdf}'
            | '\u{3005}'..='\u{3007}'
            | '\u{3400}'..='\u{4dbf}'
            | '\u{4e00}'..='\u{9fff}'
            | '\u{f900}'..='\u{faff}'
            | '\u{20000}'..='\u{3ffff}' => Self::Han,
            _ => return None,
        })
    }
}

/// The scripts of a language besides Latin; `None` if any script may occur.
const fn written_in(language: TtsLanguage) -> Option<&'static [Script]> {
    use TtsLanguage as L;
    Some(match language {
        L::Auto | L::Other(_) => return None,
        L::Hi | L::Mr => &[Script::Devanagari],
        L::Kn => &[Script::Kannada],
        L::Ta => &[Script::Tamil],
        L::Bn => &[Script::Bengali],
        L::Gu => &[Script::Gujarati],
        L::Te => &[Script::Telugu],
        L::Ml => &[Script::Malayalam],
        L::Pa => &[Script::Gurmukhi],
        L::Or => &[Script::Odia],
        L::Ru => &[Script::Cyrillic],
        L::El => &[Script::Greek],
        L::Ar => &[Script::Arabic],
        L::Zh => &[Script::Han],
        L::Ja => &[Script::Han, Script::Kana],
        L::Ko => &[Script::Hangul, Script::Han],
        L::En
        | L::Es
        | L::De
        | L::Fr
        | L::It
        | L::Nl
        | L::Sv
        | L::Pt
        | L::Fi
        | L::No
        | L::Pl
        | L::Id
        | L::Ms
        | L::Tr
        | L::Vi => &[],
    })
}

/// The first word in a script that the language is not written in.
pub(super) fn foreign(text: &str, language: TtsLanguage) -> Option<(Script, Range<usize>)> {
    let known = written_in(language)?;
    let foreign = |c: char| Script::of(c).filter(|script| c.is_alphabetic() && !known.contains(script));
    let (start, script) = text.char_indices().find_map(|(at, c)| Some((at, foreign(c)?)))?;
    let length = text[start..].find(char::is_whitespace).unwrap_or(text.len() - start);
    Some((script, start..start + length))
}
