//! Files and rings on the filesystem of the temporary directory.

use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;
use tempfile::TempDir;

fn open(dir: &TempDir) -> OsDisk {
    OsDisk::open(&dir.path().join("a/b"), true).unwrap()
}

#[test]
fn what_is_written_at_any_alignment_reads_back() {
    let dir = TempDir::new().unwrap();
    let disk = open(&dir);
    disk.create_dir("log-000").unwrap();
    disk.create_dir("log-000").unwrap();
    let file = disk.open("log-000/x.log", OpenMode::Create).unwrap();
    file.allocate(64 << 10).unwrap();
    assert_eq!(file.len_bytes().unwrap(), 64 << 10);
    let mut block = crate::buf::AlignedBuf::zeroed(8192);
    block.as_mut_slice().fill(7);
    // Buffered, direct over it, buffered over that: the last one counts, byte by byte.
    file.write_at(&[1; 5000], 4000).unwrap();
    file.write_at(block.as_slice(), 4096).unwrap();
    file.write_at(&[9; 10], 5000).unwrap();
    file.sync().unwrap();
    let mut read = vec![0; 16384];
    assert_eq!(file.read_at(&mut read, 0).unwrap(), 16384);
    assert!(read[..4000].iter().all(|byte| *byte == 0));
    assert!(read[4000..4096].iter().all(|byte| *byte == 1));
    assert!(read[4096..5000].iter().all(|byte| *byte == 7));
    assert!(read[5000..5010].iter().all(|byte| *byte == 9));
    assert!(read[5010..12288].iter().all(|byte| *byte == 7));
    assert_eq!(file.read_at(&mut read, (64 << 10) - 100).unwrap(), 100);
    assert_eq!(file.link_count().unwrap(), 1);
}

#[test]
fn names_are_listed_renamed_and_removed() {
    let dir = TempDir::new().unwrap();
    let disk = open(&dir);
    disk.create_dir("log-000").unwrap();
    let file = disk.open("b", OpenMode::Create).unwrap();
    file.write_at(b"abc", 0).unwrap();
    disk.rename("b", "log-000/c").unwrap();
    disk.open("a", OpenMode::Create).unwrap();
    disk.sync_dir("").unwrap();
    disk.sync_dir("log-000").unwrap();
    let names = |dir| disk.list(dir).unwrap().into_iter().map(|e| (e.name, e.len_bytes, e.is_dir));
    assert!(names("").eq([("a".to_owned(), 0, false), ("log-000".to_owned(), 0, true)]));
    assert!(names("log-000").eq([("c".to_owned(), 3, false)]));
    disk.remove("a").unwrap();
    assert_eq!(disk.remove("a").unwrap_err().kind(), io::ErrorKind::NotFound);
    let exists = disk.open("log-000/c", OpenMode::Create).unwrap_err();
    assert_eq!(exists.kind(), io::ErrorKind::AlreadyExists);
}

#[test]
fn modes_are_private_and_links_and_ways_out_are_refused() {
    let dir = TempDir::new().unwrap();
    let disk = open(&dir);
    disk.open("a", OpenMode::Create).unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&dir.path().join("a")), 0o700);
    assert_eq!(mode(disk.root()), 0o700);
    assert_eq!(mode(&disk.root().join("a")), 0o600);
    symlink("a", disk.root().join("link")).unwrap();
    symlink("/", disk.root().join("slash")).unwrap();
    for (path, mode) in [
        ("link", OpenMode::Read),
        ("link", OpenMode::Write),
        ("slash/etc/passwd", OpenMode::Read),
        ("../a/b/a", OpenMode::Read),
        ("", OpenMode::Read),
        ("a/", OpenMode::Read),
    ] {
        assert!(disk.open(path, mode).is_err(), "{path:?} {mode:?}");
    }
    let missing = OsDisk::open(&dir.path().join("none"), false).unwrap_err();
    assert!(matches!(missing, Error::Io { .. }), "{missing}");
    let file = OsDisk::open(&disk.root().join("a"), false).unwrap_err();
    assert!(matches!(file, Error::NotADataDirectory { .. }), "{file}");
}

#[test]
fn a_ring_keeps_its_bytes_over_a_new_mapping() {
    let dir = TempDir::new().unwrap();
    let disk = open(&dir);
    assert!(disk.open_ring("ring").unwrap().is_none());
    let ring = disk.create_ring("ring", RING_BYTES_MIN).unwrap();
    ring.store(0, b"12345678");
    drop(ring);
    let ring = disk.open_ring("ring").unwrap().unwrap();
    let mut read = [0; 8];
    ring.load(0, &mut read);
    assert_eq!(&read, b"12345678");
    assert_eq!(disk.list("").unwrap().len(), 1, "no temporary file left");
    // A replacement is a new inode; the old mapping stays whole.
    disk.create_ring("ring", RING_BYTES_MIN * 2).unwrap();
    ring.load(0, &mut read);
    assert_eq!(&read, b"12345678");
}

#[test]
fn a_ring_of_a_wrong_length_is_refused_and_holes_are_filled() {
    let dir = TempDir::new().unwrap();
    let disk = open(&dir);
    for len in [0, 4096, 12_288, 65_536] {
        std::fs::write(disk.root().join("ring"), vec![0; len]).unwrap();
        let error = disk.open_ring("ring").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{len}");
    }
    let total = (RING_BYTES_MIN + RING_CONTROL_BYTES) as u64;
    let sparse = std::fs::File::create(disk.root().join("ring")).unwrap();
    sparse.set_len(total).unwrap();
    disk.open_ring("ring").unwrap().unwrap();
    let stat = rustix::fs::fstat(&sparse).unwrap();
    assert!(stat.st_blocks as u64 * 512 >= total);
}

#[test]
fn memory_is_recognised_as_volatile() {
    let Ok(dir) = TempDir::new_in("/dev/shm") else { return };
    let disk = OsDisk::open(dir.path(), false).unwrap();
    if disk.facts().filesystem == "tmpfs" {
        assert!(disk.facts().volatile.is_some());
        assert!(disk.facts().no_file_ring.is_none());
    }
}
