//! Tags and comments of HTML inside a text: where they end, and what they mean for a text that is read aloud.

use std::ops::Range;

/// What a tag means for a text that is read aloud.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    /// It stands inside a paragraph: `<b>`.
    Inline,
    /// It ends one paragraph and begins another: `<p>`.
    Block,
    /// It begins or ends a heading.
    Heading,
    /// A line break.
    Break,
    /// A break between two scenes: `<hr>`.
    Rule,
    /// An image.
    Image,
    /// Its content is a table.
    Table,
    /// Its content is code, if it looks like code.
    Code,
    /// Its content is not for readers: `<script>`.
    Hidden,
}

/// A tag as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HtmlTag {
    /// In small letters.
    pub name: String,
    /// `</b>`
    pub closes: bool,
    /// `<br/>`
    pub closes_itself: bool,
    /// Whether an attribute has a value: `<a href="…">`.
    pub has_values: bool,
}

/// A piece of HTML.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Markup {
    /// A tag.
    Tag(HtmlTag),
    /// A comment, a declaration, or a processing instruction.
    Comment,
    /// A comment that is never closed.
    OpenComment,
}

/// The markup that begins with the `<` at the start of a text, and its length.
pub fn markup(text: &str) -> Option<(Markup, usize)> {
    if text.starts_with("<!--") {
        return Some(until(text, "-->"));
    }
    if text.starts_with("<?") {
        return Some(until(text, "?>"));
    }
    if text.starts_with("<![CDATA[") {
        return Some(until(text, "]]>"));
    }
    if text.starts_with("<!") && text[2..].starts_with(|c: char| c.is_ascii_alphabetic()) {
        return Some(until(text, ">"));
    }
    tag(text).map(|(tag, length)| (Markup::Tag(tag), length))
}

fn until(text: &str, end: &str) -> (Markup, usize) {
    match text.find(end) {
        Some(at) => (Markup::Comment, at + end.len()),
        None => (Markup::OpenComment, text.len()),
    }
}

fn tag(text: &str) -> Option<(HtmlTag, usize)> {
    let body = text.strip_prefix('<')?;
    let closes = body.starts_with('/');
    let body = body.strip_prefix('/').unwrap_or(body);
    if !body.starts_with(|c: char| c.is_ascii_alphabetic()) {
        return None;
    }
    let length =
        body.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | ':' | '_'))).unwrap_or(body.len());
    let name = body[..length].to_ascii_lowercase();
    let (has_values, rest) = attributes(&body[length..])?;
    let (closes_itself, rest) = rest.strip_prefix('/').map_or((false, rest), |rest| (true, rest));
    let rest = rest.strip_prefix('>')?;
    Some((HtmlTag { name, closes, closes_itself, has_values }, text.len() - rest.len()))
}

/// Reads attributes: whether one has a value, and what follows them.
fn attributes(text: &str) -> Option<(bool, &str)> {
    let (mut rest, mut has_values) = (text, false);
    loop {
        let next = rest.trim_ascii_start();
        if next.starts_with(['/', '>']) {
            return Some((has_values, next));
        }
        let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ':' | '.' | '-' | '@');
        let length = next.find(|c| !is_name(c)).filter(|length| *length > 0 && next.len() < rest.len())?;
        rest = &next[length..];
        if let Some(value) = rest.trim_ascii_start().strip_prefix('=') {
            has_values = true;
            rest = after_value(value.trim_ascii_start())?;
        }
    }
}

fn after_value(text: &str) -> Option<&str> {
    match text.chars().next().filter(|c| matches!(c, '"' | '\'')) {
        Some(quote) => text[1..].split_once(quote).map(|(_, rest)| rest),
        None => {
            let end = text.find(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '=' | '<' | '>' | '`'))?;
            (end > 0).then(|| &text[end..])
        }
    }
}

