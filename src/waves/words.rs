//! Messages from outside, cleaned for a report: one line, short, and without secrets.

const LONGEST: usize = 300;

/// One line of at most 300 characters, without control characters, keys, or the query strings and user info of URLs.
pub(super) fn clean(text: &str) -> String {
    let one_line = text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
    let line = without_keys(&without_signatures(&one_line.collect::<Vec<_>>().join(" ")));
    match line.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", line[..end].trim_end()),
        None => line,
    }
}

/// Cuts every URL in `text` before its query or fragment, and removes the user info.
fn without_signatures(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (head, tail) = rest.split_at(at + 3);
        out.push_str(head);
        let end = tail.find([' ', '"', '\'', '<', '>', ')', '`', '\\']).unwrap_or(tail.len());
        let (url, after) = tail.split_at(end);
        let address = &url[..url.find(['?', '#']).unwrap_or(url.len())];
        let host = address.find('/').unwrap_or(address.len());
        out.push_str(&address[address[..host].rfind('@').map_or(0, |at| at + 1)..]);
        rest = after;
    }
    out + rest
}

/// Replaces whatever looks like one of the vendor's keys by `sk_…`.
fn without_keys(text: &str) -> String {
    let mut parts = text.split("sk_");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let of_key = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        out.push_str("sk_…");
        out.push_str(part.trim_start_matches(of_key));
    }
    out
}

/// The title of an HTML page, if `text` is one.
pub(super) fn html_title(text: &str) -> Option<String> {
    let lower = text.to_ascii_lowercase();
    let start = lower.find("<title")?;
    let start = start + lower[start..].find('>')? + 1;
    let end = start + lower[start..].find("</title")?;
    Some(clean(&text[start..end]))
}

/// Whether a body is a page for browsers.
pub(super) fn is_html(text: &str) -> bool {
    let start = text.trim_start().get(..9).unwrap_or_default().to_ascii_lowercase();
    start.starts_with("<!doctype") || start.starts_with("<html") || start.starts_with("<head")
}

/// An error and its causes, innermost last, without repetitions.
pub(super) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut said: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let words = clean(&error.to_string());
        if !said.iter().any(|earlier| earlier.contains(&words)) {
            said.push(words);
        }
        next = error.source();
    }
    said.join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_lose_what_gives_access() {
        assert_eq!(
            clean(
                "could not fetch \"https://me:pw@b.example/a.wav?X-Amz-Signature=abc#x\" (see http://h.example/?k=1)"
            ),
            "could not fetch \"https://b.example/a.wav\" (see http://h.example/)"
        );
        assert_eq!(clean("s3://bucket/a@b.wav is gone"), "s3://bucket/a@b.wav is gone");
    }

    #[test]
    fn keys_and_control_characters_go() {
        assert_eq!(clean("bad key sk_abc-123.x!\r\n\tTry\u{1b}[31m again"), "bad key sk_…! Try [31m again");
    }

    #[test]
    fn long_words_are_cut_between_characters() {
        let cut = clean(&"ü".repeat(1000));
        assert_eq!(cut.chars().count(), LONGEST + 1);
        assert!(cut.ends_with('…'));
    }

    #[test]
    fn pages_are_known_by_their_beginning_and_named_by_their_title() {
        let page = " <HTML><head><title>502 Bad\nGateway</title></head></HTML>";
        assert!(is_html(page));
        assert_eq!(html_title(page).as_deref(), Some("502 Bad Gateway"));
        assert!(!is_html("<a>"));
        assert!(!is_html("über alles"));
    }
}
