//! The C and C++ library from outside: programs that are compiled against the header and linked
//! with the library, one test a trial. Every test, in C and in C++, runs plainly and under
//! `AddressSanitizer` with `UBSan`; the quick ones in C under valgrind, too. The headers are
//! compiled as every language that they promise to fit.
//!
//! The library under test is built here, by cargo, for cargo builds no shared library for tests.

#[path = "c/examples.rs"]
mod examples;
#[path = "c/install.rs"]
mod install;
#[path = "c/kit.rs"]
mod kit;

use std::fs;
use std::process::Command;

use kit::{Kit, Outcome, run};
use libtest_mimic::{Arguments, Trial};

/// What the sources of a user are compiled with: nothing may be warned about in our header.
const STRICT: &[&str] = &["-Wall", "-Wextra", "-Werror", "-pedantic"];

fn main() {
    let arguments = Arguments::from_args();
    let kit = Kit::leak();
    if arguments.list {
        // Whoever lists does not wait for a build of what may be there already.
        kit.build_once();
    }
    let mut trials = headers(kit);
    trials.extend(programs(kit));
    trials.push(Trial::test("symbols::are_those_of_the_golden_list", move || symbols(kit)));
    trials.extend(examples::trials(kit));
    trials.extend(install::trials(kit));
    libtest_mimic::run(&arguments, trials).exit();
}

/// The headers alone, twice, in every language.
fn headers(kit: &'static Kit) -> Vec<Trial> {
    let mut headers = vec!["ringlog.h".to_owned(), "ringlog.hpp".to_owned()];
    let parts = fs::read_dir(kit.include().join("ringlog")).expect("the parts of the C++ header");
    for part in parts {
        // Each part names what it needs, and may be included alone.
        let name = part.expect("the directory is readable").file_name();
        headers.push(format!("ringlog/{}", name.display()));
    }
    headers.sort();
    let standards = |header: &str| match header {
        "ringlog.h" => ["c99", "c11", "c17", "c++17", "c++20"].as_slice(),
        _ => &["c++17", "c++20"],
    };
    let trial = |(header, standard): (String, &'static str)| {
        Trial::test(format!("header::{header}_is_clean_{standard}"), move || {
            let dir = kit.scratch()?;
            let is_cpp = standard.starts_with("c++");
            let (compiler, suffix) = if is_cpp { ("c++", "cpp") } else { ("cc", "c") };
            let source = dir.path().join(format!("twice.{suffix}"));
            fs::write(&source, format!("#include <{header}>\n#include <{header}>\n"))?;
            let mut command = Command::new(compiler);
            command.arg(format!("-std={standard}")).args(STRICT).args(["-Wshadow", "-c"]);
            // Not as a system header, whose warnings would not be shown.
            command.arg("-I").arg(kit.include()).arg(&source);
            run(command.arg("-o").arg(dir.path().join("twice.o")))
        })
    };
    let pairs = headers.iter().flat_map(|header| {
        standards(header).iter().map(move |standard| (header.clone(), *standard))
    });
    pairs.map(trial).collect()
}

/// The tests in C and in C++, each as a process of its own.
fn programs(kit: &'static Kit) -> Vec<Trial> {
    let mut trials = Vec::new();
    for name in kit.cpp().names("--list") {
        trials.push(Trial::test(format!("cpp::{name}"), {
            let name = name.clone();
            move || kit.cpp().run(kit, &name)
        }));
        trials.push(Trial::test(format!("cpp_sanitized::{name}"), move || {
            kit.cpp_sanitized().run(kit, &name)
        }));
    }
    for name in kit.plain().names("--list") {
        trials.push(Trial::test(format!("c::{name}"), {
            let name = name.clone();
            move || kit.plain().run(kit, &name)
        }));
        trials.push(Trial::test(format!("c_sanitized::{name}"), move || {
            kit.sanitized().run(kit, &name)
        }));
    }
    trials.push(Trial::test("c_valgrind::the_quick_ones_touch_and_leak_nothing", move || {
        kit.valgrind("--quick-run")
    }));
    trials
}

/// Exactly the functions that the golden list names are exported, and nothing else.
fn symbols(kit: &Kit) -> Outcome {
    let library = kit.library("libringlog.so");
    let listed = kit::output(Command::new("nm").args(["-D", "--defined-only"]).arg(library))?;
    let mut found: Vec<&str> =
        listed.lines().filter_map(|line| line.split_whitespace().last()).collect();
    found.sort_unstable();
    let found = found.join("\n") + "\n";
    let golden = kit.source("tests/c/symbols.txt");
    if std::env::var_os("RINGLOG_BLESS").is_some() {
        fs::write(&golden, &found)?;
    }
    let wanted = fs::read_to_string(golden)?;
    if found == wanted {
        return Ok(());
    }
    Err(format!("exported:\n{found}\nwanted:\n{wanted}").into())
}
