//! A disk that fails, through a filesystem of the tests' own ([`fragile`](super::fragile)): a flush
//! or a write that fails once, a disk that is stuck, power that goes, and a filesystem whose
//! process is killed under the engine.

use std::fs;
use std::path::Path;
use std::time::Duration;

use rand::Rng as _;
use rustix::io::Errno;

use super::fragile::{Daemon, Fault, Fragile};
use super::host::{Answer, Host};
use super::program::{Place, Program, Until};
use super::promises::Promises;
use super::{LONG, c, eventually, host, scratch, skip};

/// What fails, how, and what messages say of it.
const FAULTS: [(Fault, Errno, &str); 3] = [
    (Fault::Flush, Errno::IO, "Input/output error"),
    (Fault::Write, Errno::IO, "Input/output error"),
    (Fault::Write, Errno::NOSPC, "No space left on device"),
];
const DRIVERS: [&str; 2] = ["io_uring", "plain"];

/// A fragile disk, and a place on it for this program.
fn disk(dir: &Path, program: Program, seed: u64) -> Result<(Fragile, Place), String> {
    let mount = dir.join("disk");
    fs::create_dir(&mount).unwrap();
    let disk = Fragile::mount(&mount, seed)?;
    let mut place = Place::new(program, &mount, &["--allow-volatile"]);
    place.has_rings = false;
    Ok((disk, place))
}

/// The ways to hold an engine.
type Start = fn(&Path, &str) -> Result<Host, String>;

fn in_rust(data: &Path, options: &str) -> Result<Host, String> {
    Host::start(host::command(data, options, &[]))
}

const HOSTS: [(&str, Start); 2] = [("Rust", in_rust), ("C", c::start)];

#[test]
fn a_liar_on_a_failing_disk_is_caught() {
    for (fault, errno, _) in FAULTS {
        let dir = scratch();
        let (disk, mut place) = match disk(dir.path(), Program::Liar, 0) {
            Ok(made) => made,
            Err(reason) => return skip("device::a_liar_on_a_failing_disk_is_caught", &reason),
        };
        disk.fail(fault, errno, 3);
        place.append(100, &[], Until::ItsEnd);
        assert!(disk.has_failed());
        let lie = place.check(true).unwrap_err();
        assert!(lie.contains("and is gone"), "{fault:?} {errno:?}: {lie}");
    }
    let dir = scratch();
    let (mut disk, mut place) = disk(dir.path(), Program::Liar, 0).unwrap();
    place.append(20_003, &[], Until::Heard(93, Duration::ZERO));
    disk.lose_power();
    assert!(place.check(true).is_err(), "a lie about what power takes");
}

/// A host whose disk fails once: it hears so, goes on hearing so, reads what is there, and can say
/// why; the next one finds everything acknowledged.
fn latches(start: Start, driver: &str, fault: Fault, errno: Errno, says: &str) {
    let dir = scratch();
    let (disk, mut place) = disk(dir.path(), Program::Ringlog, 0).unwrap();
    let mut host = start(&place.data, &format!("backend={driver}")).unwrap();
    let before = host.append(&mut place.promises, 30);
    assert!(before.iter().all(|answer| matches!(answer, Answer::Acknowledged(_))), "{before:?}");
    disk.fail(fault, errno, 0);
    let during = host.append(&mut place.promises, 40);
    assert!(disk.has_failed());
    let failed: Vec<_> = during.iter().filter(|answer| !answer.message().is_empty()).collect();
    // Once it has failed, everybody hears so; nothing was acknowledged after the first failure.
    assert_eq!(during.len() - failed.len(), 0, "{during:?}");
    assert!(matches!(failed[0], Answer::Failed { outcome_unknown: true, .. }), "{during:?}");
    // The disk works again, and nobody pretends.
    let flushes = disk.flushes();
    let after = host.append(&mut place.promises, 5);
    for answer in failed.iter().copied().chain(&after) {
        let message = answer.message();
        assert!(message.contains("latched") && message.contains(says), "{message}");
        assert!(message.contains(".log"), "names no file: {message}");
    }
    let not_written = |answer: &Answer| {
        matches!(answer, Answer::Failed { outcome_unknown, .. }
        if !outcome_unknown)
    };
    assert!(after.iter().all(not_written), "{after:?}");
    assert_eq!(disk.flushes(), flushes, "flushed again");
    let (count, error) = host.read();
    assert_eq!((count, error), (30, None), "reads go on");
    let told = host.stat().to_string();
    assert!(told.contains("latched") && told.contains(says), "{told}");
    let metrics = host.metrics();
    let tells = |line: &String| line.starts_with("ringlog_stopped_info{") && line.contains(says);
    assert!(metrics.iter().any(tells), "{metrics:?}");
    let (said, status) = host.close();
    assert!(status.success(), "{said} {status}");
    place.check(true).unwrap();
    assert!(place.append(10, &[], Until::ItsEnd).status.success());
    place.check(true).unwrap();
}

#[test]
fn a_failed_write_or_flush_latches_and_says_why() {
    let name = "device::a_failed_write_or_flush_latches_and_says_why";
    if let Err(reason) = disk(scratch().path(), Program::Liar, 0) {
        return skip(name, &reason);
    }
    for (language, start) in HOSTS {
        for driver in DRIVERS {
            for (fault, errno, says) in FAULTS {
                println!("{language} {driver} {fault:?} {errno:?}");
                latches(start, driver, fault, errno, says);
            }
        }
    }
}

