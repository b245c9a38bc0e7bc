//! Pages of a file of SQLite keep what is not theirs: when a page is split, rows move to another page, and copies of them stay
//! in the part of the old page that holds nothing. `secure_delete` overwrites what is deleted, and not those. Rewriting the
//! whole file would remove them, and hold the write lock for as long. So the unused parts of pages are overwritten here.
//!
//! The file may be written beside SQLite while the write lock is held and the write-ahead log is empty: then all content is in
//! the file, and nobody can change it or bring anything in. What is overwritten is no content, so it does not matter when a
//! reader sees it, or that a crash leaves some of it. A commit at the end makes other connections drop the pages that they have
//! in memory, so that none of them writes an old copy.

use std::{
    collections::{HashMap, hash_map::Entry},
    fs::File,
    io,
    os::unix::fs::FileExt,
    path::Path,
};

/// The header of the file.
const FILE_HEADER: usize = 100;
/// The bytes of a page-map entry.
const MAP_ENTRY: usize = 5;
/// The byte that SQLite locks; its page is never used.
const PENDING_BYTE: u64 = 0x4000_0000;

/// The layout of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) struct Layout {
    page_size: usize,
    /// The part of a page that SQLite uses.
    usable: usize,
}

impl Layout {
    /// Reads the header. `None`: the file has no map of its pages, so it is not known what they are.
    pub(in crate::store) fn of(file: &File) -> io::Result<Option<Self>> {
        let mut header = [0; FILE_HEADER];
        file.read_exact_at(&mut header, 0)?;
        let page_size = match u16::from_be_bytes([header[16], header[17]]) {
            1 => 65_536,
            size => usize::from(size),
        };
        let has_map = header[52..56] != [0; 4];
        let is_sane = header.starts_with(b"SQLite format 3\0") && page_size.is_power_of_two() && page_size >= 512;
        let usable = page_size - usize::from(header[20]);
        Ok((is_sane && has_map).then_some(Self { page_size, usable }))
    }

    /// The page with the map entry of a page.
    fn map_page(self, page: u64) -> u64 {
        let a_map = (self.usable / MAP_ENTRY + 1) as u64;
        let map = (page - 2) / a_map * a_map + 2;
        if map == self.pending_page() { map + 1 } else { map }
    }

    fn pending_page(self) -> u64 {
        PENDING_BYTE / self.page_size as u64 + 1
    }

    fn read(self, file: &File, page: u64) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; self.page_size];
        file.read_exact_at(&mut bytes, self.offset(page))?;
        Ok(bytes)
    }

    const fn offset(self, page: u64) -> u64 {
        (page - 1) * self.page_size as u64
    }
}

/// What the map says that pages are.
#[derive(Debug, Default)]
struct PageMap {
    maps: HashMap<u64, Vec<u8>>,
}

impl PageMap {
    /// Whether a page holds rows of a table or an index.
    fn is_tree(&mut self, file: &File, layout: Layout, page: u64) -> io::Result<bool> {
        const ROOT: u8 = 1;
        const BRANCH: u8 = 5;
        if page == 1 {
            return Ok(true);
        }
        let map = layout.map_page(page);
        if page == map || page == layout.pending_page() {
            return Ok(false);
        }
        let kinds = match self.maps.entry(map) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(unknown) => unknown.insert(layout.read(file, map)?),
        };
        let at = usize::try_from(page - map - 1).unwrap_or(usize::MAX).saturating_mul(MAP_ENTRY);
        Ok(kinds.get(at).is_some_and(|kind| matches!(*kind, ROOT | BRANCH)))
    }
}

fn u16_at(page: &[u8], at: usize) -> Option<usize> {
    Some(usize::from(u16::from_be_bytes([*page.get(at)?, *page.get(at + 1)?])))
}

/// The parts of a page that hold nothing: between the addresses of its cells and the cells, and in free blocks. `None`: it is no
/// such page.
fn unused_parts(page: &[u8], is_first: bool, usable: usize) -> Option<Vec<(usize, usize)>> {
    let header = if is_first { FILE_HEADER } else { 0 };
    let length = match page.get(header)? {
        2 | 5 => 12,
        10 | 13 => 8,
        _ => return None,
    };
    let cells = u16_at(page, header + 3)?;
    let content = match u16_at(page, header + 5)? {
        0 => 65_536,
        start => start,
    };
    let addresses_end = header + length + 2 * cells;
    if addresses_end > content || content > usable {
        return None;
    }
    let mut parts = vec![(addresses_end, content)];
    let mut block = u16_at(page, header + 1)?;
    while block != 0 {
        let (next, size) = (u16_at(page, block)?, u16_at(page, block + 2)?);
        // Free blocks stand behind each other, in order, within the content.
        if block < content || size < 4 || block + size > usable || (next != 0 && next < block + size) {
            return None;
        }
        parts.push((block + 4, block + size));
        block = next;
    }
    Some(parts)
}

