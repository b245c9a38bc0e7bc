mod shapes;

use std::fs;

use super::*;
use crate::domain::cut::{SentenceRules, cut};

fn markdown(text: &str) -> Prose {
    parse(text.as_bytes(), ProseKind::Markdown).unwrap()
}

/// Paragraphs; headings begin with `#`.
fn said(text: &str) -> Vec<String> {
    let message = |p: Paragraph| if p.heading { format!("#{}", p.text) } else { p.text };
    markdown(text).paragraphs.into_iter().map(message).collect()
}

fn fault(bytes: &[u8]) -> String {
    parse(bytes, ProseKind::Plain).unwrap_err().to_string()
}

#[test]
fn what_the_machine_lacks_is_not_the_files_fault() {
    use rustix::io::Errno;
    let of = |errno: Errno| ProseFault::from(io::Error::from(errno));
    assert!(matches!(of(Errno::NOENT), ProseFault::Missing));
    for errno in [Errno::ACCESS, Errno::NOTDIR, Errno::NAMETOOLONG, Errno::LOOP] {
        assert!(matches!(of(errno), ProseFault::Unreadable(_)), "{errno}");
    }
    for errno in [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::IO, Errno::STALE, Errno::HOSTDOWN] {
        assert!(matches!(of(errno), ProseFault::Away { .. }), "{errno}");
    }
    let message = of(Errno::MFILE).to_string();
    assert!(
        message.starts_with("cannot be read now: Too many open files") && message.contains("ulimit -n"),
        "{message}"
    );
}

#[test]
fn markdown_is_read_for_its_text() {
    let text = "# The *Sea*\n\nIt was **dark**\nand [cold](https://example.com \"t\"), said `Ann`. &amp; so on\\!\n\n\
        Second\n------\n\n- one\n- two\n  - deep\n\n    still deep\n- [x] done\n\n1. first\n2. second\n\n\
        > quoted\n> twice\n\n> [!NOTE]\n> noted\n\n***\n\nline<br>break and <b>bold</b> ~~gone~~ <https://a.b>\n";
    let expected = [
        "#The Sea",
        "It was dark and cold, said Ann. & so on!",
        "#Second",
        "one",
        "two",
        "deep",
        "still deep",
        "done",
        "first",
        "second",
        "quoted twice",
        "noted",
        "* * *",
        "line break and bold gone https://a.b",
    ];
    assert_eq!(said(text), expected);
    assert_eq!(said(&text.replace('\n', "\r\n")), expected);
    assert_eq!(markdown(text).left_out, LeftOut { labels: 1, ..LeftOut::default() });
}

#[test]
fn what_is_left_out_is_counted() {
    let text = "---\ntitle: The Sea\n---\nBefore[^1] ![alt](a.png)after.\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n```rust\nlet a = 1;\n```\n\n    let b = {};\n\n\
        <script>\nhtml\n</script>\n\n![only](b.png)\n\n[^1]: A note.\n\nThe end of all this.\n";
    let prose = markdown(text);
    assert_eq!(
        prose.paragraphs.iter().map(|p| p.text.as_str()).collect::<Vec<_>>(),
        ["Before after.", "The end of all this."]
    );
    let counts = LeftOut {
        tables: 1,
        code_blocks: 2,
        images: 2,
        html_elements: 1,
        footnotes: 1,
        front_matter: 1,
        letters: 4 + 5 + 4 + 7 + 5,
        ..LeftOut::default()
    };
    assert_eq!(prose.left_out, counts);
    assert_eq!(counts.to_string(), "1 table, 2 code blocks, 2 images, 1 HTML element, 1 footnote, 1 front matter");
    let none = parse(b"![a](b)\n\n![c](d)", ProseKind::Markdown).unwrap_err();
    assert_eq!(none.to_string(), "has no text beside 2 images");
}

#[test]
fn what_is_opened_is_closed() {
    let message =
        |text: &str| parse(text.as_bytes(), ProseKind::Markdown).map(|_| ()).map_err(|e| (e.line(), e.to_string()));
    for (text, line) in [
        ("One.\n\n```\nTwo.\n", 3),
        ("---\na: b\n---\nOne.\n~~~~\nTwo.\n~~~\n", 5),
        ("> ```\n> One.\n\nTwo.", 1),
        ("- ```", 1),
        ("<p>One.\n</p>\n<b>x</b>\n\nText\n\n```", 7),
    ] {
        let (at, message) = message(text).unwrap_err();
        assert_eq!(at, Some(line), "{text}");
        assert!(message.starts_with(&format!("line {line} opens a code block that is never closed")), "{message}");
    }
    assert_eq!(message("One.\n\n<!-- Two.\n\nThree.").unwrap_err().0, Some(3));
    for text in [
        "```\nOne.\n```\nTwo words.",
        "> ~~~\n> One.\n> ~~~~\nTwo.",
        "One.\n\n```` x\n```\n````\n",
        "- ```\n  a\n  ```\n\nText.",
    ] {
        assert_eq!(message(text), Ok(()), "{text}");
    }
}

