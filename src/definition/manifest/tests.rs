//! Manifests on disk, as a user's: every rule of columns, keys and sources, and every bad row.

use std::{io::Write, path::Path};

use super::{
    bench_tests::{Bench, Line, keys_and_sources},
    *,
};
use crate::definition::{ManifestRow, NoSource};

#[test]
fn a_csv_becomes_lines() {
    let bench = Bench::with(
        "\u{feff}id,url,agent,language\r\n1,https://x.org/a.wav?s=1,\"A, \"\"B\"\"\",\r\n2,rec/b.wav,,hi\r\n",
    );
    let (scan, _) = bench.read(&["calls.csv"]).unwrap();
    assert_eq!(scan.columns.key.as_deref(), Some("id"));
    assert_eq!(scan.columns.content[0], "url");
    assert_eq!(scan.columns.carried, ["agent"]);
    assert_eq!(scan.columns.options, ["language"]);
    let lines = bench.good(&["calls.csv"]);
    let path = bench.root().join("rec/b.wav").to_string_lossy().into_owned();
    assert_eq!(keys_and_sources(&lines), [("1", "https://x.org/a.wav?s=1"), ("2", path.as_str())]);
    assert_eq!((lines[0].number, lines[1].number), (2, 3));
    assert_eq!(lines[0].carried, ["A, \"B\""]);
    assert_eq!(lines[0].overrides, None);
    assert_eq!(lines[1].overrides.clone().unwrap().language.unwrap().as_str(), "hi");
}

#[test]
fn tsv_jsonl_lines_and_gzip_say_the_same() {
    let bench = Bench::new();
    bench.write("a.tsv", "key\tsource\tn\n1\t/a.wav\tx\n2\t/b.wav\t\n");
    bench.write(
        "a.jsonl",
        "{\"key\": 1, \"source\": \"/a.wav\", \"n\": \"x\"}\n\n{\"source\":\"/b.wav\",\"key\":\"2\",\"n\":null}\n",
    );
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gz.write_all(b"key,source,n\n1,/a.wav,x\n2,/b.wav,\n").unwrap();
    bench.write("a.csv.gz", gz.finish().unwrap());
    let of = |file: &str| {
        let lines = bench.good(&[file]);
        lines.into_iter().map(|l| (l.key.to_string(), l.source.unwrap(), l.carried)).collect::<Vec<_>>()
    };
    assert_eq!(of("a.tsv"), of("a.jsonl"));
    assert_eq!(of("a.tsv"), of("a.csv.gz"));
    bench.write("a.txt", "/a.wav\r\n\n  https://x.org/b%20c.mp3?sig=1  \n");
    assert_eq!(keys_and_sources(&bench.good(&["a.txt"])), [("a", "/a.wav"), ("b c", "https://x.org/b%20c.mp3?sig=1")]);
}

#[test]
fn json_lines_carry_what_is_nested() {
    let bench = Bench::new();
    bench.write(
        "a.ndjson",
        "{\"url\":\"/a.wav\",\"meta\":{ \"x\": [1.10, true] },\"n\":1.50}\n{\"url\":\"/b.wav\",\"late\":\"\\u00e9\"}\n",
    );
    let (scan, _) = bench.read(&["a.ndjson"]).unwrap();
    assert_eq!(scan.columns.carried, ["meta", "n", "late"]);
    let lines = bench.good(&["a.ndjson"]);
    assert_eq!(lines[0].carried, ["{\"x\":[1.10,true]}", "1.50", ""]);
    assert_eq!(lines[1].carried, ["", "", "é"]);
}

#[test]
fn bad_json_is_told_by_line() {
    let bench = Bench::new();
    bench.write("a.jsonl", "{\"url\":\"/a.wav\"}\n[1]\n{\"url\":\n{\"url\":\"a\",\"url\":\"b\"}\n");
    let message = bench.read(&["a.jsonl"]).unwrap_err();
    let lines: Vec<_> = message.lines().collect();
    assert_eq!(lines[0], "a.jsonl:2: is not a JSON object");
    assert!(lines[1].starts_with("a.jsonl:3: is not JSON: EOF while parsing a value at character"), "{message}");
    assert_eq!(lines[2], "a.jsonl:4: column `url`: stands twice");
    bench.write("b.jsonl", "not json\n");
    assert_eq!(bench.read(&["b.jsonl"]).unwrap_err(), "b.jsonl:1: is not a JSON object");
}