/// What a tag of this name means; `None` if HTML has no such tag. The list of elements is that of the HTML standard
/// (WHATWG), with those that it calls obsolete.
pub fn meaning(name: &str) -> Option<Meaning> {
    Some(match name {
        "a" | "abbr" | "acronym" | "b" | "bdi" | "bdo" | "big" | "cite" | "code" | "data" | "del" | "dfn" | "em"
        | "font" | "i" | "ins" | "kbd" | "label" | "map" | "mark" | "meter" | "nobr" | "output" | "progress" | "q"
        | "ruby" | "rb" | "rtc" | "s" | "samp" | "slot" | "small" | "span" | "strike" | "strong" | "sub" | "sup"
        | "time" | "tt" | "u" | "var" | "wbr" | "blink" | "button" | "area" | "base" | "basefont" | "col" | "embed"
        | "input" | "link" | "meta" | "param" | "source" | "track" | "bgsound" | "keygen" | "spacer" | "picture" => {
            Meaning::Inline
        }
        "address" | "article" | "aside" | "blockquote" | "body" | "caption" | "center" | "colgroup" | "dd"
        | "details" | "dialog" | "dir" | "div" | "dl" | "dt" | "fieldset" | "figcaption" | "figure" | "footer"
        | "form" | "frame" | "frameset" | "header" | "hgroup" | "html" | "legend" | "li" | "main" | "marquee"
        | "menu" | "menuitem" | "nav" | "noembed" | "noframes" | "noscript" | "ol" | "optgroup" | "option" | "p"
        | "search" | "section" | "summary" | "tbody" | "td" | "tfoot" | "th" | "thead" | "tr" | "ul" => Meaning::Block,
        "h1" | "h2" | "h3" | "h4" | "h5" | "h6" => Meaning::Heading,
        "br" => Meaning::Break,
        "hr" => Meaning::Rule,
        "img" | "image" => Meaning::Image,
        "table" => Meaning::Table,
        "pre" | "listing" | "plaintext" | "xmp" => Meaning::Code,
        "head" | "title" | "script" | "style" | "template" | "svg" | "math" | "iframe" | "object" | "applet"
        | "audio" | "video" | "canvas" | "select" | "datalist" | "textarea" | "rt" | "rp" => Meaning::Hidden,
        _ => return None,
    })
}

/// Whether an opening tag may stand without a closing one, and without attributes.
pub fn may_stand_alone(name: &str) -> bool {
    matches!(
        name,
        "p" | "br"
            | "hr"
            | "wbr"
            | "img"
            | "li"
            | "dt"
            | "dd"
            | "tr"
            | "td"
            | "th"
            | "thead"
            | "tbody"
            | "tfoot"
            | "body"
            | "html"
            | "div"
            | "center"
            | "spacer"
    )
}

/// The end of the element whose opening tag ends at `from`, and the start of its closing tag. Elements of the same name
/// inside it are passed over.
pub fn element_end(text: &str, from: usize, name: &str) -> Option<Range<usize>> {
    let (mut at, mut depth) = (from, 1);
    while let Some(next) = text[at..].find('<') {
        at += next;
        match tag(&text[at..]) {
            Some((found, length)) if found.name == name && !found.closes_itself => {
                depth = if found.closes { depth - 1 } else { depth + 1 };
                if depth == 0 {
                    return Some(at..at + length);
                }
                at += length;
            }
            _ => at += 1,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_read_to_their_end() {
        let read = |text: &str| markup(text).map(|(_, length)| text[..length].to_owned());
        for text in [
            "<b>",
            "</b>",
            "<br/>",
            "<a href=\"x>y\">",
            "<p class='a'>",
            "<!-- a > b -->",
            "<?php x ?>",
            "<!DOCTYPE html>",
            "<o:p>",
        ] {
            assert_eq!(read(&format!("{text} rest")).as_deref(), Some(text));
        }
        for text in ["< b>", "<3", "<b", "<b <i>", "<>", "<1>", "<b == c>", "<b, c>", "<b \"c\">"] {
            assert_eq!(read(text), None, "{text}");
        }
        assert_eq!(markup("<!-- open"), Some((Markup::OpenComment, 9)));
        let Some((Markup::Tag(tag), _)) = markup("<A HREF=x>") else { panic!() };
        assert_eq!((tag.name.as_str(), tag.has_values, tag.closes), ("a", true, false));
    }

    #[test]
    fn an_element_ends_with_its_own_tag() {
        let text = "<table><tr><td><table></table></td></tr></table> after";
        assert_eq!(&text[element_end(text, 7, "table").unwrap().end..], " after");
        assert_eq!(element_end("<table> open", 7, "table"), None);
    }
}
