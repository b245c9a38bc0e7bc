//! Tests of store listings, columns from file names, exports of telephone systems, and empty manifests.

use std::fs;

use super::{
    bench_tests::{Bench, Line, keys_and_sources},
    *,
};
use crate::{
    definition::{BadLines, ManifestRow, NoSource, Scan},
    domain::s3::Listed,
};

const NAMES: &str = r"^(?<call_id>[^_]+)_(?<agent>[^_.]+)(_(?<language>[a-z]+))?\.";

/// A definition's text, read with everything below it.
struct ListedBench {
    bench: Bench,
    text: String,
}

impl ListedBench {
    fn new(fields: &str) -> Self {
        let text = format!("task = \"transcribe\"\n{fields}\n[transcribe]\nmodel = \"pulse\"\nlanguage = \"en\"\n");
        let mut bench = Bench::new();
        bench.over.options = Vec::new();
        Self { bench, text }
    }

    fn listed(objects: &[(&str, u64)], fields: &str) -> Self {
        let reading = Self::new(fields);
        let mut writer = ListingWriter::new(fs::File::create(reading.bench.dir.path().join("listing")).unwrap());
        for (path, bytes) in objects {
            let object = ListedObject { path: (*path).into(), bytes: *bytes, etag: "e1".into(), modified: None };
            writer.write(&object).unwrap();
        }
        writer.finish().unwrap();
        reading
    }

    fn definition(&self) -> Result<Definition, Faults> {
        self.bench.write("a.toml", &self.text);
        Definition::load(
            &self.bench.dir.path().join("a.toml"),
            crate::tasks::Registry::built_in().definitions(),
            &self.bench.over,
        )
    }

    fn read_as(&self, copy: &str) -> Result<(Scan, Vec<ManifestRow>), Faults> {
        let definition = self.definition()?;
        let copy = Spooled { path: self.bench.dir.path().join(copy), fed: None };
        let manifest = Manifest::open(&definition, Some(&copy))?;
        let scan = manifest.scan(ScanDepth::Faults)?;
        let rows = manifest.lines(&scan)?.collect::<Result<Vec<_>, _>>()?;
        Ok((scan, rows))
    }

    fn read(&self) -> Result<(Scan, Vec<ManifestRow>), Faults> {
        self.read_as("listing")
    }

    fn good(&self) -> Vec<Line> {
        let rows = self.read().unwrap_or_else(|faults| panic!("{faults}")).1;
        rows.into_iter()
            .filter_map(|row| if let ManifestRow::Good(line) = row { Some(line.into()) } else { None })
            .collect()
    }

    fn message(&self) -> String {
        self.read().unwrap_err().to_string()
    }
}

#[test]
fn a_listed_prefix_becomes_lines() {
    let objects = [("a/7_ann.wav", 9), ("a/8_bo_hi.mp3", 0), ("_SUCCESS", 0), ("a/7_ann.json", 1), ("old/9_cy.wav", 3)];
    let fields = format!("manifest = \"s3://b/n/\"\nname_pattern = '{NAMES}'\nexclude = [\"old/**\"]");
    let reading = ListedBench::listed(&objects, &fields);
    let (scan, _) = reading.read().unwrap();
    assert_eq!((scan.lines, &scan.columns.carried[..]), (2, &["call_id".to_owned(), "agent".to_owned()][..]));
    assert_eq!(scan.columns.options, ["language"]);
    let ignored: Vec<_> = scan.ignored.iter().map(|(kind, count)| (kind.as_str(), *count)).collect();
    assert_eq!(ignored, [(".json", 1), ("left out by include or exclude", 1), ("no ending", 1)]);
    let lines = reading.good();
    assert_eq!(
        keys_and_sources(&lines),
        [("a/7_ann", "s3://b/n/a/7_ann.wav"), ("a/8_bo_hi", "s3://b/n/a/8_bo_hi.mp3")]
    );
    assert_eq!(lines[0].expected, Some(Listed { bytes: 9, etag: "e1".into() }));
    assert_eq!((&lines[0].carried[..], lines[0].overrides.clone()), (&["7".to_owned(), "ann".to_owned()][..], None));
    assert_eq!(lines[1].overrides.clone().unwrap().language.unwrap().as_str(), "hi");
}

