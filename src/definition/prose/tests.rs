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
        "line break and bold gone https://a.b",
    ];
    assert_eq!(said(text), expected);
    assert_eq!(said(&text.replace('\n', "\r\n")), expected);
    assert!(markdown(text).left_out.is_empty());
}

#[test]
fn what_is_left_out_is_counted() {
    let text = "---\ntitle: The Sea\n---\nBefore[^1] ![alt](a.png)after.\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n```rust\nlet a = 1;\n```\n\n    indented\n\n\
        <div>\nhtml\n</div>\n\n![only](b.png)\n\n[^1]: A note.\n\nEnd.\n";
    let prose = markdown(text);
    assert_eq!(prose.paragraphs.iter().map(|p| p.text.as_str()).collect::<Vec<_>>(), ["Before after.", "End."]);
    let counts = LeftOut { tables: 1, code_blocks: 2, images: 2, html_blocks: 1, footnotes: 1, front_matter: 1 };
    assert_eq!(prose.left_out, counts);
    assert_eq!(counts.to_string(), "1 table, 2 code blocks, 2 images, 1 HTML block, 1 footnote, 1 front matter");
    let none = parse(b"![a](b)\n\n![c](d)", ProseKind::Markdown).unwrap_err();
    assert_eq!(none.to_string(), "has no text beside 2 images");
}

#[test]
fn a_line_of_dashes_is_no_front_matter() {
    assert_eq!(said("---\n\nOne.\n\n---\n\nTwo.\n"), ["One.", "Two."]);
    assert_eq!(said("---\nHe said: no.\n\n---\n\nTwo.\n"), ["He said: no.", "Two."]);
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
