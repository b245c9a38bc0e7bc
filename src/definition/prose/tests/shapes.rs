//! Markdown as people and programs write it: what is spoken, and what is left out and counted.

use super::*;

struct Shape {
    name: &'static str,
    text: &'static str,
    /// Headings begin with `#`.
    spoken: &'static [&'static str],
    left_out: &'static str,
}

const fn shape(
    name: &'static str,
    text: &'static str,
    spoken: &'static [&'static str],
    left_out: &'static str,
) -> Shape {
    Shape { name, text, spoken, left_out }
}

const SHAPES: &[Shape] = &[
    // Numbers at the start of a line.
    shape("a year begins a sentence", "1986. What a season that was.", &["1986. What a season that was."], ""),
    shape(
        "a year begins a wrapped line",
        "It all began in\n1986. What a season!\nWe won.",
        &["It all began in 1986. What a season! We won."],
        "",
    ),
    shape("two years", "1986. What a season.\n1987. Another one.", &["1986. What a season. 1987. Another one."], ""),
    shape("years downwards", "2024. Now.\n2023. Then.\n1999. Once.", &["2024. Now. 2023. Then. 1999. Once."], ""),
    shape("a number with a bracket", "He came in\n\n3) third of all.", &["He came in", "3) third of all."], ""),
    shape("a list that counts", "1. Wash.\n2. Rinse.\n3. Repeat.", &["Wash.", "Rinse.", "Repeat."], ""),
    shape("a list that counts lazily", "1. Wash.\n1. Rinse.\n1. Repeat.", &["Wash.", "Rinse.", "Repeat."], ""),
    shape("a list from zero", "0. Off.\n1. On.", &["Off.", "On."], ""),
    shape("a list of one", "1. Only this.", &["1. Only this."], ""),
    shape(
        "a list that goes on after a paragraph",
        "4. Fourth.\n5. Fifth.\n\nSo.",
        &["4. Fourth. 5. Fifth.", "So."],
        "",
    ),
    shape(
        "a sum in wrapped lines",
        "The answer is two\n+ 2 and then\n- 1 of them.",
        &["The answer is two + 2 and then - 1 of them."],
        "",
    ),
    shape(
        "nested lists",
        "- Fruit\n  1. Apples\n  2. Pears\n     - green\n- Bread\n\n  of rye\n- [ ] Milk\n- [x] Tea",
        &["Fruit", "Apples", "Pears", "green", "Bread", "of rye", "Milk", "Tea"],
        "",
    ),
    shape("a dialogue in dashes", "- Who is it?\n- It's me.", &["Who is it?", "It's me."], ""),
    // Brackets.
    shape(
        "a play",
        "[Anna]: Yes.\n[Ben]: No.\n\n[Anna]: \"Why?\"\n[Ben]: Because I say so.",
        &["[Anna]: Yes. [Ben]: No.", "[Anna]: \"Why?\" [Ben]: Because I say so."],
        "",
    ),
    shape("a play with directions", "[Anna] laughs.\n\n[Anna]: Yes.", &["[Anna] laughs.", "[Anna]: Yes."], ""),
    shape("the same speaker twice", "[Anna]: Yes.\n\n[anna]: No.", &["[Anna]: Yes.", "[anna]: No."], ""),
    shape("a speaker in a list", "- [Anna]: Yes.\n- [Ben]: No.", &["[Anna]: Yes.", "[Ben]: No."], ""),
    shape(
        "links by reference",
        "See [the page][1] and [Home].\n\n[1]: https://a.b/c \"A title\"\n[home]: index.html\n",
        &["See the page and Home."],
        "",
    ),
    shape(
        "an address that nothing refers to",
        "One.\n\n[1]: https://a.b/c\n[two]: <d e.html> 'Title'\n",
        &["One."],
        "2 link addresses",
    ),
    shape(
        "links and pictures",
        "Read [this](https://a.b), <https://c.d> or\n![A cat](cat.png) write to <ann@b.org>.",
        &["Read this, https://c.d or write to ann@b.org."],
        "1 image",
    ),
    shape(
        "citations of an encyclopedia",
        "Ada was born in 1815.[1][2] She wrote.[citation needed]",
        &["Ada was born in 1815.[1][2] She wrote.[citation needed]"],
        "",
    ),
    // Angle brackets.
    shape("keys", "Press <Enter> and every <x>.", &["Press <Enter> and every <x>."], ""),
    shape("a key alone", "Press\n\n<Enter>\n\nand *then*", &["Press", "<Enter>", "and then"], ""),
    shape("a key before a line", "<Enter>\nopens *it*.", &["<Enter> opens it."], ""),
    shape(
        "names of tags as placeholders",
        "Dear <title> <name>, press <button>, choose <a> or <b>, at <time> on <date>.",
        &["Dear <title> <name>, press <button>, choose <a> or <b>, at <time> on <date>."],
        "",
    ),
    shape(
        "a sentence in angle brackets",
        "<Your name here> is <insert the city>.",
        &["<Your name here> is <insert the city>."],
        "",
    ),
    shape("signs of inequality", "1 < 2, 3 > 2, a<b and c>d, I <3 you.", &["1 < 2, 3 > 2, a<b and c>d, I <3 you."], ""),
    shape(
        "tags in a sentence",
        "It is <b>bold</b>, <i class=\"x\">slanted</i>, H<sub>2</sub>O<br>and <span style='a>b'>plain</span>.",
        &["It is bold, slanted, H2O and plain."],
        "",
    ),
    // HTML.
    shape("paragraphs of HTML", "<p>One &amp; *two*.</p>\n<p>Three.</p>", &["One & two.", "Three."], ""),
    shape("a centred heading", "<center>Chapter One</center>\n\nIt began.", &["Chapter One", "It began."], ""),
    shape(
        "headings of HTML",
        "<h1 align=\"center\">\n  The <em>Sea</em>\n</h1>\n\n<div>\n    <p>Text\n    and text.</p>\n    1986. A year.\n</div>",
        &["#The Sea", "Text and text.", "1986. A year."],
        "",
    ),
    shape(
        "a page head",
        "<!DOCTYPE html>\n<html><head><title>T</title><style>\np {}\n\nb {}\n</style></head>\n<body><p>Said.</p></body></html>",
        &["Said."],
        "1 HTML element, 1 comment",
    ),
    shape(
        "a comment",
        "One.<!-- not this --> Two.\n\n<!-- nor\n\nthis -->\nThree.",
        &["One. Two.", "Three."],
        "2 comments",
    ),
    shape(
        "a script and a table of HTML",
        "What a person reads is here.\n\n<script>\nalert(1)\n\nalert(2)\n</script>\n<table><tr><td>a</td></tr>\n\n<tr><td>b</td></tr></table>\nAfter.",
        &["What a person reads is here.", "After."],
        "1 table, 1 HTML element",
    ),
    shape(
        "the head of a README",
        "<div align=\"center\">\n\n# Tool\n\n<a href=\"https://x\"><img src=\"x.svg\" alt=\"build\"></a>\n[![CI](https://a/b.svg)](https://a)\n\n</div>\n\nA tool for people who like tools.\n\n```sh\ncargo install tool\n```\n",
        &["#Tool", "A tool for people who like tools."],
        "1 code block, 2 images",
    ),
    shape(
        "a summary with details",
        "<details>\n<summary>More</summary>\n\nHidden *words*.\n\n</details>",
        &["More", "Hidden words."],
        "",
    ),
    shape("ruby", "<ruby>漢字<rp>(</rp><rt>かんじ</rt><rp>)</rp></ruby>を読む。", &["漢字を読む。"], "3 HTML elements"),
    shape(
        "a poem in pre",
        "<pre>\nShall I compare thee\n\n  to a day?\n</pre>",
        &["Shall I compare thee", "to a day?"],
        "",
    ),
    // What is indented.
    shape(
        "an indented paragraph",
        "    It was *dark* that\nnight.\n\nNext.",
        &["It was dark that night.", "Next."],
        "",
    ),
    shape("a whole text indented", "\tOne.\n\n\tTwo.\n\n\t* * *\n\n\tThree.", &["One.", "Two.", "* * *", "Three."], ""),
    shape(
        "a poem",
        "    Shall I compare thee to a summer's day?\n    Thou art more lovely;\n        and more temperate.",
        &["Shall I compare thee to a summer's day? Thou art more lovely; and more temperate."],
        "",
    ),
    shape(
        "a letter in a list",
        "1. First.\n\n       Deep inside the list.\n2. Second.",
        &["First.", "Deep inside the list.", "Second."],
        "",
    ),
    shape(
        "indented code",
        "Run this, and it will be done for you:\n\n    $ make {all}\n    if (x) { y(); }\n",
        &["Run this, and it will be done for you:"],
        "1 code block",
    ),
    // Front matter, and what converters leave.
    shape("YAML", "---\ntitle: The Sea\n---\n# One\n\nText.", &["#One", "Text."], "1 front matter"),
    shape("TOML", "+++\ntitle = \"The Sea\"\n+++\nText.", &["Text."], "1 front matter"),
    shape("JSON", "{\n\"title\": \"The Sea\"\n}\n\nText.", &["Text."], "1 front matter"),
    shape(
        "an EPUB by pandoc",
        "[]{#cover.xhtml}\n\n![](media/cover.jpg){width=\"100%\"}\n\n[]{#c01.xhtml}\n\n::: {.chapter #ch1}\n# [CHAPTER ONE]{.small} {#c01.xhtml_ch1 .title}\n\n[T]{.dropcap}[he]{.smallcaps} sea was calm[^1].\\\nIt wasn\\'t loud.\n\n::: epigraph\n> Be still.\n:::\n:::\n",
        &["#CHAPTER ONE", "The sea was calm. It wasn't loud.", "Be still."],
        "1 image, 1 footnote, 1 label",
    ),
    shape(
        "footnotes",
        "A claim[^1], another[^long], and one inside^[Like *this* one.].\n\n[^1]: Short.\n[^long]: Long.\n\n    And indented.\n\nThe text goes on for some more words.",
        &["A claim, another, and one inside.", "The text goes on for some more words."],
        "3 footnotes",
    ),
    shape(
        "a poem by pandoc",
        "| The limerick packs laughs anatomical\n|    In space that is quite economical.\n|\n| The end",
        &["The limerick packs laughs anatomical In space that is quite economical.", "The end"],
        "",
    ),
    shape(
        "a grid table",
        "Many words come before the table.\n\n+---+---+\n| a | b |\n+---+---+\n",
        &["Many words come before the table."],
        "1 table",
    ),
    shape(
        "a document of Google",
        "# **Title** {#title}\n\nIt\\'s *fine* \\- really\\!  \nYes.\n\n1. One\\.\n2. Two\n\n![][image1]\n\n[image1]: <data:image/png;base64,iVBORw0KGgo=>\n",
        &["#Title", "It's fine - really! Yes.", "One.", "Two"],
        "1 image",
    ),
    shape(
        "a document of Word",
        "<a name=\"_Toc1\"></a>**Chapter 1**\n\n<span dir=\"ltr\">Text</span><o:p></o:p> more.\n\n<!-- TODO -->",
        &["Chapter 1", "Text more."],
        "1 comment",
    ),
    shape(
        "a note of Obsidian",
        "---\ntags: [a]\n---\n> [!quote]- A title\n> Said [[Anna|she]] and [[Ben]]. ^abc1\n\n![[picture.png]]\n\n==Mind== this %%not this%% one. #tag\n",
        &["A title Said she and Ben.", "Mind this one. #tag"],
        "1 image, 1 comment, 1 label, 1 front matter",
    ),
    shape(
        "callouts",
        "> [!WARNING]\n> Mind the gap.\n\n:::tip Its title\nText.\n:::",
        &["Mind the gap.", "Its title", "Text."],
        "2 labels",
    ),
    shape(
        "a text of Gutenberg",
        "\u{feff}*** START OF THE PROJECT ***\n\n\n                          CHAPTER I.\n\n\n  \"Well, Prince,\" _said_ she--it\nwas July, 1805.--\"Eh?\"\n\n       *       *       *       *       *\n\n[Illustration: A lady]\n\n    When winds are raging o'er\n    the upper ocean\n",
        &[
            "*** START OF THE PROJECT ***",
            "CHAPTER I.",
            "\"Well, Prince,\" said she--it was July, 1805.--\"Eh?\"",
            "* * *",
            "[Illustration: A lady]",
            "When winds are raging o'er the upper ocean",
        ],
        "",
    ),
    // The rest.
    shape(
        "breaks between scenes",
        "One.\n\n***\n\nTwo.\n\n---\n\n___\n\nThree.\n\n* * *\n",
        &["One.", "* * *", "Two.", "* * *", "Three."],
        "",
    ),
    shape(
        "tildes between scenes",
        "One.\n\n~~~\n\nTwo *words*.\n\n~~~\n\nThree.",
        &["One.", "~~~", "Two words.", "~~~", "Three."],
        "",
    ),
    shape(
        "an ornament between scenes",
        "One.\n\n§\n\nTwo.\n\n❦\n\n😀\n\nThree.",
        &["One.", "§", "Two.", "❦", "😀", "Three."],
        "",
    ),
    shape(
        "a heading with a line",
        "Chapter One\n===========\n\nText\n----\n\nMore.",
        &["#Chapter One", "#Text", "More."],
        "",
    ),
    shape(
        "a heading with a placeholder",
        "# Dear {name}\n\n## C# and F#\n\nText {a}.",
        &["#Dear {name}", "#C# and F#", "Text {a}."],
        "",
    ),
    shape("quotes", "> One\n> > two\n\nand > three\n> lazy\nline", &["One", "two", "and > three", "lazy line"], ""),
    shape(
        "a table",
        "The prices of this year are these.\n\n| a | b |\n|:--|--:|\n| 1 | 2 |\n",
        &["The prices of this year are these."],
        "1 table",
    ),
    shape("a definition list", "Term\n: What it means.", &["Term : What it means."], ""),
    shape("mathematics", "So $x^2 < y$ and\n\n$$\\frac{a}{b}$$", &["So $x^2 < y$ and", "$$\\frac{a}{b}$$"], ""),
    shape("emoji codes", "Well done :tada: :+1:", &["Well done :tada: :+1:"], ""),
    shape(
        "signs in a sentence",
        "2 * 3 * 4, snake_case_name, 5~6, a^b, C:\\new, 50 %, #5 and #tag",
        &["2 * 3 * 4, snake_case_name, 5~6, a^b, C:\\new, 50 %, #5 and #tag"],
        "",
    ),
    shape("entities", "R&amp;D &lt;b&gt; caf&eacute; &copy; &#8212; &nope;", &["R&D <b> café © — &nope;"], ""),
    shape(
        "a stage play",
        "**HAMLET.** To be (_aside_)\n: or not.\n\nOPHELIA\n\t(weeping) My lord!",
        &["HAMLET. To be (aside) : or not.", "OPHELIA (weeping) My lord!"],
        "",
    ),
    shape("code in a sentence", "Say `ls` or ``a`b``.", &["Say ls or a`b."], ""),
];

