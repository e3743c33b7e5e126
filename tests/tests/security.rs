//! The data directory against other hands: who may read what is made in it, where the engine can be
//! led by links, renames and names, and what a child inherits.
#![allow(clippy::unwrap_used, reason = "a failed unwrap here is a failed test")]
#![allow(clippy::case_sensitive_file_extension_comparisons, reason = "names of our own making")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ringlog::{
    Backend, Engine, Error, Flush, Offset, Options, Partition, Record, Start, TopicSpec,
};
use rustix::fs::Mode;

const DEADLINE: Duration = Duration::from_secs(60);
const VALUE: [u8; 3000] = [7; 3000];
/// Tells the test that is started again as nobody where to work.
const AS_NOBODY: &str = "RINGLOG_TEST_AS_NOBODY";
const NOBODY: u32 = 65534;

/// The umask and the descriptors belong to the process: one test at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn small() -> Options {
    Engine::options()
        .segment_bytes(64 << 10)
        .ring_bytes(64 << 10)
        .group_bytes(16 << 10)
        .max_payload_bytes(24 << 10)
}

/// Topics of both classes, several segments, indexes, checkpoints, a trim.
fn fill(engine: &Engine) {
    for (name, flush) in [("sync", Flush::Sync), ("async", Flush::Async)] {
        let topic = engine.open_or_create_topic(TopicSpec::new(name).flush(flush)).unwrap();
        let partition = topic.partition(0).unwrap();
        for _ in 0..60 {
            partition.append(Record::new(&VALUE)).unwrap();
        }
        partition.trim(Offset(partition.info().unwrap().end.0 - 3)).unwrap();
        for _ in 0..30 {
            partition.append(Record::new(&VALUE)).unwrap();
        }
    }
}

fn filled(dir: &Path) {
    let engine = small().open(dir).unwrap();
    fill(&engine);
    engine.close(DEADLINE).unwrap();
}

/// All that is below a directory, with what `lstat` says of it.
fn walk(dir: &Path) -> BTreeMap<PathBuf, fs::Metadata> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let metadata = path.symlink_metadata().unwrap();
        if metadata.is_dir() {
            all.extend(walk(&path));
        }
        all.insert(path, metadata);
    }
    all
}

fn assert_ours_alone(dir: &Path) {
    let all = walk(dir);
    assert!(all.len() > 15, "the whole of a directory: {all:?}");
    for (path, metadata) in all {
        let expected = if metadata.is_dir() { 0o700 } else { 0o600 };
        let mode = metadata.mode() & 0o7777;
        assert_eq!(mode, expected, "{} has mode {mode:o}", path.display());
    }
}

fn under_every_umask(root: &Path) {
    for umask in [0, 0o022, 0o777] {
        let dir = root.join(format!("{umask:o}"));
        let data = dir.join("made").join("data");
        let before = rustix::process::umask(Mode::from_raw_mode(umask));
        let done = std::panic::catch_unwind(|| {
            fs::create_dir(&dir).unwrap();
            fs::set_permissions(&dir, fs::Permissions::from_mode(0o700)).unwrap();
            filled(&data);
            filled(&data);
        });
        rustix::process::umask(before);
        done.unwrap();
        assert_ours_alone(&dir);
    }
}

#[test]
fn what_is_made_is_its_owners_alone_whatever_the_umask() {
    let _alone = alone();
    if let Ok(root) = std::env::var(AS_NOBODY) {
        return under_every_umask(Path::new(&root));
    }
    let root = tempfile::tempdir().unwrap();
    under_every_umask(root.path());
    if !rustix::process::geteuid().is_root() {
        return;
    }
    // Root may do without permissions; nobody may not.
    let root = tempfile::tempdir().unwrap();
    std::os::unix::fs::chown(root.path(), Some(NOBODY), None).unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "what_is_made_is_its_owners_alone_whatever_the_umask"]);
    command.env(AS_NOBODY, root.path()).env("TMPDIR", root.path());
    std::os::unix::process::CommandExt::uid(&mut command, NOBODY);
    match command.output() {
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success() && said.contains("1 passed"), "as nobody: {said}");
        }
        Err(error) => {
            let name = "what_is_made_is_its_owners_alone_whatever_the_umask";
            let _ = writeln!(std::io::stdout(), "SKIP {name}: cannot run as nobody: {error}");
        }
    }
}

/// The open descriptors of this process, and where each leads.
fn descriptors() -> BTreeMap<i32, String> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir("/proc/self/fd").unwrap() {
        let entry = entry.unwrap();
        let Ok(target) = fs::read_link(entry.path()) else { continue };
        let number = entry.file_name().to_str().unwrap().parse().unwrap();
        all.insert(number, target.display().to_string());
    }
    all
}