#[test]
fn a_group_can_be_the_key_and_groups_fill_templates() {
    let objects = [("a/7_ann.wav", 9), ("b/8_bo.wav", 9)];
    let pattern = "name_pattern = '^(?<key>[^_]+)_(?<agent>[^.]+)'";
    let reading = ListedBench::listed(&objects, &format!("manifest = \"s3://b/n\"\n{pattern}"));
    assert_eq!(keys_and_sources(&reading.good()), [("7", "s3://b/n/a/7_ann.wav"), ("8", "s3://b/n/b/8_bo.wav")]);
    assert_eq!(reading.read().unwrap().0.columns.carried, ["agent"]);
    let columns = "date = \"2026-11-20\"\ncolumns = { key = \"{agent}/{date:%d}-{batch}-{key}\" }";
    let reading = ListedBench::listed(&objects, &format!("manifest = \"s3://b/n\"\n{pattern}\n{columns}"));
    assert_eq!(reading.good()[0].key.as_str(), "ann/20-a-7");
    assert_eq!(reading.read().unwrap().0.columns.carried, ["key", "agent"]);
    let doubled = [("a/7_ann.wav", 9), ("b/7_bo.wav", 9)];
    let message = ListedBench::listed(&doubled, &format!("manifest = \"s3://b/n\"\n{pattern}")).message();
    assert_eq!(message, "s3://b/n/b/7_bo.wav: column `key`: the key `7` is also that of `s3://b/n/a/7_ann.wav`");
}

#[test]
fn names_make_columns_of_every_manifest() {
    let reading =
        ListedBench::new(&format!("manifest = \"calls.csv\"\nname_pattern = '{NAMES}'\nno_source = \"skip\""));
    reading.bench.write("calls.csv", "id,url,note\n1,https://x.org/7_ann%20b.wav?s=_,n\n2,,m\n3,rec/8_bo_hi.wav,\n");
    let (scan, _) = reading.read().unwrap();
    assert_eq!(scan.columns.carried, ["note", "call_id", "agent"]);
    let carried: Vec<_> = reading.good().into_iter().map(|line| line.carried).collect();
    assert_eq!(
        carried,
        [["n", "7", "ann b"], ["m", "", ""], ["", "8", "bo"]].map(|cells| cells.map(str::to_owned).to_vec())
    );

    reading.bench.write("calls.csv", "id,url,agent\n1,/7_ann.wav,x\n");
    let message = "there is a column `agent`, and a group of that name in name_pattern; rename the group";
    assert!(reading.message().ends_with(message), "{}", reading.message());

    let reading = ListedBench::new(&format!(
        "manifest = \"calls.txt\"\nname_pattern = '{NAMES}'\ncolumns = {{ key = \"{{agent}}-{{call_id}}\" }}\nbad_lines = \"skip\""
    ));
    reading.bench.write("calls.txt", "rec/7_ann.wav\nrec/8.wav\n");
    let (scan, rows) = reading.read().unwrap();
    assert_eq!((scan.lines, scan.bad, reading.good()[0].key.as_str()), (1, 1, "ann-7"));
    let ManifestRow::Bad(bad) = &rows[1] else { panic!("{rows:?}") };
    assert!(
        bad.fault.starts_with("column `source`: the name `8.wav` does not match name_pattern `^(?<call_id>"),
        "{}",
        bad.fault
    );

    let reading = ListedBench::new(&format!(
        "manifest = \"calls.csv\"\nname_pattern = '{NAMES}'\ncolumns = {{ source = \"/m/{{agent}}-{{id}}\" }}"
    ));
    reading.bench.write("calls.csv", "id\n1\n");
    assert!(reading.message().contains("`agent` is made of the source's name by name_pattern, and so cannot make"));

    let reading = ListedBench::new(&format!("manifest = \"rec\"\nname_pattern = '{NAMES}'"));
    reading.bench.write("rec/b/7_ann.wav", "x");
    assert_eq!((reading.good()[0].key.as_str(), reading.good()[0].carried.len()), ("b/7_ann", 2));
}

#[test]
fn sources_in_a_store_are_filled_and_checked() {
    let reading = ListedBench::new(
        "date = \"2026-11-20\"\nmanifest = \"calls.csv\"\ncolumns = { source = \"s3://b/{date:%Y/%m/%d}/{name}/{file}\" }",
    );
    reading.bench.write("calls.csv", "file,name,send\nx y%.wav,col,url\n");
    let line = &reading.good()[0];
    assert_eq!(keys_and_sources(std::slice::from_ref(line)), [("x y%", "s3://b/2026/11/20/col/x y%.wav")]);
    assert_eq!(line.expected, None);

    let reading = ListedBench::new("manifest = \"calls.csv\"");
    reading.bench.write("calls.csv", "id,url\n1,s3://b/\n2,s3:///k.wav\n3,S3://b//k.wav\n4,s3://b c/k.wav\n");
    let message = reading.message();
    let lines: Vec<_> = message.lines().map(|line| line.rsplit_once("`url`: ").unwrap_or_default().1).collect();
    assert_eq!(lines[..2], ["names a prefix, and no object below it", "names no bucket; write s3://bucket/key"]);
    assert!(lines[2].starts_with("`b c` cannot name a bucket") && lines.len() == 3, "{message}");
}