#[test]
fn an_operation_that_fails_at_any_time_loses_nothing_acknowledged() {
    let name = "device::an_operation_that_fails_at_any_time_loses_nothing_acknowledged";
    for seed in 0..if LONG { 100 } else { 8 } {
        let mut dice = rand::rng();
        let dir = scratch();
        let (mut disk, mut place) = match disk(dir.path(), Program::Ringlog, seed) {
            Ok(made) => made,
            Err(reason) => return skip(name, &reason),
        };
        place.options.push(if seed % 2 == 0 { "--backend=auto" } else { "--backend=plain" });
        for round in 0..4 {
            let (fault, errno, _) = FAULTS[dice.random_range(0..FAULTS.len())];
            let more = dice.random_range(0..60);
            let story = format!("seed {seed}, round {round}: {fault:?} {errno:?} after {more}");
            disk.fail(fault, errno, more);
            // An operation of open, append, roll, checkpoint or close: whichever it is.
            let ended = place.append(100, &[], Until::ItsEnd);
            assert!(ended.status.code().is_some(), "{story}: {ended:?}");
            assert!(!ended.err.contains("panicked"), "{story}: {}", ended.err);
            disk.lose_power();
            place.check(true).unwrap_or_else(|lost| panic!("{story}: {lost}"));
        }
    }
}

#[test]
fn what_is_durable_survives_a_loss_of_power() {
    let name = "device::what_is_durable_survives_a_loss_of_power";
    for seed in 0..if LONG { 60 } else { 4 } {
        let dir = scratch();
        let (mut disk, mut place) = match disk(dir.path(), Program::Ringlog, seed) {
            Ok(made) => made,
            Err(reason) => return skip(name, &reason),
        };
        place.options.push(if seed % 2 == 0 { "--backend=auto" } else { "--backend=plain" });
        for round in 0..4 {
            let until = Until::Heard(rand::rng().random_range(1..200), Duration::ZERO);
            let ended = place.append(20_000, &[], until);
            assert!(ended.killed(), "{ended:?}");
            disk.lose_power();
            let checked = place.check(round % 2 == 1);
            checked.unwrap_or_else(|lost| panic!("seed {seed}, round {round} {until:?}: {lost}"));
        }
    }
}

#[test]
fn a_stuck_disk_is_waited_for_up_to_the_deadline_and_then_goes_on() {
    let name = "device::a_stuck_disk_is_waited_for_up_to_the_deadline_and_then_goes_on";
    for (language, start) in HOSTS {
        for driver in DRIVERS {
            let dir = scratch();
            let (disk, mut place) = match disk(dir.path(), Program::Ringlog, 0) {
                Ok(made) => made,
                Err(reason) => return skip(name, &reason),
            };
            let mut host = start(&place.data, &format!("backend={driver},timeout=300")).unwrap();
            let before = host.append(&mut place.promises, 10);
            assert_eq!(before.last(), Some(&Answer::Acknowledged(9)), "{before:?}");
            disk.hold(true);
            for answer in host.append(&mut place.promises, 3) {
                let Answer::Failed { outcome_unknown, message } = answer else {
                    panic!("{language} {driver}: acknowledged by a stuck disk");
                };
                assert!(outcome_unknown && message.contains("deadline"), "{message}");
            }
            assert_eq!(host.read(), (10, None), "{language} {driver}: reads go on");
            disk.hold(false);
            // What was unknown has been written since, and the log goes on by itself.
            eventually("an acknowledgement", || {
                host.append(&mut place.promises, 1) == [Answer::Acknowledged(13)]
            });
            assert_eq!(host.close().0, "CLOSED");
            place.check(true).unwrap();
        }
    }
}

/// Who serves the filesystem is killed while a host appends and reads.
fn dies_under(start: Start, options: &str) -> Result<(), String> {
    let dir = scratch();
    let mount = dir.path().join("disk");
    fs::create_dir(&mount).unwrap();
    let mut daemon = Daemon::start(&mount)?;
    let place = Place::new(Program::Ringlog, &mount, &["--allow-volatile"]);
    // Small segments, so that there are sealed ones, which are read through mappings.
    let small = "segment=262144,payload=131072,ring=131072,group=65536,close=1000";
    let mut host = start(&place.data, &format!("{small},{options}"))?;
    let mut promises = Promises::default();
    for _ in 0..10 {
        // Below the size of a ring, so that none waits for room and is overtaken.
        let answers = host.append(&mut promises, 20);
        assert!(answers.iter().all(|answer| answer.message().is_empty()), "{answers:?}");
    }
    assert_eq!(host.read(), (200, None));
    daemon.kill();
    for round in 0..3 {
        for answer in host.append(&mut promises, 3) {
            assert!(!answer.message().is_empty(), "{options}, round {round}: acknowledged");
        }
        // What is in memory may be read; what is not is an error, and no signal.
        let (count, error) = host.read();
        assert!(count == 200 || error.is_some(), "{options}: read {count} and no more");
    }
    let told = host.stat().to_string();
    assert!(told.contains("latched"), "{told}");
    let (said, status) = host.close();
    assert!(status.success(), "{options}: {said} {status}");
    Ok(())
}

#[test]
fn a_filesystem_that_dies_gives_errors_and_no_signal() {
    for (_, start) in HOSTS {
        for options in ["backend=io_uring,mmap=yes", "backend=plain,mmap=yes", "mmap=no"] {
            if let Err(reason) = dies_under(start, options) {
                let name = "device::a_filesystem_that_dies_gives_errors_and_no_signal";
                return skip(name, &reason);
            }
        }
    }
}
