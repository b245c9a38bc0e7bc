//! Links between pages: their files and their anchors exist.

use std::{collections::BTreeMap, fs, path::Path};

use super::{Document, Piece, documents, root};

/// The anchors of a page, as GitHub and mdBook make them from its headings, and those that it names itself.
fn anchors(page: &Document) -> Vec<String> {
    let (mut anchors, mut seen) = (Vec::new(), BTreeMap::new());
    for piece in page.pieces() {
        let Piece::Heading(heading) = piece else { continue };
        let is_kept = |c: &char| c.is_alphanumeric() || matches!(c, '-' | '_' | ' ');
        let slug = heading.trim().to_lowercase().chars().filter(is_kept).collect::<String>().replace(' ', "-");
        let nth = seen.entry(slug.clone()).and_modify(|nth| *nth += 1).or_insert(0);
        anchors.push(if *nth == 0 { slug } else { format!("{slug}-{nth}") });
    }
    let named = page.text.split("<a id=\"").skip(1).filter_map(|rest| rest.split('"').next());
    anchors.extend(named.map(str::to_owned));
    anchors
}

/// What is wrong with a link, if anything is.
fn fault(page: &Document, link: &str, pages: &[Document]) -> Option<String> {
    if link.contains("://") || link.starts_with("mailto:") {
        return None;
    }
    let (file, anchor) = link.split_once('#').map_or((link, None), |(file, anchor)| (file, Some(anchor)));
    let target = match file {
        "" => page.path.clone(),
        _ => page.path.parent().unwrap().join(file),
    };
    let Ok(target) = fs::canonicalize(&target) else { return Some("there is no such file".to_owned()) };
    let anchor = anchor?;
    let other = pages.iter().find(|other| fs::canonicalize(&other.path).is_ok_and(|path| path == target));
    let read = || Document { path: target.clone(), text: fs::read_to_string(&target).unwrap_or_default() };
    let known = other.map_or_else(|| anchors(&read()), anchors);
    (!known.iter().any(|known| known == anchor)).then(|| format!("there is no such heading; known: {known:?}"))
}

#[test]
fn links_between_pages_resolve() {
    let pages = documents();
    let (mut wrong, mut checked) = (Vec::new(), 0);
    for page in &pages {
        for (line, piece) in page.pieces_with_lines() {
            let Piece::Link(link) = piece else { continue };
            checked += 1;
            wrong.extend(fault(page, &link, &pages).map(|fault| format!("{}:{line}: `{link}`: {fault}", page.name())));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    assert!(checked > 20, "{checked}");
}

#[test]
fn a_wrong_link_is_found() {
    let page = |text: &str| Document { path: root().join("docs/x.md"), text: text.to_owned() };
    let own = page("# A title, with `code`\n\n## Twice\n\n## Twice\n");
    assert_eq!(anchors(&own), ["a-title-with-code", "twice", "twice-1"]);
    for (link, is_right) in [
        ("#twice-1", true),
        ("#twice-2", false),
        ("../README.md", true),
        ("../READYOU.md", false),
        ("reference/cli.md#everywhere", true),
        ("reference/cli.md#nowhere", false),
        ("https://example.com/#x", true),
    ] {
        let own = Document { path: root().join("docs/reference/../x.md"), text: own.text.clone() };
        let pages = documents();
        let fault = if link.starts_with("#twice") {
            let anchor = &link[1..];
            (!anchors(&own).iter().any(|known| known == anchor)).then(String::new)
        } else {
            fault(&own, link, &pages)
        };
        assert_eq!(fault.is_none(), is_right, "{link}");
    }
}

#[test]
fn every_page_is_in_the_books_summary() {
    let summary = root().join("docs/SUMMARY.md");
    let listed = Document { text: fs::read_to_string(&summary).unwrap(), path: summary.clone() };
    let links = listed.pieces().into_iter().filter_map(|piece| match piece {
        Piece::Link(link) => fs::canonicalize(summary.parent().unwrap_or(Path::new("")).join(link)).ok(),
        _ => None,
    });
    let links: Vec<_> = links.collect();
    for page in documents().iter().filter(|page| page.path != summary && page.path.starts_with(root().join("docs"))) {
        assert!(links.contains(&fs::canonicalize(&page.path).unwrap()), "{} is not in SUMMARY.md", page.name());
    }
}