#[test]
fn a_manifest_in_a_store_begins_where_it_lies() {
    let reading = ListedBench::new("manifest = \"s3://b/lists/day.csv\"");
    reading.bench.write("copy", "key,source\n1,a b.wav\n2,../x/c.wav\n3,/top.wav\n4,https://x.org/d.wav\n5,./e.wav\n");
    let rows = reading.read_as("copy").unwrap().1;
    let sources: Vec<_> = rows
        .into_iter()
        .map(|row| if let ManifestRow::Good(line) = row { Line::from(line).source.unwrap() } else { panic!("{row:?}") })
        .collect();
    let below =
        ["s3://b/lists/a b.wav", "s3://b/x/c.wav", "s3://b/top.wav", "https://x.org/d.wav", "s3://b/lists/e.wav"];
    assert_eq!(sources, below);
}

#[test]
fn keys_that_would_leave_the_output_are_bad_lines() {
    let objects = [("../x.wav", 1), ("/y.wav", 1), ("a\nb.wav", 1), ("summary.wav", 1), ("ok.wav", 1)];
    let reading = ListedBench::listed(&objects, "manifest = \"s3://b/n/\"\nbad_lines = \"skip\"");
    let (scan, _) = reading.read().unwrap();
    assert_eq!((scan.lines, scan.bad), (3, 2), "{}", scan.faults);
    let keys: Vec<_> = reading.good().iter().map(|line| line.key.to_string()).collect();
    assert_eq!(keys, ["%2E%2E/x", "%2F/y", "ok"]);
    let faults = scan.faults.to_string();
    assert!(faults.starts_with("s3://b/n/a b.wav: column `source`: a source may not have control"), "{faults}");
    assert!(faults.contains("\ns3://b/n/summary.wav: column `key`: `summary`"), "{faults}");
}

#[test]
fn calls_without_a_recording_are_faults_unless_they_may_pass() {
    let rows: String = (1..=6).map(|id| format!("{id},\n")).collect();
    let export = format!("id,url\n0,/a.wav\n{rows}");
    let reading = |fields: &str| {
        let reading = ListedBench::new(&format!("manifest = \"calls.csv\"\n{fields}"));
        reading.bench.write("calls.csv", &export);
        reading
    };
    let message = reading("").message();
    assert!(message.ends_with(
        "calls.csv:3: column `url`: is empty: the line names no recording, and so on in 5 more lines; to let such lines pass as skipped say no_source = \"skip\" (--no-source skip)"
    ) && message.lines().count() == 1, "{message}");
    let (scan, rows) = reading("bad_lines = \"skip\"").read().unwrap();
    assert_eq!((scan.lines, scan.bad, scan.without_source), (1, 6, 0));
    let ManifestRow::Bad(bad) = &rows[1] else { panic!("{rows:?}") };
    assert_eq!(bad.fault, "column `url`: is empty: the line names no recording");
    let (scan, _) = reading("no_source = \"skip\"").read().unwrap();
    assert_eq!((scan.lines, scan.bad, scan.without_source), (7, 0, 6));
    let mut flagged = reading("no_source = \"fault\"");
    flagged.bench.over.no_source = Some(NoSource::Skip);
    assert_eq!(flagged.read().unwrap().0.without_source, 6);
    assert_eq!(flagged.definition().unwrap().bad_lines, BadLines::Fault);
}

#[test]
fn columns_that_only_look_like_options_say_how_to_turn_them_off() {
    let rows: String =
        (1..=500).map(|id| format!("{id},/{id}.wav,{}\n", ["English (UK)", "Hindi (IN)"][id % 2])).collect();
    let reading = ListedBench::new("manifest = \"calls.csv\"");
    reading.bench.write("calls.csv", format!("id,url,language\n{rows}"));
    let message = reading.message();
    assert_eq!(message.lines().count(), 1, "{message}");
    assert!(message.contains("calls.csv:2: column `language`: `Hindi (IN)` cannot be a language"), "{message}");
    assert!(message.contains(", and so on in 499 more lines; a column of this name overrides the option"), "{message}");
    assert!(message.ends_with("option_columns = [] (--option-columns '')"), "{message}");
    let reading = ListedBench::new("manifest = \"calls.csv\"\noption_columns = []");
    reading.bench.write("calls.csv", format!("id,url,language\n{rows}"));
    assert_eq!((reading.good().len(), reading.good()[0].carried[0].as_str()), (500, "Hindi (IN)"));
}