#[test]
fn columns_are_named_and_templates_filled() {
    let mut bench = Bench::with("call_id,leg,file,url\n7,a,x,ignored\n7,b,,ignored\n");
    bench.over.key_column = Some("{call_id}-{leg}".into());
    bench.over.source_column = Some("/mnt/rec/{file}.wav".into());
    bench.over.no_source = Some(NoSource::Skip);
    let lines = bench.good(&["calls.csv"]);
    assert_eq!(keys_and_sources(&lines), [("7-a", "/mnt/rec/x.wav"), ("7-b", "-")]);
    let (scan, _) = bench.read(&["calls.csv"]).unwrap();
    assert_eq!(scan.columns.carried, ["call_id", "leg", "file", "url"]);
    assert_eq!((scan.columns.key.as_deref(), scan.without_source), (Some("{call_id}-{leg}"), 1));

    bench.over.key_column = Some("call_ids".into());
    bench.over.source_column = Some("/x/{fil}".into());
    assert_eq!(
        bench.fault(),
        "calls.csv: there is no column `call_ids`; did you mean `call_id`?; found: `call_id`, `leg`, `file`, `url`\n\
         calls.csv: there is no column `fil`; did you mean `file`?; found: `call_id`, `leg`, `file`, `url`; \
         beside them: `name`, `batch`, `date`"
    );
}

#[test]
fn without_a_key_column_the_file_names_the_line() {
    let bench = Bench::with("source\nrec/call 1.wav\nhttps://x.org/\n/m/..wav\nhttps://x.org/q?f=a.wav\n");
    let keys: Vec<_> = bench.good(&["calls.csv"]).into_iter().map(|l| l.key.to_string()).collect();
    assert_eq!(keys, ["call 1", "line-000003", "line-000004", "q"]);
}

#[test]
fn without_a_source_column_the_command_that_names_it_is_told() {
    let mut bench = Bench::with("call_id,agent,link\n1,Ann,https://x.org/a.wav\n");
    bench.over.command = ["wavebatch", "run", "calls.csv", "--task", "transcribe"].map(str::to_owned).to_vec();
    assert_eq!(
        bench.fault(),
        "calls.csv: no column is known to hold the recording; found: `call_id`, `agent`, `link`. Name it:\n  \
         wavebatch run calls.csv --task transcribe --source-column link --key-column call_id"
    );
}

#[test]
fn manifests_that_are_none_are_told() {
    for (content, message) in [
        ("", "calls.csv: is empty"),
        ("\n\r\n", "calls.csv: is empty"),
        ("key,source\n", "calls.csv: has a header, and no lines below it"),
        ("1,https://x.org/a.wav\n2,b.wav\n", "calls.csv:1: is no header: `https://x.org/a.wav` looks like"),
        ("rec/a.wav\n", "calls.csv:1: is no header: `rec/a.wav` looks like a recording"),
        ("key,source,key\n1,2,3\n", "calls.csv: column `key` stands twice in the header: rename one of them"),
        ("Key,Source,SOURCE\n1,2,3\n", "calls.csv: `source` may be any of the columns `Source`, `SOURCE`: rename one"),
        ("key;source", "calls.csv:1: has one column, `key;source`: say what parts its cells"),
        ("PK\u{3}\u{4}\u{14}\0", "calls.csv: it is a workbook (.xlsx"),
        (
            "k\0e\0y\0,\0s\0o\0",
            "calls.csv: it looks like UTF-16 without a byte order mark; say so with --encoding utf-16le",
        ),
    ] {
        let fault = Bench::with(content).fault();
        assert!(fault.starts_with(message), "{content:?}: {fault}");
    }
    assert_eq!(Bench::new().fault(), "calls.csv: there is no such file");
    let cut_off = Bench::with([b"\xff\xfe".as_slice(), &utf16("key,source\n1,/a.wav"), &[0xd8, 0x00, 0xd8]].concat());
    assert_eq!(cut_off.fault(), "calls.csv: after line 2: it is not UTF-16LE throughout");
    let cut = Bench::with([0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 1]);
    assert!(cut.fault().starts_with("calls.csv: "), "{}", cut.fault());
}

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

