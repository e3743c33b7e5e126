//! The reader is another process, too: it sleeps while there is nothing, it neither falls nor is
//! fooled when writers are killed, and where the kernel does not let it sleep as it would like to,
//! it finds another way. strace makes that kernel: it lets single system calls fail.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use rand::Rng as _;
use ringlog::{Backend, Flush};

use super::restart::{Writer, follow};
use super::{CLASSES, DEADLINE, append, eventually, partition, reading, small, spec};

const DIR: &str = "RINGLOG_OUTSIDE_DIR";
const CLASS: &str = "RINGLOG_OUTSIDE_CLASS";
const END: &str = "RINGLOG_OUTSIDE_END";
const RING_BYTES: usize = 64 << 10;

/// In the child: follows until it has seen the end.
#[test]
fn entry_of_the_follower() {
    let Some(dir) = std::env::var_os(DIR) else { return };
    let class: Flush = std::env::var(CLASS).unwrap().parse().unwrap();
    let end: u64 = std::env::var(END).unwrap().parse().unwrap();
    let engine = reading(&PathBuf::from(dir));
    println!("following");
    // As long as it takes: only a record, or a change of files, ends its sleep.
    follow(&engine, class, &AtomicU64::new(0), DEADLINE, |seen| seen >= end);
    println!("seen all");
}

/// A process that follows; dead and reaped when dropped.
struct Follower {
    child: Child,
    out: BufReader<ChildStdout>,
}

impl Drop for Follower {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Follower {
    /// `under`: a program that starts it, with its arguments.
    fn start(dir: &Path, class: Flush, end: u64, under: &[&str]) -> Self {
        let own = std::env::current_exe().unwrap();
        let mut command = match under {
            [] => Command::new(&own),
            [program, arguments @ ..] => {
                let mut command = Command::new(program);
                command.args(arguments).arg(&own);
                command
            }
        };
        let mut child = command
            .args(["outside::entry_of_the_follower", "--exact", "--nocapture"])
            .env(DIR, dir)
            .env(CLASS, class.to_string())
            .env(END, end.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let mut follower = Self { child, out };
        follower.hear("following");
        follower
    }

    fn hear(&mut self, word: &str) {
        let mut lines = self.out.by_ref().lines();
        assert!(lines.any(|line| line.is_ok_and(|line| line.contains(word))), "{word}");
    }

    /// It has seen the end, and ended well.
    fn sees_all(mut self) {
        self.hear("seen all");
        assert!(self.child.wait().unwrap().success());
    }

    /// How often its threads have gone to sleep.
    fn switches(&self) -> u64 {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap();
        let of = |status: String| {
            let line = status.lines().find(|line| line.starts_with("voluntary_ctxt_switches"));
            line.unwrap().split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()
        };
        tasks
            .filter_map(|task| fs::read_to_string(task.unwrap().path().join("status")).ok())
            .map(of)
            .sum()
    }
}

/// A directory with the topic and ten records.
fn begun(class: Flush) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let writer = small().open(dir.path()).unwrap();
    append(&writer.create_topic(spec(class)).unwrap().partition(0).unwrap(), 0..10);
    writer.close(DEADLINE).unwrap();
    dir
}

#[test]
fn a_follower_in_another_process_outlives_its_writers() {
    for class in CLASSES {
        let dir = begun(class);
        let end = 1000;
        let follower = Follower::start(dir.path(), class, end, &[]);
        let mut dice = rand::rng();
        for round in 1..9u64 {
            let backend = if round % 2 == 0 { Backend::Auto } else { Backend::Plain };
            let writer =
                Writer::start_and_stop(dir.path(), class, backend, RING_BYTES, 100 * round);
            std::thread::sleep(dice.random_range(Duration::ZERO..Duration::from_millis(80)));
            drop(writer);
        }
        let _last = Writer::start_and_stop(dir.path(), class, Backend::Auto, RING_BYTES, end);
        follower.sees_all();
    }
}

#[test]
fn a_follower_sleeps_while_there_is_nothing_and_looks_often_only_where_it_may_not_say_so() {
    for (class, may_say_so) in CLASSES.into_iter().flat_map(|class| [(class, true), (class, false)])
    {
        let dir = begun(class);
        let writer = small().open(dir.path()).unwrap();
        if !may_say_so {
            fs::remove_file(dir.path().join("log-001/WAITERS")).unwrap();
        }
        let follower = Follower::start(dir.path(), class, 11, &[]);
        if may_say_so {
            // Until the writer has said its last about the groups before.
            let mut before = follower.switches();
            eventually("a second without a switch", || {
                std::thread::sleep(Duration::from_secs(1));
                let now = follower.switches();
                std::mem::replace(&mut before, now) == now
            });
        } else {
            let before = follower.switches();
            eventually("looking often", || follower.switches() > before + 100);
        }
        append(&partition(&writer, class), 10..11);
        follower.sees_all();
        writer.close(DEADLINE).unwrap();
    }
}

/// Why strace cannot let calls fail here, if it cannot.
fn why_not() -> Option<String> {
    let call = ["-f", "-qq", "-o", "/dev/null", "-e", "inject=inotify_init1:error=EMFILE", "true"];
    match Command::new("strace").args(call).output() {
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Err(error) => Some(error.to_string()),
    }
}

#[test]
fn where_the_kernel_has_no_such_sleep_a_follower_sees_everything_all_the_same() {
    if let Some(reason) = why_not() {
        let name = "outside::where_the_kernel_has_no_such_sleep";
        writeln!(io::stdout(), "SKIP {name}: strace: {reason}").unwrap();
        return;
    }
    for fault in ["futex_waitv:error=ENOSYS", "inotify_init1:error=EMFILE"] {
        for class in CLASSES {
            let dir = begun(class);
            let (trace, inject) = (dir.path().join("trace"), format!("inject={fault}"));
            let call = fault.split(':').next().unwrap();
            let only = format!("trace={call}");
            let under =
                ["strace", "-f", "-qq", "-o", trace.to_str().unwrap(), "-e", &only, "-e", &inject];
            let started = Instant::now();
            let follower = Follower::start(dir.path(), class, 400, &under);
            drop(Writer::start_and_stop(dir.path(), class, Backend::Auto, RING_BYTES, 200));
            let _last = Writer::start_and_stop(dir.path(), class, Backend::Auto, RING_BYTES, 400);
            follower.sees_all();
            println!("{fault}, {class}: {:?}", started.elapsed());
            let trace = fs::read_to_string(&trace).unwrap();
            assert!(trace.contains("(INJECTED)"), "{call} was never called");
        }
    }
}
