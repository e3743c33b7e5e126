//! Under limits: of file size, memory, descriptors, and of system calls.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::io::Errno;

use super::confined::without_uring;
use super::host::{Answer, Host};
use super::program::{BINARY, Place, Program, Until};
use super::{LONG, NOBODY, host, scratch, skip, tool};

/// How the kernel ends who writes beyond `RLIMIT_FSIZE` and has not asked otherwise.
const SIGXFSZ: i32 = 25;

fn signal(status: std::process::ExitStatus) -> Option<i32> {
    use std::os::unix::process::ExitStatusExt as _;
    status.signal()
}

#[test]
fn a_careless_writer_dies_of_its_file_size_limit() {
    let dir = scratch();
    let mut place = Place::new(Program::Liar, dir.path(), &[]);
    let ended = place.append(200, &["prlimit", "--fsize=10000", "--"], Until::ItsEnd);
    assert_eq!(signal(ended.status), Some(SIGXFSZ), "{ended:?}");
    assert!(place.check(true).is_err());
}

#[test]
fn a_file_size_limit_is_an_error_and_never_a_signal() {
    let limits = [0, 4096, 100_000, 1 << 20, 4 << 20, 5 << 20, 17 << 20, 64 << 20];
    for backend in ["auto", "plain"] {
        let dir = scratch();
        let mut place = Place::new(Program::Ringlog, dir.path(), &["--segment-bytes=35651584"]);
        let option = if backend == "auto" { "--backend=auto" } else { "--backend=plain" };
        place.options.push(option);
        for limit in limits {
            let limit = format!("--fsize={limit}");
            let ended = place.append(2000, &["prlimit", &limit, "--"], Until::ItsEnd);
            let code = ended.status.code();
            assert!(code.is_some_and(|code| code < 128), "{backend} {limit}: {ended:?}");
            assert!(!ended.err.contains("panicked"), "{}", ended.err);
            if code != Some(0) {
                assert!(ended.err.contains("File too large"), "{limit}: {}", ended.err);
            }
            place.check(true).unwrap_or_else(|lost| panic!("{backend} {limit}: {lost}"));
        }
        // With none it goes on.
        assert!(place.append(10, &[], Until::ItsEnd).status.success());
        place.check(true).unwrap();
    }
}

#[test]
fn a_file_size_limit_that_comes_while_it_runs_is_an_error_too() {
    for backend in ["io_uring", "plain"] {
        let dir = scratch();
        let mut place = Place::new(Program::Ringlog, dir.path(), &[]);
        let mut host =
            Host::start(host::command(&place.data, &format!("backend={backend}"), &[])).unwrap();
        let before = host.append(&mut place.promises, 20);
        assert_eq!(before.last(), Some(&Answer::Acknowledged(19)), "{before:?}");
        tool("prlimit", &["--fsize=4096", "--pid", &host.id().to_string()]).unwrap();
        for answer in host.append(&mut place.promises, 20) {
            assert!(answer.message().contains("File too large"), "{backend}: {answer:?}");
        }
        assert_eq!(host.read(), (20, None), "{backend}: reads go on");
        let (said, status) = host.close();
        assert!(status.success(), "{backend}: {said} {status}");
        place.check(true).unwrap();
    }
}

/// A directory and a binary that an ordinary user can reach.
fn for_anybody() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir_in("/var/tmp").unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let binary = dir.path().join("ringlog");
    fs::copy(BINARY, &binary).unwrap();
    (dir, binary)
}

/// Why no other user can be taken on, if so.
fn not_root() -> Option<String> {
    let id = NOBODY.to_string();
    tool("setpriv", &["--reuid", &id, "--clear-groups", "true"]).err()
}

/// A directory of an ordinary user.
fn of_nobody(dir: &Path, binary: &Path) -> Place {
    let mut place = Place::not_yet(Program::Ringlog, dir, &["--allow-volatile"]);
    let id = |what: &str| format!("--{what}={NOBODY}");
    let words = ["setpriv", &id("reuid"), &id("regid"), "--clear-groups"];
    place.user = words.map(str::to_owned).into();
    binary.clone_into(&mut place.binary);
    place.run(&["create-topic", "t"]).unwrap();
    place
}