fn is_closed_on_exec(descriptor: i32) -> Option<bool> {
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{descriptor}")).ok()?;
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).unwrap();
    let flags = u32::from_str_radix(flags.trim(), 8).unwrap();
    Some(flags & rustix::fs::OFlags::CLOEXEC.bits() != 0)
}

#[test]
fn no_descriptor_is_left_to_a_program_that_is_started() {
    let _alone = alone();
    let before = descriptors();
    let mut seen = BTreeSet::new();
    for backend in [Backend::Auto, Backend::Plain] {
        let dir = tempfile::tempdir().unwrap();
        let engine = small().backend(backend).shards(2).open(dir.path()).unwrap();
        fill(&engine);
        let partition = partition(&engine, "async");
        let mut reader = partition.reader(Start::Earliest).unwrap();
        let lease = reader.next_batch().unwrap();
        let start = partition.info().unwrap().log_start;
        let extents = partition.extents(start, 1 << 20).unwrap();
        let queue = engine.completion_queue(16).unwrap();
        let beside = Engine::options().read_only(true).open(dir.path()).unwrap();
        let theirs = beside.topic("async").unwrap().partition(0).unwrap();
        theirs.reader(Start::Earliest).unwrap().next_batch().unwrap();
        for (descriptor, target) in descriptors() {
            if before.contains_key(&descriptor) {
                continue;
            }
            // What has been closed meanwhile says nothing.
            assert_ne!(is_closed_on_exec(descriptor), Some(false), "{target}");
            seen.insert(target.rsplit('/').next().unwrap().to_owned());
        }
        drop((lease, extents, queue));
        engine.close(DEADLINE).unwrap();
    }
    for expected in ["LOCK", "READERS", "anon_inode:[eventfd]", "anon_inode:inotify"] {
        assert!(seen.contains(expected), "{expected} is not among {seen:?}");
    }
}

fn partition(engine: &Engine, topic: &str) -> Partition {
    engine.topic(topic).unwrap().partition(0).unwrap()
}

/// What a stranger's file holds, and when it was last changed.
fn content(dir: &Path) -> BTreeMap<PathBuf, (Vec<u8>, i64, i64)> {
    let files = walk(dir).into_iter().filter(|(_, metadata)| metadata.is_file());
    files
        .map(|(path, at)| (path.clone(), (fs::read(path).unwrap(), at.mtime(), at.mtime_nsec())))
        .collect()
}

/// Replaces `path` by a link to where it is put, outside; gives back what the engine then says.
fn behind_a_link(template: &Path, file: &Path) -> Result<(), Error> {
    let place = tempfile::tempdir().unwrap();
    let (data, outside) = (place.path().join("data"), place.path().join("outside"));
    copy(template, &data);
    fs::create_dir(&outside).unwrap();
    let planted = data.join(file);
    let moved = outside.join(file.file_name().unwrap());
    fs::rename(&planted, &moved).unwrap();
    symlink(&moved, &planted).unwrap();
    let before = content(&outside);
    let opened = small().lock_timeout(Duration::ZERO).open(&data).and_then(|engine| {
        for name in ["sync", "async"] {
            let partition = engine.topic(name)?.partition(0)?;
            for record in partition.reader(Start::Earliest)?.records() {
                record?;
            }
            for _ in 0..40 {
                partition.append(Record::new(&VALUE))?;
            }
            partition.trim(Offset(partition.info()?.end.0))?;
        }
        engine.close(DEADLINE)
    });
    let after = content(&outside);
    assert!(before == after, "{}: what lies outside was touched", file.display());
    let follower = Engine::options().read_only(true).open(&data);
    if let Ok(engine) = follower {
        for info in engine.topics() {
            let reader = partition(&engine, &info.name).reader(Start::Earliest);
            drop(reader.map(|mut reader| reader.next_batch()));
        }
    }
    assert!(before == content(&outside), "{}: a reader touched it", file.display());
    opened
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[test]
fn a_symbolic_link_is_followed_nowhere() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path());
    let all: Vec<PathBuf> = walk(dir.path())
        .into_keys()
        .map(|path| path.strip_prefix(dir.path()).unwrap().to_path_buf())
        .collect();
    let mut refused = BTreeMap::new();
    for file in &all {
        let opened = behind_a_link(dir.path(), file);
        if let Err(error) = opened {
            refused.insert(file.display().to_string(), error.to_string());
        }
    }
    // What can be made anew is; the rest is refused by name.
    let is_derived = |name: &str| {
        let file = name.rsplit('/').next().unwrap();
        ["ring", "WAITERS", "reserve"].contains(&file)
            || file.ends_with(".idx")
            || ["spare-", "checkpoint-"].iter().any(|start| file.starts_with(start))
    };
    for file in all.iter().map(|file| file.display().to_string()) {
        let error = refused.get(&file);
        assert!(error.is_some() || is_derived(&file), "{file}: the link was taken");
        if let Some(error) = error {
            let name = file.rsplit('/').next().unwrap();
            assert!(error.contains(name), "{file}: the error does not name it: {error}");
        }
    }
}