#[test]
fn a_file_most_of_which_is_no_text_is_told() {
    let text = "# Tool\n\n```\nlet it = be;\nand(more);\n```\n\n| a | b |\n|---|---|\n| c | d |\n";
    let fault = parse(text.as_bytes(), ProseKind::Markdown).unwrap_err().to_string();
    let start = "more of it would be left out than spoken: 1 table, 1 code block, with 18 letters and digits beside 4 that are spoken; say in [synthesize] markdown = ";
    assert!(fault.starts_with(start), "{fault}");
    let prose = parse(text.as_bytes(), ProseKind::CommonMark).unwrap();
    assert_eq!((prose.text().as_str(), prose.left_out.to_string().as_str()), ("Tool", "1 table, 1 code block"));
    assert!(parse(b"---\nlong: front matter is no text\n---\nHi.", ProseKind::Markdown).is_ok());
}

#[test]
fn as_the_standard_has_it() {
    let read = |text: &str| parse(text.as_bytes(), ProseKind::CommonMark).unwrap();
    let prose = read("1986. What a season\n\n    let it be\n\n<p>\nhtml\n</p>\n\n[x]{.y} <Enter>");
    assert_eq!(prose.text(), "What a season\n\n[x]{.y}");
    assert_eq!(prose.left_out.to_string(), "1 code block, 1 HTML element");
}

#[test]
fn a_heading_is_known_by_what_follows_it() {
    let prose = markdown("# One\n\nText.\n\n## Two\n");
    assert_eq!(prose.text(), "One\n\u{b}\nText.\n\nTwo");
    let parts = cut(&prose.text(), 250, SentenceRules::default());
    let ends: Vec<_> = parts.iter().map(|part| (part.text.as_str(), part.ends_heading)).collect();
    assert_eq!(ends, [("One", true), ("Text.", false), ("Two", false)]);
}

#[test]
fn a_line_of_dashes_is_no_front_matter() {
    assert_eq!(said("---\n\nOne.\n\n---\n\nTwo.\n"), ["One.", "* * *", "Two."]);
    assert_eq!(said("---\nHe said: no.\n\n---\n\nTwo.\n"), ["He said: no.", "* * *", "Two."]);
    assert_eq!(said("---\r\ntitle: A\r\ntags: [b]\r\n...\r\nOne.\r\n"), ["One."]);
}

#[test]
fn plain_text_is_taken_as_it_is() {
    let prose = parse("\u{feff}# One\r\n**two**\r\n\r\n - three\r\n".as_bytes(), ProseKind::Plain).unwrap();
    let texts: Vec<_> = prose.paragraphs.iter().map(|p| (p.text.as_str(), p.heading)).collect();
    assert_eq!(texts, [("# One **two**", false), ("- three", false)]);
    assert_eq!(prose.text(), "# One **two**\n\n- three");
    let parts = cut(&prose.text(), 250, SentenceRules::default());
    assert_eq!(parts.iter().map(|part| part.paragraph).collect::<Vec<_>>(), [0, 1]);
}

#[test]
fn what_is_no_text_is_told() {
    assert_eq!(fault(b""), "is empty");
    assert_eq!(fault("\u{feff} \r\n\u{3000}".as_bytes()), "is empty");
    assert_eq!(fault(b"one\ntw\xff\n"), "line 2 is not UTF-8; save the file as UTF-8");
    assert_eq!(fault(b"\xff\xfeo\0n\0"), "is UTF-16 or UTF-32; save it as UTF-8");
    assert_eq!(fault(b"one\n\0"), "line 2 has a NUL character: this is not a text file");
    assert_eq!(parse(b"a\n\xff", ProseKind::Plain).unwrap_err().line(), Some(2));
}

#[test]
fn files_that_cannot_be_read_are_told() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let message = |name: &str| read(&at(name), ProseKind::Plain).unwrap_err().to_string();
    fs::create_dir(at("folder.txt")).unwrap();
    let size = usize::try_from(MAX_BYTES).unwrap();
    fs::write(at("big.txt"), vec![b'a'; size + 1]).unwrap();
    fs::write(at("full.txt"), vec![b'a'; size]).unwrap();
    assert_eq!(message("none.txt"), "there is no such file");
    assert_eq!(message("folder.txt"), "is a directory, not a text");
    assert_eq!(message("big.txt"), "has over 10 MB; split it");
    assert_eq!(read(&at("full.txt"), ProseKind::Plain).unwrap().paragraphs.len(), 1);
}

#[test]
fn endings_tell_the_kind() {
    assert_eq!(ProseKind::of_path("a/b.MD"), Some(ProseKind::Markdown));
    assert_eq!(ProseKind::of_path("b.txt"), Some(ProseKind::Plain));
    assert_eq!(ProseKind::of_path("b.csv"), None);
}
