//! The host in C (`host.c`), compiled against the C library as it is built.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use rand::Rng as _;

use super::host::{Answer, Host};
use super::program::{Place, Program};
use super::{LONG, no_strace, scratch, skip, text, tool};

/// Where cargo puts what it builds for these tests: `target/debug`, say.
fn target() -> PathBuf {
    let own = std::env::current_exe().unwrap();
    own.parent().unwrap().parent().unwrap().to_path_buf()
}

/// The compiled host, built once.
fn program() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let release = target().file_name().is_some_and(|name| name == "release");
        let profile = if release { "release" } else { "test" };
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "--locked", "--quiet", "--package", "ringlog-ffi"]);
        cargo.args(["--profile", profile]).current_dir(&root);
        cargo.env("CARGO_TARGET_DIR", target().parent().unwrap());
        assert!(cargo.status().unwrap().success(), "the C library builds");
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR"));
        // Put in its place when it is whole: another test process may be running it.
        let (place, host) = (dir.join("kernel-host"), dir.join(".kernel-host-new"));
        let library = target().join("libringlog.a");
        let source = root.join("tests/tests/kernel/host.c");
        let include = root.join("include");
        let words = ["-std=c11", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror", "-O1"];
        let paths = ["-I", text(&include), text(&source), text(&library)];
        let link = ["-o", text(&host), "-lpthread", "-ldl", "-lm"];
        tool("cc", &[&words[..], &paths, &link].concat()).unwrap();
        std::fs::rename(&host, &place).unwrap();
        place
    })
}

/// The command that starts it.
fn command(data: &Path, options: &str, under: &[&str]) -> Command {
    let mut command = super::program::under(under, program());
    command.arg(data).arg(options);
    command
}

/// A host in C on this directory.
pub fn start(data: &Path, options: &str) -> Result<Host, String> {
    Host::start(command(data, options, &[]))
}

#[test]
fn a_program_in_c_that_is_killed_keeps_what_it_acknowledged() {
    let name = "c::a_program_in_c_that_is_killed_keeps_what_it_acknowledged";
    if let Some(reason) = no_strace() {
        return skip(name, &reason);
    }
    for (backend, call) in [("io_uring", "io_uring_enter,pwritev2"), ("plain", "pwritev2")] {
        let dir = scratch();
        let mut place = Place::new(Program::Ringlog, dir.path(), &[]);
        let most = if LONG { 60 } else { 3 };
        for round in 0..most {
            let (only, when) = (format!("trace={call}"), rand::rng().random_range(1..80));
            let inject = format!("inject={call}:signal=SIGKILL:when={when}");
            let under = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", &only, "-e", &inject];
            let options = format!("backend={backend}");
            // Dead before it could open: nothing was promised.
            if let Ok(mut host) = Host::start(command(&place.data, &options, &under)) {
                host.tell_append(&mut place.promises, 100);
                while let Some(answer) = host.hear() {
                    let offset = answer.strip_prefix("ACK ").expect(&answer);
                    place.promises.acknowledged(offset.parse().unwrap());
                    if place.promises.acknowledgements() == 100 {
                        break;
                    }
                }
            }
            let checked = place.check(round % 2 == 1);
            checked.unwrap_or_else(|lost| panic!("{backend} {when}: {lost}"));
        }
        let mut host = start(&place.data, "").unwrap();
        assert!(matches!(host.append(&mut place.promises, 1)[0], Answer::Acknowledged(_)));
        assert_eq!(host.close().0, "CLOSED");
        place.check(true).unwrap();
    }
}
