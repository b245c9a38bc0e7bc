use proptest::{collection::vec, prelude::*, sample::select};
use unicode_segmentation::UnicodeSegmentation;

use super::*;

/// The rules of an unknown language.
fn all() -> SentenceRules {
    SentenceRules::default()
}

/// The sentences of a text in one paragraph.
fn sentences(text: &str, rules: SentenceRules) -> Vec<String> {
    let flat = flat(text);
    rules.sentences(&flat).map(|range| flat[range].to_owned()).collect()
}

/// Asserts that `|` stands where sentences of a language end, and nowhere else.
fn ends_in(language: &str, marked: &str) {
    let expected: Vec<_> = marked.split('|').map(str::trim).collect();
    assert_eq!(sentences(&marked.replace('|', ""), SentenceRules::of(Some(language))), expected, "{language}");
}

/// The same for an unknown language.
fn ends(marked: &str) {
    ends_in("auto", marked);
}

fn cut_any(text: &str, part_chars: usize) -> Vec<Part> {
    cut(text, part_chars, all())
}

fn texts(text: &str, part_chars: usize) -> Vec<String> {
    texts_in("auto", text, part_chars)
}

fn texts_in(language: &str, text: &str, part_chars: usize) -> Vec<String> {
    cut(text, part_chars, SentenceRules::of(Some(language))).into_iter().map(|part| part.text).collect()
}

#[test]
fn a_stop_before_white_space_ends_a_sentence() {
    ends("It rains. | Does it? | It does! | Well… | Then stay.");
    ends("(It rains.) | “Does it?” | 'It does!' | [Fine.] | \"So stay.\" | Yes?! | No!!");
    ends("It was 1984. | He left at 5 p.m. | So do I. | They came from the U.S. by ship.");
    ends("„Komm.“ | Er kam. | »Gut.« | »Geh!« sagte sie. | Er ging.");
    ends("« Tu viens ? » | Oui ! | « Bon. » | Il part.");
    ends("—¿Vienes? | —Sí. | ¡Ven! | ¿Ya?");
    ends("Quoi ? ! | Rien.");
}

#[test]
fn not_every_point_ends_one() {
    for whole in [
        "It is 3.14 or 1.000,50 at most",
        "Dr. Smith met Mr. and Mrs. Jones, e.g. Anna, i.e. her, vs. Bob",
        "MR. SMITH and Prof. Dr. Meier of St. Gallen",
        "J. R. R. Tolkien and J.R.R. Tolkien and C. S. Lewis",
        "Das ist z.B. Anna oder z. B. Otto bzw. Emil am 3. Mai oder am 12.3.2026 um 5",
        "See www.example.com/a.b and https://example.com/?a=b.c&d=e and file.txt",
        "Well... perhaps and … perhaps and . . . perhaps",
        "\"Stop!\" he said and \"Why?\" she asked",
        "About approx. five or Inc. and etc. and so on",
        "No. 5 and Fig. 3 and Jan. 12",
        "1. First of all",
        "IV. The Return",
        "et al. (2010) say so",
        "वे डॉ. शर्मा हैं",
    ] {
        ends(whole);
    }
    ends("I said no. | Then I left.");
    ends("Wait... | Then go.");
    ends("Look at https://example.com/?a=b. | Then go.");
    ends("press one. | then press two. | e.g. this one.");
    ends("etc.; Foo and so on. | Bar.");
}

#[test]
fn an_abbreviation_ends_no_part() {
    let rest = "und so geht der Satz noch eine Weile weiter, bis er endet";
    for (language, start) in [
        ("de", "Erst im 19. Jahrhundert"),
        ("es", "Vive en EE. UU. desde"),
        ("en", "See Vol. II of"),
        ("en", "It was Wm. Penn and"),
        ("en", "Chapter xvi. Alice"),
        ("de", "Er wohnt in der Hauptstr. Berlins"),
        ("en", "It was Messrs. Thos. Cook who"),
        ("it", "Venne il prof. Rossi"),
        ("pl", "Był tam prof. Nowak"),
        ("nl", "Daar was mevr. Jansen"),
        ("pl", "Kościół św. Anny"),
        ("fr", "Voir éd. Gallimard"),
        ("hi", "देखिए पृ. बारह"),
        ("hi", "यह १९. अध्याय"),
        ("ar", "جاء د. أحمد"),
        ("cs", "Tam byl Karel IV. Lucemburský"),
        ("da", "Det er den 19. Armé"),
        ("hu", "A palota özv. Kis"),
        ("ru", "Он живёт на ул. Ленина"),
        ("th", "เขาเกิดเมื่อ พ.ศ. 2560"),
    ] {
        let text = format!("{start} {rest}. {rest}.");
        let point = start.rfind(". ").expect("a point") + 1;
        for limit in start[..point].chars().count()..text.chars().count() {
            let parts = texts_in(language, &text, limit);
            assert!(!start[..point].ends_with(&parts[0]), "{language}, {limit}: {parts:?}");
        }
    }
}