#[test]
fn times_and_numbers_are_carried_untouched() {
    let values =
        ["007", "1.50", "2026-11-20 09:00", "+4912", "123456789012345678901234567890.10", "1e400", " x ", "-0"];
    let columns: Vec<_> = (0..values.len()).map(|at| format!("c{at}")).collect();
    let reading = ListedBench::new("manifest = \"calls.csv\"");
    reading.bench.write("calls.csv", format!("id,url,{}\n1,/a.wav,{}\n", columns.join(","), values.join(",")));
    assert_eq!(reading.good()[0].carried, values);
    // JSON has no leading zeros or plus signs: such values are strings.
    let reading = ListedBench::new("manifest = \"calls.jsonl\"");
    let bare = |value: &str| ["1.50", "1e400", "-0"].contains(&value) || value.len() > 20;
    let fields = values.iter().zip(&columns);
    let fields: String =
        fields.map(|(v, c)| if bare(v) { format!(",\"{c}\": {v}") } else { format!(",\"{c}\":\"{v}\"") }).collect();
    reading
        .bench
        .write("calls.jsonl", format!("{{\"id\": 00,\"url\":\"/a.wav\"}}\n{{\"id\":1,\"url\":\"/a.wav\"{fields}}}\n"));
    assert!(
        reading.message().contains("calls.jsonl:1: is not JSON"),
        "a number that JSON does not have is told, not mended"
    );
    reading.bench.write("calls.jsonl", format!("{{\"id\":1,\"url\":\"/a.wav\"{fields}}}\n"));
    assert_eq!(reading.good()[0].carried, values);
}

#[test]
fn nothing_found_is_a_fault_of_its_own_unless_it_may_be() {
    let objects = [("x.json", 1), ("y.json", 1), ("_SUCCESS", 0), ("sub/", 0)];
    let prefix = "date = \"2026-11-22\"\nmanifest = \"s3://acme/{date:%Y/%m/%d}/\"";
    let faults = ListedBench::listed(&objects, prefix).read().unwrap_err();
    assert!(faults.is_only_empty());
    assert_eq!(
        faults.to_string(),
        "s3://acme/2026/11/22/: no recordings are found (passed over: 2 .json, 1 no ending); if that may be, say allow_empty = true (--allow-empty)"
    );
    let (scan, rows) = ListedBench::listed(&objects, &format!("{prefix}\nallow_empty = true")).read().unwrap();
    assert_eq!((scan.lines, scan.bad, rows.len(), scan.ignored[".json"]), (0, 0, 0, 2));
    assert_eq!(ListedBench::listed(&[], &format!("{prefix}\nallow_empty = true")).read().unwrap().0.lines, 0);
    for (file, content) in [("a.csv", ""), ("a.csv", "id,url\n"), ("a.jsonl", "\n"), ("a.txt", "")] {
        let mut reading = ListedBench::new(&format!("manifest = \"{file}\"\ncolumns = {{ key = \"id\" }}"));
        reading.bench.write(file, content);
        // Plain lines have no column `id`.
        reading.text = if file == "a.txt" { reading.text.replace("columns", "#") } else { reading.text };
        assert!(reading.read().unwrap_err().is_only_empty(), "{file} {content:?}");
        reading.bench.over.allow_empty = true;
        let (scan, rows) = reading.read().unwrap();
        assert_eq!((scan.lines, rows.len()), (0, 0), "{file} {content:?}");
    }
    let reading = ListedBench::new("manifest = \"rec\"");
    fs::create_dir(reading.bench.dir.path().join("rec")).unwrap();
    assert!(reading.read().unwrap_err().is_only_empty());
    let wrong = ListedBench::listed(&[("a\nb.wav", 1)], "manifest = \"s3://b/\"").read().unwrap_err();
    assert!(!wrong.is_only_empty());
}

#[test]
fn names_of_other_machines_are_read_where_they_are_mapped() {
    let mut reading = ListedBench::new(&format!("manifest = \"calls.csv\"\nname_pattern = '{NAMES}'"));
    reading.text.push_str("[source]\npath_map = { 'C:\\rec' = \"/mnt/rec\" }\n");
    reading.bench.write("calls.csv", "id,url\n1,c:\\REC\\2026\\7_ann.wav\n");
    let lines = reading.good();
    assert_eq!(keys_and_sources(&lines), [("1", "/mnt/rec/2026/7_ann.wav")]);
    assert_eq!(lines[0].carried, ["7", "ann"]);
    let mut unnamed = ListedBench::new("manifest = \"calls.csv\"");
    unnamed.text.push_str("[source]\npath_map = { 'C:\\rec' = \"s3://calls/rec\" }\n");
    unnamed.bench.write("calls.csv", "url\nC:/rec/a b\\8.wav\n");
    assert_eq!(keys_and_sources(&unnamed.good()), [("8", "s3://calls/rec/a b/8.wav")]);
}
