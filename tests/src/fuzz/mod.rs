//! The fuzz targets: one function for each kind of bytes that come from outside, and two for whole
//! lives. Each takes any bytes and panics where a promise is broken, which is more than that
//! nothing panics: what is taken encodes to the bytes it was taken from, two ways to the same
//! question give the same answer, and what is refused costs no more than its limit.
//!
//! A fuzzer cannot guess checksums, so most targets look at their input twice: as it is, and with
//! the checksums made right, which is what an attacker or a bug of ours would leave.
//!
//! `tests/fuzz` holds what runs these under libFuzzer; `tests/tests/corpus.rs` replays what it has
//! found, without a fuzzer.

mod batches;
mod directory;
mod headers;
mod life;
mod lines;
mod ring;
pub mod seeds;
mod tables;

/// Takes any bytes; panics where a promise is broken.
pub type Target = fn(&[u8]);

/// Every target, by the name of its corpus. (`c_options` is the C library's own.)
pub const TARGETS: &[(&str, Target)] = &[
    ("group", headers::group),
    ("frame", headers::frame),
    ("segment_header", headers::segment_header),
    ("engine_meta", headers::engine_meta),
    ("index", tables::index),
    ("checkpoint", tables::checkpoint),
    ("catalog", tables::catalog),
    ("ring", ring::ring),
    ("batch", batches::batch),
    ("gzip", batches::gzip),
    ("snappy", batches::snappy),
    ("lz4", batches::lz4),
    ("zstd", batches::zstd),
    ("lines", lines::lines),
    ("directory", directory::directory),
    ("life", life::life),
];

/// The target of this name.
///
/// # Panics
/// If there is none.
pub fn target(name: &str) -> Target {
    let found = TARGETS.iter().find(|(known, _)| *known == name);
    found.unwrap_or_else(|| panic!("no target is called {name}")).1
}

/// `N` bytes at `at`, if they are there.
fn at<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

/// Puts a checksum there, if there is a place for it.
fn put_checksum(bytes: &mut [u8], at: usize, checksum: u32) {
    if let Some(place) = bytes.get_mut(at..at + 4) {
        place.copy_from_slice(&checksum.to_le_bytes());
    }
}

/// Makes the checksum at `at` that of what follows from `from` on, up to `to`.
fn repair(bytes: &mut [u8], at: usize, from: usize, to: usize) {
    if let Some(covered) = bytes.get(from..to) {
        let checksum = crc32c::crc32c(covered);
        put_checksum(bytes, at, checksum);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_are_unique() {
        let names: std::collections::BTreeSet<_> = TARGETS.iter().map(|(name, _)| name).collect();
        assert_eq!(names.len(), TARGETS.len());
    }
}