#[test]
fn a_doubtful_end_gives_way_to_a_better_one() {
    let text = "We sold it, all of it, to Acme Inc. Bolt made the rest of it.";
    assert_eq!(texts_in("en", text, 40), ["We sold it, all of it, to Acme Inc. Bolt", "made the rest of it."]);
    assert_eq!(texts_in("en", text, 33), ["We sold it, all of it,", "to Acme Inc. Bolt made the rest", "of it."]);
    let sure = "We sold it, all of it, to Acme Inc. The rest was made by Bolt.";
    assert_eq!(texts_in("en", sure, 40), ["We sold it, all of it, to Acme Inc.", "The rest was made by Bolt."]);
    let flags: Vec<_> = cut(text, 250, SentenceRules::of(Some("en"))).remove(0).sentences;
    assert_eq!(flags.len(), 2, "in captions the end is one");
}

#[test]
fn the_language_decides() {
    ends_in("de", "Er kam am 19. Juni. | Er wurde 19. | Dann ging er.");
    ends_in("en", "He turned 19. | June came. | Then he left.");
    ends_in("nl", "Dat is de heer J. P. de Vries. | Hij woont in Gent.");
    ends_in("ru", "Он родился в 1799 г. в Москве. | Это было давно, в 1799 г. | Потом он уехал.");
    ends_in("en", "I like art. | Peter does not.");
    ends_in("en", "“Stop!” John shouted. | “Stop!” | John stopped.");
    ends_in("en", "Smith (Hrsg.) wrote it. | He won (!) The prize was small.");
    ends_in("hy", "Ես գնում եմ: | Դու ո՞ւր ես:");
    ends_in("th", "เขาเกิดเมื่อ พ.ศ. 2560 ที่กรุงเทพฯ");
}

#[test]
fn scripts_without_spaces_are_cut_between_words() {
    for text in [
        "ภาษาไทยไม่มีช่องว่างระหว่างคำและเขียนติดกันไปเรื่อยๆจนจบประโยค",
        "ພາສາລາວເປັນພາສາທີ່ບໍ່ມີຊ່ອງຫວ່າງລະຫວ່າງຄຳສັບ",
        "ភាសាខ្មែរជាភាសាដែលគ្មានដកឃ្លារវាងពាក្យ",
        "မြန်မာဘာသာစကားသည်စကားလုံးများကြားတွင်နေရာလွတ်မရှိပါ",
        "我们上周再次查看数据时发现大多数电话都是在中午之前打来的而且几乎都很短",
    ] {
        let ends: Vec<usize> = unspaced::word_ends(text);
        for limit in 16..30 {
            let mut at = 0;
            for part in texts(text, limit) {
                at += part.len();
                assert!(ends.contains(&at), "{limit}: {part}");
            }
        }
    }
}

#[test]
fn other_scripts_have_their_own_stops() {
    ends("यह घर है। | वह ३.५ किलो है॥ | क्या? | हाँ!");
    ends("你好。| 你好吗？| “好！”| 他走了……完。");
    ends("「行こう。」| 「はい！」と彼は言った。| 終わり");
    ends("كيف حالك؟ | أنا بخير. | شكرا! | نعم");
    ends("یہ گھر ہے۔ | وہ آیا۔");
    ends("Ի՞նչ։ | Այո։");
    ends("Τι κάνεις; | Καλά.");
    ends("សួស្តី។| អរគុណ។");
    ends("ሰላም። | እንዴት ነህ፧ | ደህና።");
    ends("你好!| 我是.| 五是３．５");
    ends("他说。| \"好。\"| 再说。");
}

