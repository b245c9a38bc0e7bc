//! How punctuation affects cutting.

use unicode_segmentation::GraphemeCursor;

/// How a character can end a sentence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EndMark {
    /// `.`: before white space, unless it belongs to an abbreviation or a number.
    Point,
    /// `!`, `?`: before white space.
    Call,
    /// `…`: before white space, unless the sentence continues in lower case.
    Trail,
    /// `。`, `।`: in any position.
    Full,
    /// The last letter of a word that ends a sentence before white space: `ครับ`.
    Particle,
}

pub(super) fn stop(c: char) -> Option<EndMark> {
    match c {
        '.' => Some(EndMark::Point),
        '!' | '?' => Some(EndMark::Call),
        _ if c.is_ascii() => None,
        '…' | '‥' => Some(EndMark::Trail),
        '‼' | '‽' | '⁇' | '⁈' | '⁉' | '⸮' | '\u{37e}' => Some(EndMark::Call),
        // The list of Unicode's property STerm, limited to scripts in use; fullwidth forms.
        '\u{589}' | '\u{61d}'..='\u{61f}' | '\u{6d4}' | '\u{700}'..='\u{702}' | '\u{7f9}' => Some(EndMark::Full),
        '\u{964}' | '\u{965}' | '\u{e5a}' | '\u{e5b}' | '\u{f0d}' | '\u{f0e}' | '\u{104b}' => Some(EndMark::Full),
        '\u{1362}' | '\u{1367}' | '\u{1368}' | '\u{166e}' | '\u{17d4}' | '\u{17d5}' => Some(EndMark::Full),
        '\u{1803}' | '\u{1809}' | '\u{1b5e}' | '\u{1b5f}' | '\u{1c3b}' | '\u{1c3c}' => Some(EndMark::Full),
        '\u{1c7e}' | '\u{1c7f}' | '\u{a4ff}' | '\u{a8ce}' | '\u{a8cf}' | '\u{a9c8}' | '\u{a9c9}' => Some(EndMark::Full),
        '\u{aaf0}' | '\u{aaf1}' | '\u{abeb}' => Some(EndMark::Full),
        '。' | '！' | '？' | '．' | '｡' | '﹒' | '﹖' | '﹗' | '︒' | '︕' | '︖' => Some(EndMark::Full),
        _ => None,
    }
}

/// Whether the mark of a question or a call.
pub(super) const fn asks(c: char) -> bool {
    matches!(c, '!' | '?' | '‼' | '‽' | '⁇' | '⁈' | '⁉' | '⸮' | '؟' | '፧' | '！' | '？' | '﹖' | '﹗' | '︕' | '︖')
}

/// Marks inside a sentence that count only before white space: `10:30` and `1,000` have none.
pub(super) const fn is_spaced_comma(c: char) -> bool {
    matches!(c, ',' | ';' | ':' | '·' | '\u{387}')
}

/// Marks inside a sentence that need no space, as in languages that write no spaces.
pub(super) const fn is_comma(c: char) -> bool {
    matches!(
        c,
        '、' | '，'
            | '；'
            | '：'
            | '､'
            | '﹐'
            | '﹑'
            | '﹔'
            | '﹕'
            | '︐'
            | '︑'
            | '︓'
            | '︔'
            | '،'
            | '؛'
            | '՝'
            | '၊'
            | '፣'
            | '፤'
            | '፥'
            | '፦'
            | '᠂'
            | '៖'
            | '꓾'
    )
}

pub(super) const fn is_dash(c: char) -> bool {
    matches!(c, '-' | '‐' | '‒' | '–' | '—' | '―' | '⸺' | '⸻')
}

/// Dashes that separate two clauses even without spaces around them.
pub(super) const fn is_long_dash(c: char) -> bool {
    matches!(c, '—' | '―' | '⸺' | '⸻')
}

/// Brackets and quotes that close and never open; superscript digits of a note.
pub(super) const fn closes(c: char) -> bool {
    matches!(
        c,
        ')' | ']'
            | '}'
            | '”'
            | '’'
            | '」'
            | '』'
            | '）'
            | '】'
            | '》'
            | '〉'
            | '〕'
            | '］'
            | '｝'
            | '｣'
            | '〗'
            | '〙'
            | '〞'
            | '〟'
            | '¹'
            | '²'
            | '³'
            | '⁰'
            | '⁴'..='⁹'
    )
}

