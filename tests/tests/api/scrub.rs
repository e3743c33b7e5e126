//! The scrub on real files: found by itself, with threads or without, and without a trace in the
//! page cache.

use std::fs;
use std::io::IoSliceMut;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ringlog::{Engine, Flush, Offset, Options, Record, Start};
use rustix::fs::{Advice, fadvise};
use rustix::io::{Errno, ReadWriteFlags, preadv2};

use super::{DEADLINE, append_numbered, on_each, partition, small, value};

const LEN: usize = 1000;
const N: usize = 200;

/// The first segment, sealed long ago, with one bit of its third value flipped, and not cached.
fn rotten(options: &Options, dir: &Path) -> PathBuf {
    let engine = options.clone().open(dir).unwrap();
    append_numbered(&partition(&engine, "t", Flush::Sync), 0..N, LEN);
    engine.close(DEADLINE).unwrap();
    let path = dir.join("log-001/0000000000000000.log");
    let mut bytes = fs::read(&path).unwrap();
    let is = value(3, LEN);
    let at = bytes.windows(LEN).position(|window| window == is).unwrap();
    bytes[at + LEN / 2] ^= 4;
    fs::write(&path, bytes).unwrap();
    let file = fs::File::open(&path).unwrap();
    file.sync_all().unwrap();
    fadvise(&file, 0, None, Advice::DontNeed).unwrap();
    path
}

/// Whether the page cache has this page of a file.
fn is_cached(path: &Path, page: u64) -> bool {
    let file = fs::File::open(path).unwrap();
    let mut byte = [0];
    let read =
        preadv2(&file, &mut [IoSliceMut::new(&mut byte)], page * 4096, ReadWriteFlags::NOWAIT);
    match read {
        Ok(_) => true,
        Err(Errno::AGAIN) => false,
        Err(errno) => panic!("{errno}"),
    }
}

fn wait(engine: &Engine, turns: bool) {
    let started = Instant::now();
    while engine.metrics().logs[1].scrub.passes == 0 {
        assert!(started.elapsed() < DEADLINE, "{:?}", engine.metrics().logs[1].scrub);
        if turns {
            engine.run_once(0, Duration::from_millis(50)).unwrap();
        } else {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

#[test]
fn rot_in_a_real_file_is_told_and_the_page_cache_left_alone() {
    for turns in [false, true] {
        on_each(&small().caller_driven(turns), |options, dir| {
            let path = rotten(options, dir);
            let before = fs::read(&path).unwrap();
            let file = fs::File::open(&path).unwrap();
            fadvise(&file, 0, None, Advice::DontNeed).unwrap();
            let told = Arc::new(Mutex::new(Vec::new()));
            let ear = Arc::clone(&told);
            let options = options.clone().scrub(64 << 20, Duration::from_secs(3600)).on_event(
                Arc::new(move |event| {
                    if event.name == "damaged" {
                        ear.lock().unwrap().push(event.field("path").unwrap().to_string());
                    }
                }),
            );
            let engine = options.open(dir).unwrap();
            wait(&engine, turns);
            assert_eq!(*told.lock().unwrap(), [path.display().to_string()]);
            let scrub = engine.metrics().logs[1].scrub.clone();
            assert!(scrub.damaged_places == 1 && scrub.bytes > 64 << 10, "{scrub:?}");
            assert!(scrub.completed_ms.is_some_and(|at| at > 1_600_000_000_000), "{scrub:?}");
            if engine.capabilities().direct_io {
                let cached: Vec<u64> = (0..16).filter(|page| is_cached(&path, *page)).collect();
                assert_eq!(cached, [0; 0], "pages of a segment that nobody has read");
            }
            let partition = partition(&engine, "t", Flush::Sync);
            assert_eq!(partition.append(Record::new(b"more")).unwrap(), Offset(N as u64));
            let mut reader = partition.reader(Start::Offset(Offset(4))).unwrap().records();
            assert_eq!(reader.next().unwrap().unwrap().value.unwrap(), value(4, LEN));
            engine.close(DEADLINE).unwrap();
            assert!(fs::read(&path).unwrap() == before);
        });
    }
}