#[test]
fn without_capitals_a_quote_a_bracket_or_a_pause_ends_no_sentence_unless_more_shows_it() {
    for (language, marked) in [
        ("hi", "“रुको!” सिपाही चिल्लाया। | “कौन है?” | “मैं हूँ!” उसने कहा।"),
        ("hi", "गुरु ने पूछा, “समझ गए?” | सब चुप थे। | उसने कहा, “चलो!” और चला गया।"),
        ("zh", "“谁？”守卫问。|“我！”|“进来！”他说：“快！”|门开了。"),
        ("zh", "他买了车（好贵！）又卖了。|（真的吗？）|没人知道……也许吧。"),
        ("ja", "「誰だ？」警備員が叫んだ。|「僕だ！」|「……入れ。」"),
        ("ko", "“누구세요?” 할머니가 물었다. | 글쎄... 모르겠다."),
        ("he", "\"מי שם?\" שאל הזקן. | הוא שאל: \"מי?\" | איש לא ענה."),
        ("de", "Er kam (endlich!) Montag an. | (Wirklich?) | „Ja!“ | Anna lachte."),
        ("en", "It is so... | “Why?” | Tom left (was it late?). | He did (it rained!) Monday."),
    ] {
        ends_in(language, marked);
    }
    let text = "“你要去哪儿呢？”妈妈在门口轻声问他";
    assert_eq!(texts_in("zh", text, 12), ["“你要去哪儿呢？”", "妈妈在门口轻声问他"]);
    assert_eq!(texts_in("zh", "我不知道她在哪儿……也许回家了", 12), ["我不知道她在哪儿……", "也许回家了"]);
    let rules = SentenceRules::of(Some("hi"));
    assert_eq!(rules.joint("“कौन है?” ", "उसने पूछा।"), Joint::Inside);
    assert_eq!(rules.joint("“कौन है?” ", "“मैं हूँ।”"), Joint::End);
}

#[test]
fn the_numbers_of_a_list_begin_a_clause_or_a_sentence() {
    ends_in("zh", "步骤：1. 关机；2. 开盖，3. 换电池。|4. 开机。");
    ends_in("ja", "１．電源を切る。|手順：１．ふたを外す；２．閉める。|以上です。");
    ends_in(
        "en",
        "Do this: 1. wash it, 2. boil it; 3. eat it. | The answer is: 42. | Nobody asked, 7. | Then we left.",
    );
    ends_in("hi", "पहले: १. धोएँ, २. उबालें। | फिर खाएँ।");
}

#[test]
fn sentences_are_packed_as_long_as_they_fit() {
    let text = "One two. Three four. Five six.\n\nSeven.";
    assert_eq!(texts(text, 250), ["One two. Three four. Five six.", "Seven."]);
    assert_eq!(texts(text, 20), ["One two. Three four.", "Five six.", "Seven."]);
    assert_eq!(texts(text, 19), ["One two.", "Three four.", "Five six.", "Seven."]);
    let parts = cut_any(text, 20);
    let shape: Vec<_> = parts.iter().map(|p| (p.paragraph, p.ends_paragraph, p.ends_sentence())).collect();
    assert_eq!(shape, [(0, false, true), (0, true, true), (1, true, true)]);
    let ranges: Vec<_> = parts[0].sentences.iter().map(|s| s.range.clone()).collect();
    assert_eq!(ranges, [0..8, 9..20]);
    assert!(cut_any(" \n\n ", 250).is_empty());
    assert!(!cut_any("* * *", 250)[0].has_words());
}

