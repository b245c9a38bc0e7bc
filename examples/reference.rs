//! Writes the reference pages of the book, `docs/reference/*.md`, from the code.

use std::{fs, io, path::Path};

use wavebatch::{cli::reference::pages, tasks::Registry};

fn main() -> io::Result<()> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reference");
    fs::create_dir_all(&dir)?;
    for page in pages(&Registry::built_in()) {
        fs::write(dir.join(page.file), page.text)?;
    }
    Ok(())
}
