//! Passages that someone or something should have replaced before the text is spoken.

use std::{ops::Range, sync::LazyLock};

use regex::Regex;

/// A function that finds the first match of an expression, or of its group, if it has one.
macro_rules! finder {
    ($(#[$doc:meta])* $name:ident, $($text:literal)+) => {
        $(#[$doc])*
        pub(super) fn $name(text: &str) -> Option<Range<usize>> {
            static PATTERN: LazyLock<Regex> =
                LazyLock::new(|| Regex::new(concat!($($text),+)).expect("the expression is valid"));
            let found = PATTERN.captures(text)?;
            found.iter().skip(1).flatten().next().or(found.get(0)).map(|found| found.range())
        }
    };
}

finder! {
    /// `{name}`, `{{ name }}`, `${name}`, `{% now %}`, `$NAME`, `%s`, `%(name)s`, `%NAME%`, `<%= name %>`, `[[name]]`
    placeholder,
    r"(\$?\{\{[^{}\n]{1,60}\}\}|\$?\{[^{}\n]*[^{}\s][^{}\n]*\}|\$[A-Z_][A-Z0-9_]+\b|<%[^<>\n]{1,60}%>|\[\[[^\[\]\n]{1,60}\]\])"
    r"|(?:^|[^\w%])(%(?:\d+\$)?(?:\([A-Za-z_]\w*\))?[-+0#]?\d*(?:\.\d+)?(?:[sdifu]\b|@)|%[A-Za-z_]\w*%)"
}

finder! {
    /// `<name>`, at the start of a text.
    name_in_angles,
    r"^<\p{L}[\p{L}\p{N} _.'-]{0,40}>"
}

finder! {
    /// `[pause]`, `[1]`
    bracketed,
    r"(\[[\p{L}\p{N}][^\[\]\n]{0,60}\])(?:[^(]|$)"
}

finder! {
    /// `https://…`, `www.…`, `ann@example.org`
    address,
    r"\b(?:(?:https?|ftp)://|www\.)[^\s<>]*[^\s<>.,;:!?)\]'»”]|\b[\w.+-]+@[\w-]+(?:\.[\w-]+)*\.[A-Za-z]{2,}\b"
}

finder! {
    /// `\n`, `\"`, `\u00e9`, `\xe9`
    escape,
    r#"((?:\\[nrt])+)(?:[^\p{Ll}]|$)|(\\u[0-9A-Fa-f]{4}|\\x[0-9A-Fa-f]{2}|\\")"#
}

finder! {
    /// `$$x$$`, `\frac{1}{2}`, `\(x\)`
    formula,
    r"\$\$[^$\n]{1,200}\$\$|\\[A-Za-z]+(?:\{[^{}\n]*\})+|\\\([^\n]{1,200}?\\\)"
}

finder! {
    /// `:tada:`
    emoji_name,
    r"(?:^|\s)(:(?:[a-z][a-z0-9_+-]*|[+-]1):)"
}