#[test]
fn shapes_are_read_as_a_person_would() {
    let mut wrong = Vec::new();
    for shape in SHAPES {
        let prose = match parse(shape.text.as_bytes(), ProseKind::Markdown) {
            Ok(prose) => prose,
            Err(fault) => {
                wrong.push(format!("{}: {fault}", shape.name));
                continue;
            }
        };
        let left_out = prose.left_out.to_string();
        let message = |p: Paragraph| if p.heading { format!("#{}", p.text) } else { p.text };
        let spoken: Vec<_> = prose.paragraphs.into_iter().map(message).collect();
        if spoken != shape.spoken || left_out != shape.left_out {
            wrong.push(format!(
                "{}:\n  {spoken:?}\n  {:?}\n  {left_out:?}, {:?}",
                shape.name, shape.spoken, shape.left_out
            ));
        }
    }
    assert!(SHAPES.len() > 60 && wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Pieces that mean something to Markdown. `W` becomes a word of its own.
const PIECES: &[&str] = &[
    "W",
    "W",
    "W",
    "W.",
    "W",
    " ",
    " ",
    "\n",
    "\n",
    "\n\n",
    "\n\n",
    "W W W",
    "1986. W",
    "\n1. W",
    "\n2) W",
    "[W]: W",
    "\n[W]: W",
    "[W]",
    "<W>",
    "<W W>",
    "\n<W>\n",
    "\n    W",
    "\n\n    W",
    "\n\tW",
    "- W",
    "\n- W",
    "\n+ 3 W",
    "\n* W",
    "> W",
    "\n> W",
    "# W",
    "\n# W\n",
    "*",
    "**",
    "_",
    "`",
    "|",
    "| W | W |",
    "<b>",
    "</b>",
    "<i>",
    "<p>",
    "</p>",
    "<div>",
    "\n<div>",
    "</div>\n",
    "<center>W</center>",
    "<h2>",
    "</h2>",
    "<hr>",
    "<br>",
    "<li>W",
    "<table>",
    "</table>",
    "<td>W",
    "<pre>",
    "</pre>",
    "<!-- W -->",
    "<title>",
    "</title>",
    "<rt>W</rt>",
    "{",
    "}",
    "{.x}",
    "{W}",
    "[W]{.x}",
    "[^W]",
    "^[W]",
    "\n[^W]: W",
    "===",
    "\n===\n",
    "\n---\n",
    "\n***\n",
    "\n::: W\n",
    "\n:::\n",
    "%%",
    "==",
    "~~",
    "~",
    "[[W]]",
    "[[x|W]]",
    "![W]",
    "$",
    "\\",
    "&",
    "&amp;",
    "\r\n",
    "!",
    "(W)",
    "\n| W\n",
    "\n+-+\n",
    "[!W] W",
    "\n~~~\nW\n~~~\n",
    "\n```\nW\n```\n",
    "<o:p>",
    "\n|-|-|\n",
    "\n: W",
    ":W:",
    "<W",
];

/// A text of these pieces, and its words. The same seed makes the same text.
fn text_of(mut seed: u64) -> (String, Vec<String>) {
    let (mut text, mut words) = (String::new(), Vec::new());
    let mut next = |below: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(seed >> 33).unwrap() % below
    };
    for _ in 0..next(40) + 1 {
        for c in PIECES[next(PIECES.len())].chars() {
            if c == 'W' {
                words.push(format!("q{}z", words.len()));
                text.push_str(words.last().unwrap());
            } else {
                text.push(c);
            }
        }
    }
    (text, words)
}

#[test]
fn no_word_is_lost_untold() {
    for seed in 0..5_000 {
        let (text, words) = text_of(seed);
        let prose = match parse(text.as_bytes(), ProseKind::Markdown) {
            Ok(prose) => prose,
            Err(_) => continue,
        };
        let spoken = prose.text();
        let lost: Vec<_> = words.iter().filter(|word| !spoken.contains(word.as_str())).collect();
        assert!(
            lost.is_empty() || !prose.left_out.is_empty(),
            "seed {seed}: {lost:?} of\n{text}\n---\n{spoken}\n{text:?}"
        );
    }
}
