//! A process under a seccomp filter that refuses `io_uring`, as containers do: this test binary
//! installs it and becomes the program.

use std::collections::BTreeMap;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use rustix::io::Errno;
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};

const PROGRAM: &str = "RINGLOG_KERNEL_CONFINED";
const ERRNO: &str = "RINGLOG_KERNEL_CONFINED_ERRNO";
/// `io_uring_setup`, `io_uring_enter`, `io_uring_register`: the same everywhere.
const CALLS: [i64; 3] = [425, 426, 427];

/// This command, without `io_uring`: its calls fail with `errno`.
pub fn without_uring(command: &Command, errno: Errno) -> Command {
    let mut confined = Command::new(std::env::current_exe().unwrap());
    confined.args(["confined::entry_of_the_confined", "--exact", "--nocapture"]);
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => confined.env(name, value),
            None => confined.env_remove(name),
        };
    }
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<_> = words.map(|word| word.to_str().unwrap()).collect();
    confined.env(PROGRAM, words.join("\n")).env(ERRNO, errno.raw_os_error().to_string());
    confined
}

/// In the child.
#[test]
fn entry_of_the_confined() {
    let Ok(program) = std::env::var(PROGRAM) else { return };
    let errno: u32 = std::env::var(ERRNO).unwrap().parse().unwrap();
    let rules = CALLS.map(|call| (call, Vec::new())).into_iter().collect::<BTreeMap<_, _>>();
    let (otherwise, refused) = (SeccompAction::Allow, SeccompAction::Errno(errno));
    let here = std::env::consts::ARCH.try_into().unwrap();
    let filter: BpfProgram =
        SeccompFilter::new(rules, otherwise, refused, here).unwrap().try_into().unwrap();
    seccompiler::apply_filter(&filter).unwrap();
    let mut words = program.split('\n');
    let mut command = Command::new(words.next().unwrap());
    // The harness has begun a line.
    println!();
    panic!("{}", command.args(words).env_remove(PROGRAM).exec());
}
