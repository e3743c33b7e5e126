//! A file in memory, for the way of sending that maps it.

use std::fs::File;

use memmap2::Mmap;

use crate::error::{Context, Result};

/// Maps a whole file for reading.
pub fn map(file: &File) -> Result<Mmap> {
    // SAFETY: a scratch file of this process, which nobody changes or cuts while it is mapped.
    #[expect(unsafe_code, reason = "memmap2 cannot know that nobody changes the file")]
    unsafe { Mmap::map(file) }.context("mapping the file")
}