#[test]
fn a_directory_renamed_under_the_engine_is_still_its_own() {
    let _alone = alone();
    let place = tempfile::tempdir().unwrap();
    let (old, new) = (place.path().join("old"), place.path().join("new"));
    for backend in [Backend::Auto, Backend::Plain] {
        let engine = small().backend(backend).open(&old).unwrap();
        fill(&engine);
        let beside = Engine::options().read_only(true).open(&old).unwrap();
        let mut reader = partition(&beside, "sync").reader(Start::Latest).unwrap();
        fs::rename(&old, &new).unwrap();
        // A stranger's directory takes the name.
        fs::create_dir(&old).unwrap();
        for name in ["sync", "async"] {
            // Several segments, and with them indexes and checkpoints.
            for _ in 0..90 {
                partition(&engine, name).append(Record::new(&VALUE)).unwrap();
            }
        }
        let name = if backend == Backend::Auto { "one" } else { "two" };
        engine.create_topic(TopicSpec::new(name)).unwrap();
        let end = partition(&engine, "sync").info().unwrap().end;
        while reader.next_offset() < end {
            assert!(reader.next_timeout(DEADLINE).unwrap().is_some(), "the follower lost it");
        }
        engine.close(DEADLINE).unwrap();
        assert_eq!(fs::read_dir(&old).unwrap().count(), 0, "something went to the old name");
        let engine = small().open(&new).unwrap();
        assert_eq!(partition(&engine, "sync").info().unwrap().end, end);
        engine.topic(name).unwrap();
        engine.close(DEADLINE).unwrap();
        fs::remove_dir(&old).unwrap();
        fs::rename(&new, &old).unwrap();
    }
}

#[test]
fn the_name_of_a_topic_is_never_a_path() {
    let _alone = alone();
    let place = tempfile::tempdir().unwrap();
    let data = place.path().join("data");
    let engine = small().open(&data).unwrap();
    let long = "n".repeat(250);
    for name in [
        "",
        ".",
        "..",
        "../x",
        "/etc/x",
        "a/b",
        "a\\b",
        "a\0b",
        "\0",
        "a\nb",
        "ä",
        "名前",
        "a b",
        "a:b",
        "\u{202e}x",
        "~",
        &long,
    ] {
        let refused = engine.create_topic(TopicSpec::new(name)).unwrap_err();
        assert!(matches!(refused, Error::InvalidArgument { .. }), "{name:?}: {refused:?}");
        assert!(engine.open_or_create_topic(TopicSpec::new(name)).is_err(), "{name:?}");
        assert!(engine.topic(name).is_err() && engine.delete_topic(name).is_err(), "{name:?}");
    }
    // These are names like any other, and lead to no file.
    let names = ["LOCK", "engine.meta", "log-000", "ring", "..a", "a..", "-rf", "_", &long[1..]];
    for name in names {
        let topic = engine.create_topic(TopicSpec::new(name)).unwrap();
        topic.partition(0).unwrap().append(Record::new(name.as_bytes())).unwrap();
    }
    engine.close(DEADLINE).unwrap();
    let engine = small().open(&data).unwrap();
    for name in names {
        let mut reader = partition(&engine, name).reader(Start::Earliest).unwrap().records();
        let record = reader.next().unwrap().unwrap();
        assert_eq!(record.value.as_deref(), Some(name.as_bytes()));
    }
    engine.close(DEADLINE).unwrap();
    let top: BTreeSet<String> = fs::read_dir(&data)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let expected = ["LOCK", "READERS", "engine.meta", "log-000", "log-001"];
    assert_eq!(top, expected.map(str::to_owned).into());
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1, "beside the data directory");
    let files = walk(&data);
    let strays = files.keys().filter(|path| names[4..].iter().any(|name| path.ends_with(name)));
    assert_eq!(strays.count(), 0);
}