#[test]
fn delimiters_and_encodings_are_found() {
    let expected = [("1", "/ü.wav"), ("2", "/b;c.wav")];
    let table = |delimiter: &str| {
        format!(
            "key{delimiter}source{delimiter}n\r\n1{delimiter}/ü.wav{delimiter}x\r\n2{delimiter}\"/b;c.wav\"{delimiter}\r\n"
        )
    };
    let warnings = |bench: &Bench| bench.read(&["calls.csv"]).unwrap().0.warnings;
    for (delimiter, warning) in [
        (",", None),
        (";", Some("its cells are parted by `;`")),
        ("\t", Some("its cells are parted by a tab")),
        ("|", Some("its cells are parted by `|`")),
    ] {
        let bench = Bench::with(table(delimiter));
        assert_eq!(keys_and_sources(&bench.good(&["calls.csv"])), expected, "{delimiter:?}");
        assert_eq!(warnings(&bench), warning.into_iter().collect::<Vec<_>>(), "{delimiter:?}");
    }
    let bench = Bench::with(format!("sep=^\n{}", table("^")));
    assert_eq!(keys_and_sources(&bench.good(&["calls.csv"])), expected);
    assert_eq!(bench.good(&["calls.csv"])[0].number, 3);
    let bench = Bench::with([b"\xff\xfe".as_slice(), &utf16(&table("\t"))].concat());
    assert_eq!(keys_and_sources(&bench.good(&["calls.csv"])), expected);
    assert_eq!(warnings(&bench), ["its cells are parted by a tab", "its text is UTF-16LE"]);
    let big: Vec<u8> = utf16(&table(",")).chunks(2).flat_map(|pair| [pair[1], pair[0]]).collect();
    let bench = Bench::with([b"\xfe\xff".as_slice(), &big].concat());
    assert_eq!(keys_and_sources(&bench.good(&["calls.csv"])), expected);

    let latin: Vec<u8> = table(";").chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect();
    let mut bench = Bench::with(latin);
    let fault = bench.fault();
    assert!(fault.starts_with("calls.csv:2: column `source`: is not UTF-8; if a spreadsheet"), "{fault}");
    let before = Bench::with("key,source\n1,/a.wav\n").read(&["calls.csv"]).unwrap().0.hash;
    bench.over.encoding = Some(Some("latin1".parse().unwrap()));
    assert_eq!(keys_and_sources(&bench.good(&["calls.csv"])), expected);
    let mut same = Bench::with("key,source\n1,/a.wav\n");
    same.over.delimiter = Some(Some(",".parse().unwrap()));
    assert_ne!(same.read(&["calls.csv"]).unwrap().0.hash, before, "another dialect is another content");
}

#[test]
fn a_line_may_end_in_a_delimiter_and_a_column_that_nobody_uses_may_stand_twice() {
    let bench = Bench::with("key,source,note,note,\n1,/a.wav,x,y,\n2,/b.wav,z,,\n");
    let (scan, _) = bench.read(&["calls.csv"]).unwrap();
    assert_eq!(scan.columns.carried, ["note", "note_2"]);
    assert_eq!(scan.warnings.len(), 2, "{:?}", scan.warnings);
    assert_eq!(bench.good(&["calls.csv"])[0].carried, ["x", "y"]);
    let bench = Bench::with("key,source\n1,/a.wav,\n2,/b.wav,,\n");
    assert_eq!(bench.good(&["calls.csv"]).len(), 2);
    let bench = Bench::with("key,source,\n1,/a.wav,x\n");
    assert_eq!(bench.fault(), "calls.csv:2: has 3 fields, and the header has 2");
    // As a data frame writes its index.
    let bench = Bench::with(",key,source\n0,1,/a.wav\n");
    let (scan, _) = bench.read(&["calls.csv"]).unwrap();
    assert_eq!((scan.columns.carried, scan.warnings.len()), (vec!["column_1".to_owned()], 1));
}

#[test]
fn the_case_of_columns_does_not_matter() {
    let bench = Bench::with("Call ID,Recording-URL,LANGUAGE,Word Timestamps,Agent\n7,/a.wav,hi,true,Ann\n");
    let (scan, _) = bench.read(&["calls.csv"]).unwrap();
    assert_eq!(scan.columns.content, ["Recording-URL"]);
    assert_eq!(scan.columns.options, ["language", "word_timestamps"]);
    assert_eq!(scan.columns.option_columns, ["LANGUAGE", "Word Timestamps"]);
    assert_eq!(scan.columns.carried, ["Call ID", "Agent"]);
    assert_eq!(bench.good(&["calls.csv"])[0].overrides.clone().unwrap().language.unwrap().as_str(), "hi");
    // The name as it is written goes first.
    let bench = Bench::with("id,source,Language,language\n1,/a.wav,de,hi\n");
    let line = &bench.good(&["calls.csv"])[0];
    assert_eq!(
        (line.overrides.clone().unwrap().language.unwrap().as_str(), &*line.carried),
        ("hi", &["de".to_owned()][..])
    );
}

