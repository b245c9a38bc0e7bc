//! What the targets share: a folder that one process reads its inputs from, and an allocator that lets no header claim
//! gigabytes.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    fs,
    path::{Path, PathBuf},
    process,
    sync::OnceLock,
};

/// The most that one allocation may ask for, in bytes. What is read whole is 64 MB (an answer); inputs here are smaller.
const MOST: usize = 80 << 20;

struct Bounded;

#[global_allocator]
static BOUNDED: Bounded = Bounded;

// SAFETY: all of it is the system's allocator; what is too much ends the process, which libFuzzer reports.
unsafe impl GlobalAlloc for Bounded {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        bounded(layout.size());
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        bounded(layout.size());
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        bounded(size);
        unsafe { System.realloc(at, layout, size) }
    }
}

fn bounded(size: usize) {
    if size > MOST {
        eprintln!("an allocation of {size} bytes");
        process::abort();
    }
}

/// The folder of this process.
pub fn folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let memory = Path::new("/dev/shm");
        let root = if memory.is_dir() { memory.to_path_buf() } else { std::env::temp_dir() };
        let folder = root.join(format!("wavebatch-fuzz-{}", process::id()));
        fs::create_dir_all(&folder).expect("the folder can be made");
        folder
    })
}