#[test]
fn a_long_sentence_is_cut_where_it_breathes() {
    assert_eq!(texts("one two, three four five, six seven", 22), ["one two,", "three four five,", "six seven"]);
    assert_eq!(
        texts("at 10:30 or 1,000 men – all of them – went", 20),
        ["at 10:30 or 1,000", "men – all of them –", "went"]
    );
    assert_eq!(texts("one two—three four five", 14), ["one two—", "three four", "five"]);
    assert_eq!(texts("dijo —Hola amigo— y se fue", 12), ["dijo", "—Hola amigo—", "y se fue"]);
    assert_eq!(texts("the pre- and post-war years", 16), ["the pre- and", "post-war years"]);
    assert_eq!(texts("你好你好，我们走吧我们走吧", 8), ["你好你好，", "我们走吧我们走吧"]);
    assert_eq!(texts("Tout va bien ici ! Oui", 16), ["Tout va bien", "ici ! Oui"]);
    let parts = cut_any("Aa bb cc dd. Ee. Ff gg hh ii.", 9);
    assert_eq!(parts.iter().map(|p| p.text.as_str()).collect::<Vec<_>>(), ["Aa bb cc", "dd. Ee.", "Ff gg hh", "ii."]);
    let flags: Vec<Vec<_>> =
        parts.iter().map(|p| p.sentences.iter().map(|s| (s.continued, s.goes_on)).collect()).collect();
    assert_eq!(
        flags,
        [vec![(false, true)], vec![(true, false), (false, false)], vec![(false, true)], vec![(true, false)]]
    );
    assert_eq!(parts.iter().map(Part::ends_sentence).collect::<Vec<_>>(), [false, true, false, true]);
}

#[test]
fn a_long_word_is_cut_between_graphemes() {
    assert_eq!(texts("abcdefgh", 3), ["abc", "def", "gh"]);
    assert_eq!(texts("e\u{301}e\u{301}e\u{301}", 3), ["e\u{301}", "e\u{301}", "e\u{301}"]);
    let family = "👨‍👩‍👧";
    assert_eq!(texts(&family.repeat(3), 12), [family.repeat(2), family.to_owned()]);
    assert_eq!(texts(&"你".repeat(5), 2), ["你你", "你你", "你"]);
    assert_eq!(texts("你你你你。", 4), ["你你你", "你。"], "a part does not begin with a stop");
    let zalgo = format!("z{}", "\u{301}".repeat(300));
    assert_eq!(cut_any(&zalgo, 250).iter().map(Part::chars).collect::<Vec<_>>(), [250, 51]);
}

#[test]
fn a_limit_out_of_range_is_brought_into_it() {
    assert_eq!(cut_any(&"a".repeat(8_600), 10_000)[0].chars(), MAX_PART_CHARS);
    assert_eq!(texts("ab", 0), ["a", "b"]);
}

/// Characters of every script that the API speaks, and difficult ones: marks, joiners, emoji, right to left.
fn character() -> impl Strategy<Value = char> {
    let scripts = [
        ('a', 'z'),
        ('A', 'Z'),
        ('0', '9'),
        ('!', '/'),
        ('\u{a0}', '\u{ff}'),
        ('α', 'ω'),
        ('А', 'я'),
        ('א', 'ת'),
        ('\u{600}', '\u{6ff}'),
        ('\u{900}', '\u{97f}'),
        ('\u{980}', '\u{9ff}'),
        ('\u{a00}', '\u{a7f}'),
        ('\u{b80}', '\u{bff}'),
        ('\u{d00}', '\u{d7f}'),
        ('\u{e00}', '\u{e7f}'),
        ('\u{f00}', '\u{fda}'),
        ('\u{1000}', '\u{109f}'),
        ('\u{1100}', '\u{11ff}'),
        ('\u{1780}', '\u{17ff}'),
        ('\u{300}', '\u{36f}'),
        ('\u{2000}', '\u{206f}'),
        ('\u{3000}', '\u{30ff}'),
        ('\u{4e00}', '\u{4fff}'),
        ('\u{ac00}', '\u{acff}'),
        ('\u{fe00}', '\u{fe0f}'),
        ('\u{ff01}', '\u{ff9f}'),
        ('\u{1f1e6}', '\u{1f1ff}'),
        ('\u{1f300}', '\u{1f64f}'),
        ('\u{e0100}', '\u{e01ef}'),
    ];
    let script = select(scripts.to_vec()).prop_flat_map(|(from, to)| prop::char::range(from, to));
    let marks = select(" \n\t.!?,;:\"'—…。，「」।؟\u{200d}\u{200b}\u{301}".chars().collect::<Vec<_>>());
    prop_oneof![4 => script, 4 => marks, 1 => any::<char>()]
}