#[test]
fn columns_near_an_option_are_warned_of_and_can_be_mapped() {
    let mut bench = Bench::with("id,source,Lang,diarise,queue\n1,/a.wav,hi,true,3\n");
    let (scan, _) = bench.read(&["calls.csv"]).unwrap();
    assert_eq!(scan.columns.carried, ["Lang", "diarise", "queue"]);
    assert_eq!(scan.warnings.len(), 2, "{:?}", scan.warnings);
    assert!(scan.warnings[0].starts_with("column `Lang` sets nothing"), "{:?}", scan.warnings);
    assert!(scan.warnings[0].contains("--column language=Lang"), "{:?}", scan.warnings);
    bench.over.columns = vec![("language".into(), "lang".into()), ("key".into(), "ID".into())];
    let (scan, _) = bench.read(&["calls.csv"]).unwrap();
    assert_eq!((scan.columns.options, scan.columns.option_columns), (vec!["language".into()], vec!["Lang".to_owned()]));
    assert_eq!(scan.warnings.len(), 1);
    bench.over.columns = vec![("language".into(), "Sprache".into()), ("langage".into(), "x".into())];
    assert_eq!(bench.fault(), "`--column`: `langage` is not a transcription option; did you mean `language`?");
    bench.over.columns = vec![("language".into(), "Sprache".into())];
    assert!(
        bench.fault().starts_with("calls.csv: columns.language: there is no column `Sprache`"),
        "{}",
        bench.fault()
    );
}