/// Overwrites the unused parts of a page. Returns whether something was there.
fn clear(page: &mut [u8], is_first: bool, usable: usize) -> bool {
    let mut dirty = false;
    for (from, to) in unused_parts(page, is_first, usable).unwrap_or_default() {
        let part = &mut page[from..to];
        if part.iter().any(|byte| *byte != 0) {
            part.fill(0);
            dirty = true;
        }
    }
    dirty
}

/// The pages whose unused parts hold something, as they are in the file now. It changes meanwhile, so this is a hint.
pub(in crate::store) fn dirty_pages(path: &Path, file: &File) -> io::Result<Option<Vec<u64>>> {
    let Some(layout) = Layout::of(file)? else { return Ok(None) };
    let pages = file.metadata()?.len() / layout.page_size as u64;
    let (mut map, mut dirty) = (PageMap::default(), Vec::new());
    for page in 1..=pages {
        // The file may become shorter.
        let read = (|| -> io::Result<bool> {
            Ok(map.is_tree(file, layout, page)? && clear(&mut layout.read(file, page)?, page == 1, layout.usable))
        })();
        match read {
            Ok(true) => dirty.push(page),
            Ok(false) => {}
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => break,
            Err(e) => return Err(io::Error::new(e.kind(), format!("{}: {e}", path.display()))),
        }
    }
    Ok(Some(dirty))
}

/// Overwrites the unused parts of these pages. The caller holds the write lock, and the write-ahead log is empty.
pub(in crate::store) fn clear_pages(file: &File, pages: &[u64]) -> io::Result<u64> {
    let Some(layout) = Layout::of(file)? else { return Ok(0) };
    let last = file.metadata()?.len() / layout.page_size as u64;
    let (mut map, mut cleared) = (PageMap::default(), 0);
    for page in pages.iter().copied().filter(|page| *page <= last) {
        if !map.is_tree(file, layout, page)? {
            continue;
        }
        let mut bytes = layout.read(file, page)?;
        if clear(&mut bytes, page == 1, layout.usable) {
            // Only what holds nothing is written: not one byte of content is touched.
            for (from, to) in unused_parts(&bytes, page == 1, layout.usable).unwrap_or_default() {
                file.write_all_at(&bytes[from..to], layout.offset(page) + from as u64)?;
            }
            cleared += 1;
        }
    }
    file.sync_data()?;
    Ok(cleared)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A leaf of a table with two cells, a free block between them, and old bytes in the unused part.
    fn leaf() -> Vec<u8> {
        let mut page = vec![0; 512];
        page[0] = 13;
        page[1..3].copy_from_slice(&490_u16.to_be_bytes());
        page[3..5].copy_from_slice(&2_u16.to_be_bytes());
        page[5..7].copy_from_slice(&480_u16.to_be_bytes());
        page[100..110].copy_from_slice(b"old secret");
        page[480..490].copy_from_slice(b"first cell");
        page[490..494].copy_from_slice(&[0, 0, 0, 12]);
        page[494..502].copy_from_slice(b"freedcel");
        page[502..512].copy_from_slice(b"other cell");
        page
    }

    #[test]
    fn only_what_holds_nothing_is_overwritten() {
        let mut page = leaf();
        assert_eq!(unused_parts(&page, false, 512), Some(vec![(12, 480), (494, 502)]));
        assert!(clear(&mut page, false, 512));
        assert!(!clear(&mut page, false, 512), "once is enough");
        assert_eq!(&page[480..490], b"first cell");
        assert_eq!(&page[490..494], &[0, 0, 0, 12], "the chain of free blocks stays");
        assert_eq!(&page[502..512], b"other cell");
        assert!(page[12..480].iter().chain(&page[494..502]).all(|byte| *byte == 0));
    }

    #[test]
    fn a_page_that_is_odd_is_left_alone() {
        let odd = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut page = leaf();
            change(&mut page);
            let before = page.clone();
            assert!(!clear(&mut page, false, 512) && page == before);
        };
        odd(&|page| page[0] = 7);
        odd(&|page| page[3..5].copy_from_slice(&300_u16.to_be_bytes()));
        odd(&|page| page[5..7].copy_from_slice(&600_u16.to_be_bytes()));
        odd(&|page| page[490..492].copy_from_slice(&490_u16.to_be_bytes()));
        odd(&|page| page[492..494].copy_from_slice(&100_u16.to_be_bytes()));
    }

    #[test]
    fn the_map_of_pages_is_where_sqlite_has_it() {
        let layout = Layout { page_size: 4_096, usable: 4_096 };
        assert_eq!([3, 4, 820].map(|page| layout.map_page(page)), [2, 2, 2]);
        assert_eq!([821, 822, 823, 1_641, 1_642].map(|page| layout.map_page(page)), [2, 822, 822, 822, 1_642]);
    }
}
