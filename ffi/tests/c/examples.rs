//! The examples: compiled as a user would, run, and what they print looked at.

use std::process::Command;

use libtest_mimic::Trial;

use crate::kit::{self, Kit, Outcome, compiler};

/// A program, its language, and pieces of what it prints.
struct Example {
    file: &'static str,
    standard: &'static str,
    prints: &'static [&'static str],
}

const EXAMPLES: &[Example] = &[
    Example {
        file: "minimal.c",
        standard: "c99",
        prints: &["durable at offset 0\n", "table 7: one flat white\n"],
    },
    Example {
        file: "event_loop.c",
        standard: "gnu11",
        prints: &["1000 appended and durable, 1000 read back, by one thread\n"],
    },
    Example {
        file: "stream_server.c",
        standard: "gnu11",
        prints: &["2000 records arrived in batches as they lie on disk\n"],
    },
    Example {
        file: "iterate.cpp",
        standard: "c++17",
        prints: &[
            "0 table 7: one flat white [waiter=Ann] [urgent=absent]\n",
            "1 -: two espressos\n",
            "2 -: a glass of water\n",
            "later ones begin at 1, and a reader from then at 1\n",
            "3 records in 4 partitions\n",
            "RINGLOG_E_UNKNOWN_TOPIC: ",
        ],
    },
];

pub fn trials(kit: &'static Kit) -> Vec<Trial> {
    let trial = |example: &'static Example| {
        Trial::test(format!("example::{}", example.file), move || try_out(kit, example))
    };
    EXAMPLES.iter().map(trial).collect()
}

fn try_out(kit: &Kit, example: &Example) -> Outcome {
    let dir = kit.scratch()?;
    let program = dir.path().join("example");
    let language = if example.standard.contains("++") { "c++" } else { "cc" };
    let mut command = compiler(language, example.standard);
    command.arg(kit.source("examples").join(example.file));
    kit.link(&mut command, &program)?;
    let said = kit::output(Command::new(program).arg(dir.path().join("data")))?;
    match example.prints.iter().find(|piece| !said.contains(**piece)) {
        Some(missing) => Err(format!("{missing:?} is not in\n{said}").into()),
        None => Ok(()),
    }
}
