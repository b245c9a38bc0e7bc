//! A manifest reads back as it was written, in every format and with any quoting.

use std::io::Write;

use proptest::{collection::vec, prelude::*, sample::select};

use super::bench_tests::Bench;

/// One line as written: the name of its source, and two cells that are only carried.
type Written = (String, [String; 2]);

/// How a table is written.
#[derive(Debug, Clone, Copy)]
struct Style {
    delimiter: u8,
    crlf: bool,
    quotes: csv::QuoteStyle,
    mark: bool,
    gzip: bool,
    last_end: bool,
}

fn style() -> impl Strategy<Value = Style> {
    use csv::QuoteStyle::{Always, Necessary, NonNumeric};
    let quotes = select(vec![Always, Necessary, NonNumeric]);
    (select(vec![b',', b'\t']), any::<[bool; 4]>(), quotes).prop_map(
        |(delimiter, [crlf, mark, gzip, last_end], quotes)| Style { delimiter, crlf, quotes, mark, gzip, last_end },
    )
}

/// Unusual values that do not make the line bad.
fn lines() -> impl Strategy<Value = Vec<Written>> {
    let cell = || "[a-z0-9\"',;:#=\\\\{}\\[\\]\r\n\t é😀-]{0,9}";
    vec(("[a-z \"',;#é-]{0,7}x", [cell(), cell()]), 1..12)
}

/// The source of a line.
fn source(nth: usize, name: &str) -> String {
    format!("/srv/{name}-{nth}.wav")
}

fn table(lines: &[Written], style: Style) -> Vec<u8> {
    let end = if style.crlf { csv::Terminator::CRLF } else { csv::Terminator::Any(b'\n') };
    let mut writer = csv::WriterBuilder::new()
        .delimiter(style.delimiter)
        .terminator(end)
        .quote_style(style.quotes)
        .from_writer(Vec::new());
    writer.write_record(["key", "source", "one", "two"]).unwrap();
    for (nth, (name, carried)) in lines.iter().enumerate() {
        writer.write_record([&format!("k{nth}"), &source(nth, name), &carried[0], &carried[1]]).unwrap();
    }
    let mut table = writer.into_inner().unwrap();
    if !style.last_end {
        table.truncate(table.trim_ascii_end().len().max(table.len() - 1 - usize::from(style.crlf)));
    }
    if style.mark {
        table.splice(0..0, *b"\xef\xbb\xbf");
    }
    if style.gzip {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(&table).unwrap();
        table = packed.finish().unwrap();
    }
    table
}

/// Number, key, source and carried cells, as written.
fn expected(lines: &[Written]) -> Vec<(String, String, Vec<String>)> {
    let line = |(nth, (name, carried)): (usize, &Written)| (format!("k{nth}"), source(nth, name), carried.to_vec());
    lines.iter().enumerate().map(line).collect()
}

fn read(bench: &Bench, file: &str) -> Vec<(String, String, Vec<String>)> {
    let lines = bench.good(&[file]);
    lines.into_iter().map(|line| (line.key.to_string(), line.source.unwrap(), line.carried)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn tables_say_what_was_written(lines in lines(), style in style()) {
        let bench = Bench::new();
        let file = if style.delimiter == b',' { "m.csv" } else { "m.tsv" };
        bench.write(file, table(&lines, style));
        prop_assert_eq!(read(&bench, file), expected(&lines));
    }

    #[test]
    fn objects_say_what_was_written(lines in lines(), escaped: bool, spaces: bool, crlf: bool) {
        let bench = Bench::new();
        let text = |text: &str| {
            let escape = |c: char| c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect::<String>();
            if escaped { format!("\"{}\"", text.chars().map(escape).collect::<String>()) } else { serde_json::json!(text).to_string() }
        };
        let mut file = String::new();
        for (nth, (name, carried)) in lines.iter().enumerate() {
            let mut fields = [("key", format!("k{nth}")), ("source", source(nth, name)), ("one", carried[0].clone()), ("two", carried[1].clone())];
            // Only the first object decides the order of the columns.
            if nth > 0 {
                fields.rotate_left(nth % 4);
            }
            let (colon, comma) = if spaces { (" : ", " , ") } else { (":", ",") };
            let fields: Vec<_> = fields.iter().map(|(name, value)| format!("{}{colon}{}", text(name), text(value))).collect();
            file.push_str(&format!("{{{}}}{}", fields.join(comma), if crlf { "\r\n" } else { "\n" }));
        }
        bench.write("m.jsonl", file);
        prop_assert_eq!(read(&bench, "m.jsonl"), expected(&lines));
    }

    #[test]
    fn plain_lines_say_what_was_written(lines in lines(), blank: bool, crlf: bool) {
        let bench = Bench::new();
        let end = if crlf { "\r\n" } else { "\n" };
        let between = if blank { format!("{end}  {end}") } else { end.to_owned() };
        let sources: Vec<_> = lines.iter().enumerate().map(|(nth, (name, _))| source(nth, name)).collect();
        bench.write("m.txt", sources.join(&between));
        let read: Vec<_> = bench.good(&["m.txt"]).into_iter().map(|line| line.source.unwrap()).collect();
        prop_assert_eq!(read, sources);
    }
}
