//! Finds the delimiter of a CSV from its first bytes.

use super::parser::widths;

/// The delimiters that are found, in the order of preference.
const KNOWN: [u8; 4] = [b',', b';', b'\t', b'|'];
/// Records that are looked at.
const RECORDS: usize = 50;

/// Excel's first line `sep=;`.
pub(super) struct Directive {
    pub(super) delimiter: u8,
    /// The length of the line with its end.
    pub(super) bytes: usize,
}

/// Reads a first line `sep=;`, if there is one.
pub(super) fn directive(start: &[u8]) -> Option<Directive> {
    let end = start.iter().position(|byte| matches!(byte, b'\r' | b'\n')).unwrap_or(start.len());
    let line = start[..end].strip_prefix(b"\"").and_then(|line| line.strip_suffix(b"\"")).unwrap_or(&start[..end]);
    let (head, [delimiter]) = line.split_at_checked(4)? else { return None };
    let bytes = end + if start[end..].starts_with(b"\r\n") { 2 } else { usize::from(end < start.len()) };
    head.eq_ignore_ascii_case(b"sep=").then_some(Directive { delimiter: *delimiter, bytes })
}

/// The delimiter that parts the header into several cells, and the most of the first lines into as many. A comma where
/// nothing speaks for another one.
pub(super) fn delimiter(start: &[u8]) -> u8 {
    let share = |delimiter: u8| {
        let (widths, is_faulty) = widths(start, delimiter, RECORDS);
        let (header, rows) = widths.split_first()?;
        // The last cells of a line may be unnamed and empty.
        let alike = rows.iter().filter(|width| *width >= header && **width <= header + 1).count();
        (*header > 1).then(|| (!is_faulty, (alike * 1_000).checked_div(rows.len()).unwrap_or(1_000), *header))
    };
    let best = KNOWN.into_iter().rev().filter_map(|delimiter| Some((share(delimiter)?, delimiter)));
    best.max_by_key(|(share, _)| *share).map_or(b',', |(_, delimiter)| delimiter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_delimiter_is_the_one_that_parts_lines_alike() {
        for (text, expected) in [
            ("key,source\n1,a.wav\n", b','),
            ("key;source\n1;a.wav\n", b';'),
            ("key\tsource\n1\ta.wav\n", b'\t'),
            ("key|source\n1|a.wav\n", b'|'),
            // Decimal commas, and a comma in a name.
            ("key;file;betrag\n1;a.wav;1,50\n2;b.wav;2,75\n", b';'),
            ("Name, Vorname;file\nMeier, A;a.wav\nSchulz;b.wav\n", b';'),
            // Semicolons in texts, and a quoted header.
            ("key,text\n1,\"a; b; c\"\n2,d;e\n", b','),
            ("\"key\";\"te,xt\"\n\"1\";\"a, b\"\n", b';'),
            // Nothing to part, or no line below the header.
            ("source\nhttps://x/a;b.wav\n", b','),
            ("key;source", b','),
            ("key;source\n", b';'),
            ("", b','),
            // A delimiter at the end of each line.
            ("key;source\n1;a.wav;\n", b';'),
            ("key\tsource, or url\n1\ta.wav\n", b'\t'),
        ] {
            assert_eq!(char::from(delimiter(text.as_bytes())), char::from(expected), "{text:?}");
        }
    }

    #[test]
    fn a_first_line_names_it() {
        let read = |text: &str| directive(text.as_bytes()).map(|read| (char::from(read.delimiter), read.bytes));
        assert_eq!(read("sep=;\r\nkey;source"), Some((';', 7)));
        assert_eq!(read("\"SEP=\t\"\nkey"), Some(('\t', 8)));
        assert_eq!(read("sep=,"), Some((',', 5)));
        assert_eq!((read("sep=\n"), read("separator,x\n"), read("sep=;;\n"), read("")), (None, None, None, None));
    }
}