/// The bracket that a bracket closes.
pub(super) const fn bracket_of(c: char) -> Option<char> {
    Some(match c {
        ')' => '(',
        ']' => '[',
        '}' => '{',
        '）' => '（',
        '］' => '［',
        '｝' => '｛',
        '】' => '【',
        '〕' => '〔',
        '〗' => '〖',
        '〙' => '〘',
        _ => return None,
    })
}

/// The quote that a quote closes, in scripts without capitals.
pub(super) const fn quote_of(c: char) -> Option<char> {
    Some(match c {
        '”' => '“',
        '“' => '”',
        '’' => '‘',
        '‘' => '’',
        '»' => '«',
        '«' => '»',
        '›' => '‹',
        '‹' => '›',
        '」' => '「',
        '』' => '『',
        '｣' => '｢',
        '〞' | '〟' => '〝',
        '"' | '\'' => c,
        _ => return None,
    })
}

/// Whether a letter is of a script without capitals.
pub(super) fn is_caseless(c: char) -> bool {
    c.is_alphabetic() && !c.is_lowercase() && !c.is_uppercase()
}

/// Quotes that open in one language and close in another.
pub(super) const fn is_either_quote(c: char) -> bool {
    matches!(c, '"' | '\'' | '“' | '‘' | '»' | '«' | '›' | '‹')
}

/// Quotes that can open.
pub(super) const fn opens_quote(c: char) -> bool {
    is_either_quote(c) || matches!(c, '„' | '‚' | '「' | '『' | '｢' | '〝' | '”' | '’')
}

/// Characters that can precede a sentence's first letter.
pub(super) const fn opens(c: char) -> bool {
    is_either_quote(c)
        || is_dash(c)
        || matches!(c, '(' | '[' | '{' | '„' | '‚' | '¿' | '¡' | '「' | '『' | '（' | '”' | '’')
}

/// Whether the character belongs to the one before it: no part may begin with it.
pub(super) fn hangs(c: char) -> bool {
    stop(c).is_some() || closes(c) || is_comma(c) || matches!(c, ',' | ';' | ':' | '%' | '‰')
}

/// Whether the text ends inside a title: `《摔跤吧！`.
pub(super) fn is_in_title(text: &str) -> bool {
    const LONGEST: usize = 40;
    text.chars().rev().take(LONGEST).take_while(|c| *c != '》').any(|c| c == '《')
}

/// Characters of Chinese and Japanese, and their punctuation.
pub(super) const fn is_wide(c: char) -> bool {
    matches!(
        c,
        '\u{2e80}'..='\u{312f}' | '\u{3190}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}'
            | '\u{fe30}'..='\u{fe4f}' | '\u{ff00}'..='\u{ff9f}' | '\u{20000}'..='\u{3ffff}'
    )
}

/// Whether a character belongs to a script that puts no space between words: Chinese, Japanese, Thai, Lao, Burmese, Khmer.
#[must_use]
pub const fn is_unspaced(c: char) -> bool {
    is_wide(c) || is_spaceless(c)
}

/// Thai, Lao, Burmese and Khmer: a space parts clauses or sentences, and a point belongs to an abbreviation.
pub(super) const fn is_spaceless(c: char) -> bool {
    matches!(c, '\u{e00}'..='\u{eff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}')
}

/// Whether `at` is inside a grapheme, where the text may not be split. For positions next to punctuation or white space:
/// the function looks at one character on either side.
pub(super) fn is_inside_grapheme(text: &str, at: usize) -> bool {
    let Some(next) = text[at..].chars().next() else { return false };
    let Some(before) = text[..at].chars().next_back() else { return false };
    if next.is_ascii() && before.is_ascii() {
        return false;
    }
    let pair = &text[at - before.len_utf8()..at + next.len_utf8()];
    let boundary = GraphemeCursor::new(before.len_utf8(), pair.len(), true).is_boundary(pair, 0);
    !boundary.unwrap_or(true)
}