#[test]
fn a_json_value_that_is_no_text_is_none_where_a_text_is_needed() {
    let bench = Bench::new();
    bench.write("a.jsonl", "{\"id\":7,\"source\":\"/a.wav\",\"diarize\":true,\"tags\":[1]}\n");
    let line = &bench.good(&["a.jsonl"])[0];
    assert_eq!((line.key.to_string(), line.overrides.clone().unwrap().diarize), ("7".to_owned(), Some(true)));
    for (object, message) in [
        (r#"{"id":1,"source":["/a.wav"]}"#, "a.jsonl:1: column `source`: is a list or an object, and a text is needed"),
        (r#"{"id":{"n":1},"source":"/a.wav"}"#, "a.jsonl:1: column `id`: is a list or an object, and a text is needed"),
        (r#"{"id":1,"source":true}"#, "a.jsonl:1: column `source`: is true or false, and a text is needed"),
        (r#"{"id":1,"source":"/a.wav","language":["en"]}"#, "a.jsonl:1: column `language`: is a list or an object"),
    ] {
        bench.write("a.jsonl", object);
        let fault = bench.read(&["a.jsonl"]).unwrap_err();
        assert!(fault.starts_with(message), "{object}: {fault}");
    }
}

#[test]
fn every_bad_row_is_told() {
    let mut content = b"key,source,language,diarize\n\
        1,/a.wav\n\
        2,/b.wav,en,true,x\n\
        3,/\xff.wav,,\n\
        1b,/c.wav,en US,maybe\n\
        ../x,/d.wav,,\n\
        ,/e.wav,,\n\
        9,gs://b/k.wav,,\n\
        9,/f.wav,,\n\
        9,/g.wav,,\n\
        summary,/h.wav,,\n"
        .to_vec();
    content.extend(b"10,");
    content.extend(std::iter::repeat_n(b'x', 10 << 20));
    content.extend(b",,\n11,\"/i.wav,,\n12,/j.wav,,\n");
    let message = Bench::with(content).fault();
    let starts = [
        "calls.csv:2: has 2 fields, and the header has 4",
        "calls.csv:3: has 5 fields, and the header has 4",
        "calls.csv:4: column `source`: is not UTF-8",
        "calls.csv:5: column `language`: `en US` cannot be a language: it takes 1 to 48 letters, digits, `-`, `_` and `.`; a column of this name overrides the option",
        "calls.csv:5: column `diarize`: `maybe` is neither `true` nor `false`",
        "calls.csv:6: column `key`: `../x`: a key may not have `.` or `..`",
        "calls.csv:7: column `key`: a key may not be empty",
        "calls.csv:8: column `source`: `gs:` addresses cannot be read",
        "calls.csv:10: column `key`: the key `9` is also that of line 9",
        "calls.csv:11: column `key`: `summary`: `summary` and `report` are the batch's own files",
        "calls.csv:12: has over 1 MiB",
        "calls.csv:13: a quote is opened here and never closed (the file ends on line 15)",
    ];
    let lines: Vec<_> = message.lines().collect();
    assert_eq!(lines.len(), starts.len(), "{message}");
    for (line, start) in lines.iter().zip(starts) {
        assert!(line.starts_with(start), "{line}\n{start}");
    }
}

#[test]
fn a_long_line_is_told_in_every_format_and_the_next_is_read() {
    let mut bench = Bench::new();
    bench.over.skip_bad_lines = true;
    let long = "x".repeat(2 << 20);
    bench.write("a.jsonl", format!("{{\"url\":\"/{long}\"}}\n{{\"url\":\"/a.wav\"}}\n"));
    bench.write("a.txt", format!("/{long}\n/\n/a.wav\n"));
    for (file, good) in [("a.jsonl", 1), ("a.txt", 2)] {
        let (scan, rows) = bench.read(&[file]).unwrap();
        assert_eq!(scan.faults.to_string(), format!("{file}:1: has over 1 MiB"));
        assert_eq!((scan.lines, rows.len()), (good, 1 + usize::try_from(good).unwrap()));
    }
}

#[test]
fn a_gzip_cut_in_the_middle_is_told() {
    let bench = Bench::new();
    let rows: String = (0..100_000).map(|n| format!("{n},/{n}.wav\n")).collect();
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    write!(gz, "key,source\n{rows}").unwrap();
    let packed = gz.finish().unwrap();
    bench.write("calls.csv", &packed[..packed.len() / 2]);
    let message = bench.fault();
    assert!(message.starts_with("calls.csv: after line ") && message.contains(": cannot be unpacked: "), "{message}");
}

#[test]
fn keys_that_a_spreadsheet_has_rounded_are_told() {
    let bench = Bench::with("key,source\n9.19812E+11,/a.wav\nx,/b.wav\n");
    let warnings = bench.read(&["calls.csv"]).unwrap().0.warnings;
    assert!(warnings.len() == 1 && warnings[0].starts_with("1 key looks like a long number"), "{warnings:?}");
    assert!(warnings[0].contains("`9.19812E+11` (line 2)"), "{warnings:?}");
    bench.write("calls.csv", "key,source\n919812345678,/a.wav\n");
    assert_eq!(bench.read(&["calls.csv"]).unwrap().0.warnings, [""; 0]);
}

#[test]
fn a_table_under_the_name_of_plain_lines_is_refused() {
    let mut bench = Bench::new();
    let utf16: Vec<u8> = "\u{feff}key\tsource\r\na\t/a.wav\r\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    bench.write("calls.txt", &utf16);
    let message = bench.read(&["calls.txt"]).unwrap_err();
    assert!(message.starts_with("calls.txt:1: has tabs between its cells") && message.contains("tsv"), "{message}");
    bench.over.manifest_format = Some(ManifestFormat::Tsv);
    assert_eq!(bench.read(&["calls.txt"]).unwrap().0.lines, 1);
}

#[test]
fn what_is_not_there_is_named_once() {
    let bench = Bench::new();
    bench.write("x.xlsx", "PK");
    for (source, message) in [
        ("nofolder", "nofolder: there is no such file"),
        ("gone.csv", "gone.csv: there is no such file"),
        ("x.xlsx", "x.xlsx: is a workbook; save the sheet as CSV (in Excel: \"CSV UTF-8\"), and name that file"),
    ] {
        assert_eq!(bench.read(&[source]).unwrap_err(), message);
    }
    // Beside others it is told as what it is, too, and not taken as a recording.
    bench.write("a.wav", "RIFF");
    for source in ["x.xlsx", "s3://bucket/2026/X.XLSX", "https://example.com/x.xlsx?sig=1"] {
        let message = bench.read(&["a.wav", source]).unwrap_err();
        assert!(message.contains("is a workbook; save the sheet as CSV"), "{source}: {message}");
    }
    let message = bench.read(&["s3://bucket/x.xlsx"]).unwrap_err();
    assert!(message.contains("is a workbook; save the sheet as CSV"), "{message}");
}

#[test]
fn beyond_the_limit_faults_are_counted() {
    let rows: String = (0..50).map(|_| "a,/x.wav\n").collect();
    let message = Bench::with(format!("key,source\n{rows}")).fault();
    assert_eq!(message.lines().count(), 21);
    assert!(message.starts_with("calls.csv:3: column `key`: the key `a` is also that of line 2\n"), "{message}");
    assert!(message.ends_with("… and 29 more"), "{message}");
}

#[test]
fn bad_lines_can_be_skipped_and_both_readings_agree() {
    let mut bench = Bench::with("key,source,note\na,/1.wav,n1\na,/2.wav,n2\nb\n..,/3.wav,n3\nc,/4.wav,n4\n");
    bench.over.skip_bad_lines = true;
    let (scan, rows) = bench.read(&["calls.csv"]).unwrap();
    assert_eq!((scan.lines, scan.bad, scan.faults.total()), (2, 3, 3));
    let short: Vec<_> = rows
        .iter()
        .map(|row| match row {
            ManifestRow::Good(line) => (line.number, true, line.carried[0].as_str()),
            ManifestRow::Bad(bad) => (bad.number, false, bad.carried[0].as_str()),
        })
        .collect();
    assert_eq!(short, [(2, true, "n1"), (3, false, "n2"), (4, false, ""), (5, false, "n3"), (6, true, "n4")]);
    let ManifestRow::Bad(bad) = &rows[1] else { panic!() };
    assert_eq!(bad.fault, "the key `a` is also that of line 2");
}

#[test]
fn a_bad_lines_name_cannot_be_anothers_key() {
    let mut bench = Bench::with("key,source\nline-000003,/1.wav\n..,/2.wav\n");
    bench.over.skip_bad_lines = true;
    assert!(bench.fault().contains("calls.csv:3: column `key`: the key `line-000003` is also that of line 2"));
}

#[test]
fn the_limit_looks_no_further() {
    let mut bench = Bench::with("key,source\na,/1.wav\nb,/2.wav\n../,bad\n");
    bench.over.limit = Some(2);
    assert_eq!(bench.good(&["calls.csv"]).len(), 2);
    let limited = bench.read(&["calls.csv"]).unwrap().0.hash;
    bench.write("calls.csv", "key,source\na,/1.wav\nb,/2.wav\nc,/3.wav\n");
    assert_ne!(bench.read(&["calls.csv"]).unwrap().0.hash, limited);
}

#[test]
fn option_columns_are_checked_restricted_and_turned_off() {
    let mut bench = Bench::with("key,source,language,model\na,/1.wav,hi,pulse-pro\nb,/2.wav,,\nc,/3.wav,en,pulse\n");
    assert!(bench.fault().starts_with("calls.csv:2: column `language`: `pulse-pro` transcribes English only"));
    bench.over.option_columns = Some(vec!["language".to_owned()]);
    let lines = bench.good(&["calls.csv"]);
    assert_eq!(lines[0].carried, ["pulse-pro"]);
    assert!(lines[0].overrides.is_some() && lines[1].overrides.is_none() && lines[2].overrides.is_none());
    bench.over.option_columns = Some(Vec::new());
    assert_eq!(bench.good(&["calls.csv"])[0].carried, ["hi", "pulse-pro"]);
}

#[test]
fn only_addresses_can_be_sent_as_such() {
    let mut bench = Bench::with("key,source,send\na,/1.wav,url\nb,https://x.org/1.wav,url\nc,/2.wav,\n");
    assert_eq!(bench.fault().lines().count(), 1);
    assert!(
        bench.fault().starts_with("calls.csv:2: column `source`: send = \"url\" needs an http(s) or s3:// address")
    );
    bench.over.option_columns = Some(Vec::new());
    assert_eq!(bench.good(&["calls.csv"]).len(), 3);
}

#[test]
fn sources_begin_where_their_manifest_is() {
    let bench = Bench::new();
    bench.write("lists/a.txt", "rec/./1.wav\n../2.wav\nfile:///m/a%20b.wav\nHTTPS://X.org/3.wav\n");
    let root = bench.root().to_string_lossy().into_owned();
    let sources: Vec<_> = bench.good(&["lists/a.txt"]).into_iter().map(|l| l.source.unwrap()).collect();
    assert_eq!(
        sources,
        [format!("{root}/lists/rec/1.wav"), format!("{root}/2.wav"), "/m/a b.wav".into(), "HTTPS://X.org/3.wav".into()]
    );
}

#[test]
fn directories_globs_and_files_are_manifests() {
    let mut bench = Bench::new();
    for file in ["rec/b/2.WAV", "rec/1.mp3", "rec/n.txt", "rec/old/3.wav"] {
        bench.write(file, "x");
    }
    let keys = |bench: &Bench, sources: &[&str]| -> Vec<String> {
        bench.good(sources).into_iter().map(|l| l.key.to_string()).collect()
    };
    assert_eq!(keys(&bench, &["rec"]), ["1", "b/2", "old/3"]);
    assert_eq!(bench.read(&["rec"]).unwrap().0.ignored[".txt"], 1);
    assert_eq!(keys(&bench, &["rec/**/*.wav"]), ["old/3"]);
    assert_eq!(keys(&bench, &["rec/1.mp3", "rec/b/2.WAV"]), ["1", "b/2"]);
    assert_eq!(keys(&bench, &["rec/1.mp3"]), ["1"]);
    assert!(bench.good(&["rec/1.mp3"])[0].source.as_deref().unwrap().ends_with("/rec/1.mp3"));
    bench.over.exclude = Some(vec!["old/**".into()]);
    bench.over.include = Some(vec!["*.{wav,WAV}".into()]);
    assert_eq!(keys(&bench, &["rec"]), ["b/2"]);

    let mut bench = Bench::new();
    bench.write("rec/a.wav", "x");
    bench.write("rec/a.mp3", "x");
    let doubled = bench.read(&["rec"]).unwrap_err();
    assert_eq!(doubled, "rec/a.wav: column `key`: the key `a` is also that of `rec/a.mp3`");
    bench.over.exclude = Some(vec!["*.wav".into(), "*.mp3".into()]);
    let none = bench.read(&["rec"]).unwrap_err();
    assert!(
        none.starts_with("rec: no recordings are found (passed over: 2 left out by include or exclude); if"),
        "{none}"
    );
    let message = bench.read(&["rec/a.wav", "rec"]).unwrap_err();
    assert!(message.contains("`rec` is a directory; give one manifest, one directory or prefix"), "{message}");
}

#[test]
fn a_manifest_that_changes_between_the_readings_is_told() {
    let bench = Bench::with("key,source\na,/1.wav\n");
    let definition = bench.definition(&["calls.csv"]).unwrap();
    let manifest = Manifest::open(&definition, None).unwrap();
    let scan = manifest.scan(ScanDepth::Faults).unwrap();
    bench.write("calls.csv", "key,source\na,/2.wav\n");
    let rows: Vec<_> = manifest.lines(&scan).unwrap().collect();
    assert!(rows[0].is_ok() && rows.len() == 2);
    assert!(rows[1].as_ref().unwrap_err().to_string().contains("changed while it was read"));
}

#[test]
fn copies_stand_for_stdin_and_the_web() {
    let mut bench = Bench::with("key,source\na,1.wav\n");
    let copy = Spooled { path: bench.root().join("calls.csv"), fed: None };
    assert!(bench.definition(&["-"]).unwrap_err().to_string().contains("`--batch`: a manifest from stdin needs"));
    bench.over.batch = Some("night".into());
    let read = |bench: &Bench, source: &str| {
        let definition = bench.definition(&[source]).unwrap();
        assert!(definition.origin.needs_copy());
        let manifest = Manifest::open(&definition, Some(&copy)).unwrap();
        let scan = manifest.scan(ScanDepth::Faults).unwrap();
        let Some(Ok(ManifestRow::Good(line))) = manifest.lines(&scan).unwrap().next() else { panic!() };
        (definition.manifest.clone(), Line::from(line).source.unwrap())
    };
    let local = Path::new(&bench.root()).join("1.wav").to_string_lossy().into_owned();
    assert_eq!(read(&bench, "-"), ("stdin".into(), local));
    assert_eq!(
        read(&bench, "https://u:p@x.org/lists/calls.csv?sig=1"),
        ("https://x.org/lists/calls.csv".into(), "https://u:p@x.org/lists/1.wav".into())
    );
}
