//! Periods that end no sentence: abbreviations, initials, ordinals.

use super::marks::opens;

/// The longest word that is examined, in characters.
const LONGEST: usize = 16;

/// Abbreviations with several periods.
const WITH_POINTS: &[&str] = &[
    "e.g", "i.e", "ph.d", "z.b", "d.h", "u.a", "u.u", "o.ä", "s.o", "s.u", "m.e", "i.d.r", "v.chr", "n.chr", "p.ej",
    "p.ex", "t.ex", "bl.a", "d.v.s", "т.е", "т.к", "т.н", "н.э", "m.in", "a.k.a",
];
/// Titles before a name; only if capitalized, because `col`, `gen` and `rep` are also words.
const TITLES: &[&str] = &[
    "mr", "mrs", "ms", "mx", "dr", "dra", "drs", "prof", "st", "ste", "sr", "sra", "srta", "rev", "gen", "col", "capt",
    "cpt", "lt", "sgt", "cmdr", "adm", "maj", "hon", "pres", "gov", "sen", "rep", "messrs", "mme", "mlle", "mm", "hr",
    "hrn", "fr", "frl", "ing", "dipl", "sig", "dott", "avv", "ud", "uds", "vd", "dhr", "mevr", "mgr", "fru", "sn",
    "av", "smt", "shri", "kum", "mt", "ft",
];
/// Words that never end a sentence.
const ALWAYS: &[&str] = &[
    "vs", "cf", "viz", "al", "approx", "resp", "incl", "excl", "esp", "ca", "bzw", "vgl", "evtl", "ggf", "inkl",
    "zzgl", "sog", "geb", "bspw", "nr", "núm", "bijv", "dvs", "np", "tzn", "tj",
];
/// Such words in other alphabets.
const ALWAYS_ELSEWHERE: &str = "ул им стр гл рис см ср напр डॉ डा प्रो श्री पं कु सु मो रु";
/// Abbreviations before a number that are ordinary words otherwise.
const BEFORE_NUMBERS: &[&str] = &[
    "no", "nos", "fig", "figs", "eq", "pp", "vol", "ch", "chap", "sec", "sect", "art", "bd", "kap", "abb", "tab",
    "abs", "ziff", "jan", "feb", "mar", "apr", "jun", "jul", "aug", "sep", "sept", "oct", "nov", "dec", "okt", "dez",
    "rs", "tel", "ext", "ver", "op", "cap", "pág", "pag", "str",
];
/// The first letters of months, which follow an ordinal in a language that writes ordinals with a period.
const MONTHS: &[&str] = &["Jan", "Jän", "Feb", "Mär", "Apr", "Mai", "Jun", "Jul", "Aug", "Sep", "Okt", "Nov", "Dez"];

/// Whether the period after `before` belongs to its last word. `before` is the sentence so far; `after` is the text after
/// the period and a space.
pub(super) fn takes_point(before: &str, after: &str) -> bool {
    let delimits = |c: char| c.is_whitespace() || opens(c) && c != '’' || c == '/';
    let Some(start) = before.char_indices().rev().take(LONGEST + 1).find(|(_, c)| delimits(*c)) else {
        // Either the word is the whole sentence so far, or it is too long.
        return before.chars().nth(LONGEST).is_none() && word_takes_point(before, "", after);
    };
    let at = start.0 + start.1.len_utf8();
    word_takes_point(&before[at..], before[..at].trim_end_matches(delimits), after)
}

/// `lead` is the part of the sentence before the word.
fn word_takes_point(word: &str, lead: &str, after: &str) -> bool {
    let mut chars = word.chars();
    let Some(first) = chars.next() else { return false };
    if word.bytes().all(|b| b.is_ascii_digit()) {
        return lead.is_empty() && word.len() <= 3 || word.len() <= 2 && MONTHS.iter().any(|m| after.starts_with(m));
    }
    if chars.next().is_none() {
        return is_initial(first, lead);
    }
    if word.contains('.') {
        return has_inner_points(word);
    }
    if lead.is_empty() && word.len() <= 5 && word.chars().all(|c| "IVXLC".contains(c)) {
        return true;
    }
    let lower = word.to_lowercase();
    let lower = lower.as_str();
    first.is_uppercase() && TITLES.contains(&lower)
        || ALWAYS.contains(&lower)
        || !first.is_ascii() && ALWAYS_ELSEWHERE.split(' ').any(|known| known == lower)
        || BEFORE_NUMBERS.contains(&lower) && after.starts_with(|c: char| c.is_numeric())
}

/// `J. R. R. Tolkien`, `z. B.`, `p. 12`; but "So do I." ends a sentence.
fn is_initial(letter: char, lead: &str) -> bool {
    match letter {
        'I' | 'я' | 'Я' => lead.is_empty() || lead.ends_with('.'),
        _ => letter.is_lowercase() || letter.is_uppercase(),
    }
}

/// `U.S`, `J.R.R`, and the listed ones; not `example.com`, `12.3.2026`, `p.m`.
fn has_inner_points(word: &str) -> bool {
    let mut segments = word.split('.');
    if segments.all(|segment| segment.chars().count() == 1 && segment.chars().all(char::is_uppercase)) {
        return true;
    }
    WITH_POINTS.contains(&word.to_lowercase().as_str())
}