#[test]
fn descriptors_that_run_out_are_a_typed_error_and_leave_the_log_whole() {
    if let Some(reason) = not_root() {
        let name = "limits::descriptors_that_run_out_are_a_typed_error_and_leave_the_log_whole";
        return skip(name, &reason);
    }
    let (dir, binary) = for_anybody();
    let mut place = of_nobody(dir.path(), &binary);
    let mut outcomes = [0, 0];
    for most in (6..48).step_by(if LONG { 1 } else { 3 }) {
        let limit = format!("--nofile={most}");
        let ended = place.append(50, &["prlimit", &limit, "--"], Until::ItsEnd);
        let code = ended.status.code();
        assert!(code.is_some_and(|code| code < 100), "{most}: {ended:?}");
        assert!(!ended.err.contains("panicked"), "{most}: {}", ended.err);
        let whole = code == Some(0);
        // Below what the program itself needs to start, its loader complains.
        assert!(whole || ended.err.contains("open files") || most < 8, "{most}: {}", ended.err);
        // All may be acknowledged, and the close then have no descriptor for an index.
        assert!(!whole || ended.acknowledged == 50, "{most}: {ended:?}");
        outcomes[usize::from(whole)] += 1;
        place.check(true).unwrap_or_else(|lost| panic!("{most}: {lost}"));
    }
    assert!(outcomes.iter().all(|&count| count > 0), "no limit made a difference: {outcomes:?}");
}

#[test]
fn an_ordinary_user_without_locked_memory_has_the_same_guarantees() {
    if let Some(reason) = not_root() {
        let name = "limits::an_ordinary_user_without_locked_memory_has_the_same_guarantees";
        return skip(name, &reason);
    }
    let (dir, binary) = for_anybody();
    let start = ["prlimit", "--memlock=0", "--"];
    let mut place = of_nobody(dir.path(), &binary);
    for round in 0..3 {
        let ended = place.append(5000, &start, Until::Heard(100 + round, Duration::ZERO));
        assert!(ended.killed(), "{ended:?}");
        place.check(round == 2).unwrap();
    }
    // Whatever was chosen, it says why.
    let told = place.command(&start, &["doctor", "--json"]).output().unwrap();
    let told: serde_json::Value = serde_json::from_slice(&told.stdout).unwrap();
    let reason = told["chosen"]["driver_reason"].as_str().unwrap();
    println!("without locked memory: {}: {reason}", told["chosen"]["driver"]);
    assert!(!reason.is_empty());
}

#[test]
fn where_seccomp_denies_io_uring_the_plain_driver_gives_the_same_and_says_why() {
    for (errno, word) in [(Errno::PERM, "not permitted"), (Errno::NOSYS, "not implemented")] {
        let dir = scratch();
        let mut place = Place::new(Program::Ringlog, dir.path(), &[]);
        let doctor = without_uring(&place.command(&[], &["doctor", "--json"]), errno).output();
        let told = doctor.unwrap().stdout;
        let json = told.iter().position(|&byte| byte == b'{').unwrap();
        let told: serde_json::Value = serde_json::from_slice(&told[json..]).unwrap();
        assert_eq!(told["chosen"]["driver"], "pwritev2");
        let reason = told["chosen"]["driver_reason"].as_str().unwrap();
        assert!(reason.contains(word), "{reason}");
        for round in 0..3 {
            let mut command = place.command(&[], &["append", "t", "--print-acks"]);
            command = without_uring(&command, errno);
            let until = Until::Heard(50 + round, Duration::ZERO);
            assert!(place.append_by(&mut command, 5000, until).killed());
            place.check(round == 2).unwrap();
        }
        // Who insists on it hears why not.
        let args = ["append", "t", "--backend", "io_uring"];
        let mut insists = without_uring(&place.command(&[], &args), errno);
        let refused = insists.stdin(Stdio::null()).output().unwrap();
        let said = String::from_utf8_lossy(&refused.stderr);
        assert!(refused.status.code() == Some(2) && said.contains(word), "{said}");
        // A running engine says so itself.
        let command = host::command(&place.data, "", &[]);
        let mut host = Host::start(without_uring(&command, errno)).unwrap();
        let stat = host.stat();
        assert_eq!(stat["capabilities"]["driver"], "pwritev2");
        let reason = stat["capabilities"]["driver_reason"].as_str().unwrap();
        assert!(reason.contains(word), "{reason}");
        let answers = host.append(&mut place.promises, 20);
        assert!(answers.iter().all(|answer| answer.message().is_empty()), "{answers:?}");
        assert_eq!(host.close().0, "CLOSED");
        place.check(true).unwrap();
    }
}