fn text() -> impl Strategy<Value = String> {
    let words = vec(prop_oneof!["[a-zA-Z]{1,9}[.,!?]?", "[क-ह]{1,6}।?", "[你-我]{1,9}。?", "👨‍👩‍👧|e\u{301}|🇮🇳"], 0..60)
        .prop_flat_map(|words| {
            vec(select(vec![" ", "", "\n", "  ", "\r\n\r\n", "\n\n"]), words.len()).prop_map(move |gaps| {
                words.iter().zip(gaps).map(|(word, gap)| format!("{word}{gap}")).collect::<String>()
            })
        });
    prop_oneof![vec(character(), 0..300).prop_map(String::from_iter), words]
}

fn without_space<'t>(texts: impl IntoIterator<Item = &'t str>) -> String {
    texts.into_iter().flat_map(str::chars).filter(|c| !c.is_whitespace()).collect()
}

fn of_paragraph(parts: &[Part], number: u32) -> Vec<&str> {
    parts.iter().filter(|part| part.paragraph == number).map(|part| part.text.as_str()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_lost_and_parts_are_whole(text in text(), limit in 1usize..60) {
        let parts = cut_any(&text, limit);
        prop_assert_eq!(without_space(parts.iter().map(|p| p.text.as_str())), without_space([text.as_str()]));
        prop_assert!(parts.is_sorted_by_key(|p| p.paragraph));
        for (i, part) in parts.iter().enumerate() {
            prop_assert!((1..=limit).contains(&part.chars()), "{:?}", part.text);
            prop_assert_eq!(part.text.trim(), part.text.as_str());
            prop_assert_eq!(flat(&part.text), part.text.as_str());
            let last = parts.get(i + 1).is_none_or(|next| next.paragraph != part.paragraph);
            prop_assert_eq!(part.ends_paragraph, last);
            prop_assert!(!last || part.ends_sentence());
        }
    }

    #[test]
    fn sentences_cover_their_part(text in text(), limit in 1usize..60) {
        let parts = cut_any(&text, limit);
        let mut goes_on = false;
        for part in &parts {
            let said = part.sentences.iter().map(|s| &part.text[s.range.clone()]);
            prop_assert_eq!(without_space(said), without_space([part.text.as_str()]));
            prop_assert_eq!((part.sentences[0].range.start, part.sentences.last().unwrap().range.end), (0, part.text.len()));
            for sentence in &part.sentences {
                prop_assert_eq!(sentence.continued, goes_on);
                prop_assert!(!sentence.range.is_empty());
                goes_on = sentence.goes_on;
            }
        }
    }

    #[test]
    fn no_grapheme_is_cut(text in text()) {
        for paragraph in paragraphs(&text) {
            let line = flat(paragraph);
            // A piece that is too long for a part, and marks on a space, which cannot begin a part, cannot stay whole.
            if line.graphemes(true).any(|g| g.chars().count() > 20 || g.starts_with(' ') && g.len() > 1) {
                continue;
            }
            let starts: Vec<_> = line.grapheme_indices(true).map(|(at, _)| at).collect();
            let mut at = 0;
            for part in cut_paragraph(paragraph, 0, 30, all()) {
                at += line[at..].len() - line[at..].trim_start().len();
                prop_assert!(starts.contains(&at), "{:?} in {:?}", part.text, line);
                at += part.text.len();
            }
        }
    }

    #[test]
    fn an_edit_touches_no_other_paragraph(a in text(), b in text(), c in text(), limit in 1usize..60) {
        let join = |middle: &str| format!("One: {}\n\n{middle}\n\nThree: {}", flat(&a), flat(&c));
        let (before, after) = (cut_any(&join(&flat(&b)), limit), cut_any(&join("Another one. Or two."), limit));
        prop_assert_eq!(of_paragraph(&before, 0), of_paragraph(&after, 0));
        let last = |parts: &[Part]| parts.last().map_or(0, |p| p.paragraph);
        prop_assert_eq!(of_paragraph(&before, last(&before)), of_paragraph(&after, last(&after)));
    }

    #[test]
    fn wrapping_changes_nothing(words in vec("[a-zA-Zक-ह]{1,9}[.,!?]?", 1..80), gaps in vec(select(vec![" ", "\n", "\r\n  "]), 80), limit in 1usize..60) {
        let wrapped: String = words.iter().zip(gaps).flat_map(|(word, gap)| [word.as_str(), gap]).collect();
        prop_assert_eq!(cut_any(&wrapped, limit), cut_any(&words.join(" "), limit));
    }
}
