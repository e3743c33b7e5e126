//! Every fuzz target over its corpus, and over many small damages of each input, without a fuzzer:
//! what was once found stays found. See `ringlog_tests::fuzz`.
//!
//! `RINGLOG_BLESS=1` writes the seeds of the corpora anew.
#![allow(clippy::unwrap_used, reason = "a failed unwrap here is a failed test")]

use std::collections::BTreeSet;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};

use ringlog_tests::dice::Dice;
use ringlog_tests::fuzz::{TARGETS, seeds, target};

fn corpus(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target)
}

fn inputs(target: &str) -> Vec<(String, Vec<u8>)> {
    let mut inputs = Vec::new();
    for entry in fs::read_dir(corpus(target)).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        inputs.push((name, fs::read(path).unwrap()));
    }
    inputs.sort();
    inputs
}

/// Small damages, the same at each run.
fn damaged(bytes: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..dice.within(1, 4) {
        let at = dice.below(bytes.len() as u64 + 1) as usize;
        match dice.below(5) {
            0 => bytes.truncate(at),
            1 => bytes.insert(at, dice.word() as u8),
            2 if at < bytes.len() => bytes[at] = dice.pick(&[0, 1, 0x7f, 0x80, 0xff]),
            3 if at < bytes.len() => drop(bytes.remove(at)),
            _ if at < bytes.len() => bytes[at] ^= 1 << dice.below(8),
            _ => {}
        }
    }
    bytes
}

fn replay(name: &str, damages: u32) {
    let target = target(name);
    let inputs = inputs(name);
    assert!(!inputs.is_empty(), "no inputs");
    for (input, bytes) in inputs {
        let mut dice = Dice::new(bytes.len() as u64);
        for damage in 0..=damages {
            let bytes = if damage == 0 { bytes.clone() } else { damaged(&bytes, &mut dice) };
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| target(&bytes))) {
                let left = std::env::temp_dir().join(format!("ringlog-{name}-{input}-{damage}"));
                let written = fs::write(&left, &bytes);
                println!("{input}, damage {damage}: kept in {} {written:?}", left.display());
                resume_unwind(panic);
            }
        }
    }
}

macro_rules! replay {
    ($($name:ident $damages:literal)*) => {
        $(#[test]
        fn $name() {
            replay(stringify!($name), $damages);
        })*

        const REPLAYED: &[&str] = &[$(stringify!($name)),*];
    };
}

replay! {
    group 300
    frame 300
    segment_header 300
    engine_meta 300
    index 300
    checkpoint 300
    catalog 300
    ring 50
    batch 200
    gzip 300
    snappy 300
    lz4 300
    zstd 300
    lines 300
    directory 5
    life 5
}

#[test]
fn every_target_is_replayed_and_every_corpus_has_a_target() {
    let targets: BTreeSet<&str> = TARGETS.iter().map(|(name, _)| *name).collect();
    assert_eq!(targets, REPLAYED.iter().copied().collect());
    let dir = corpus("");
    let corpora: BTreeSet<String> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != "c_options")
        .collect();
    assert_eq!(targets, corpora.iter().map(String::as_str).collect());
}

#[test]
fn the_seeds_are_of_this_format() {
    let bless = std::env::var_os("RINGLOG_BLESS").is_some();
    for (target, name, bytes) in seeds::seeds() {
        let path = corpus(target).join(&name);
        if bless {
            fs::create_dir_all(corpus(target)).unwrap();
            fs::write(&path, &bytes).unwrap();
        }
        assert!(fs::read(&path).unwrap() == bytes, "{target}/{name} is another's");
    }
}
