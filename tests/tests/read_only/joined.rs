//! Single records that join one batch, and who reads them from elsewhere.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use ringlog::raw::{Disk, OsDisk};
use ringlog::{Batch, Flush, Partition, Start};

use super::{
    BACKENDS, DEADLINE, append, earliest, eventually, partition, read_up_to, reading, small, spec,
};

const DIR: &str = "RINGLOG_JOINED_DIR";
const ACCEPTED: u64 = 50;

fn batches(partition: &Partition) -> Vec<usize> {
    let reader = partition.reader(Start::Earliest).unwrap();
    reader.map(Result::unwrap).map(|batch: Batch| batch.len()).collect()
}

#[test]
fn what_is_followed_is_not_joined() {
    let class = Flush::Async;
    for backend in BACKENDS {
        let dir = tempfile::tempdir().unwrap();
        let options = small().backend(backend).async_window(1 << 20, DEADLINE);
        let writer = options.clone().open(dir.path()).unwrap();
        let topic = writer.create_topic(spec(class)).unwrap().partition(0).unwrap();
        append(&topic, 0..5);
        // What has been joined is whole for whoever comes: at once, or when the group is closed.
        let engine = reading(dir.path());
        let mut reader = earliest(&partition(&engine, class));
        read_up_to(&mut reader, 5);
        append(&topic, 5..10);
        read_up_to(&mut reader, 10);
        assert_eq!(batches(&topic), [5, 1, 1, 1, 1, 1]);
        assert_eq!(batches(&partition(&engine, class)), [5, 1, 1, 1, 1, 1]);
        drop((reader, engine, topic, writer));
        // A writer that opens alone joins again.
        let writer = options.clone().open(dir.path()).unwrap();
        let topic = partition(&writer, class);
        append(&topic, 10..15);
        assert_eq!(batches(&topic)[6..], [5]);
    }
}

/// In the child: accepts some and waits to be killed.
#[test]
fn entry_of_the_writer() {
    let Some(dir) = std::env::var_os(DIR) else { return };
    let options = small().async_window(1 << 20, DEADLINE);
    let engine = options.open(PathBuf::from(dir)).unwrap();
    let topic = engine.create_topic(spec(Flush::Async)).unwrap().partition(0).unwrap();
    append(&topic, 0..ACCEPTED);
    println!("accepted");
    std::thread::park();
    drop(topic);
}

#[test]
fn what_a_killed_writer_joined_is_seen_with_and_without_the_next_one() {
    let class = Flush::Async;
    for _ in 0..5 {
        let dir = tempfile::tempdir().unwrap();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["joined::entry_of_the_writer", "--exact", "--nocapture"])
            .env(DIR, dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        assert!(out.lines().any(|line| line.is_ok_and(|line| line.contains("accepted"))));
        child.kill().unwrap();
        child.wait().unwrap();
        let disk = OsDisk::open(dir.path(), false).unwrap();
        eventually("its end", || !disk.has_writer().unwrap());
        let engine = reading(dir.path());
        let mut reader = earliest(&partition(&engine, class));
        read_up_to(&mut reader, ACCEPTED);
        let seen = batches(&partition(&engine, class));
        let writer = small().lock_timeout(DEADLINE).open(dir.path()).unwrap();
        let topic = partition(&writer, class);
        assert_eq!(batches(&topic), seen, "the next writer takes what was seen");
        append(&topic, ACCEPTED..ACCEPTED + 5);
        read_up_to(&mut reader, ACCEPTED + 5);
        drop(topic);
        writer.close(DEADLINE).unwrap();
    }
}
