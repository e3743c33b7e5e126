//! `read`: R1, everything is read from the first record to the last while it lies in memory, and
//! every byte of every value is added up.

mod memory;
pub mod ringlog;

use crate::Bench;
use crate::cli::{Options, WorkloadArgs};
use crate::contest::enter::{self, EnterArgs};
use crate::contest::{self, Contest, Entrant, Versus};
use crate::error::{Error, Result};
use crate::values::Values;
use crate::workload::result::Mode;

/// Bytes of values that are read in one pass.
const TOTAL_BYTES: usize = 256 << 20;
const TOTAL_BYTES_QUICK: usize = 32 << 20;

/// What is written, and then read.
#[derive(Clone, Copy, Debug)]
pub struct Task {
    /// Its name.
    pub name: &'static str,
    /// What it is, in a few words.
    pub about: &'static str,
    /// Size of a value.
    pub value_bytes: usize,
    /// Records of a batch.
    pub batch: usize,
    /// How many there are.
    pub records: usize,
}

/// The tasks, by name, size of a value, and records of a batch.
const TASKS: &[(&str, &str, usize, usize)] = &[
    ("r1-100-1", "read everything warm and add it up, 100 B, batches of 1", 100, 1),
    ("r1-100-256", "read everything warm and add it up, 100 B, batches of 256", 100, 256),
    ("r1-1k-1", "read everything warm and add it up, 1 KiB, batches of 1", 1024, 1),
    ("r1-1k-256", "read everything warm and add it up, 1 KiB, batches of 256", 1024, 256),
];

impl Task {
    /// All of them.
    pub fn all(options: &Options) -> Vec<Self> {
        let total = if options.quick { TOTAL_BYTES_QUICK } else { TOTAL_BYTES };
        let task = |&(name, about, value_bytes, batch): &(_, _, usize, usize)| {
            let records = (total / value_bytes).next_multiple_of(batch);
            Self { name, about, value_bytes, batch, records }
        };
        TASKS.iter().map(task).collect()
    }

    /// The one of this name.
    pub fn named(options: &Options, name: &str) -> Option<Self> {
        Self::all(options).into_iter().find(|task| task.name == name)
    }
}

/// What a pass has seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Records.
    pub records: u64,
    /// Bytes of their values.
    pub bytes: u64,
    /// The sum of these bytes.
    pub sum: u64,
}

impl Seen {
    /// Sees a value.
    pub fn add(&mut self, value: &[u8]) {
        self.records += 1;
        self.bytes += value.len() as u64;
        self.sum += sum(value);
    }
}

/// The sum of all bytes, eight at a time: every entrant calls this, so that what differs is how it
/// came by the bytes.
pub fn sum(bytes: &[u8]) -> u64 {
    const LANES: u64 = 0x00ff_00ff_00ff_00ff;
    /// So many words keep each lane of 16 bits, to which a word adds 510 at most, from its end.
    const WORDS: usize = 128;
    let mut total = 0;
    for piece in bytes.chunks(WORDS * 8) {
        let mut lanes = 0_u64;
        let (words, rest) = piece.as_chunks::<8>();
        for &word in words {
            let word = u64::from_le_bytes(word);
            lanes += (word & LANES) + ((word >> 8) & LANES);
        }
        total += rest.iter().map(|&byte| u64::from(byte)).sum::<u64>();
        total += (0..4).map(|lane| (lanes >> (16 * lane)) & 0xffff).sum::<u64>();
    }
    total
}

/// What a pass has to see.
pub fn expected(task: &Task, values: &Values) -> Seen {
    let mut seen = Seen::default();
    (0..task.records).for_each(|index| seen.add(values.get(index)));
    seen
}

/// A pass has seen something else.
pub fn differs(seen: Seen, expected: Seen) -> Error {
    Error::new(format!("a pass saw {seen:?} instead of {expected:?}"))
}

/// Ours, with the checksums of batches verified and not, and the same bytes in plain memory.
pub fn entrants(task: &Task, args: &WorkloadArgs) -> Vec<Entrant> {
    let enter = |name: &str, id: &str| enter::entrant(name, id, task.name, Mode::Growth, args);
    vec![
        enter("ringlog, checksums verified", "ringlog"),
        enter("ringlog, not verified", "ringlog-unchecked"),
        enter("the bytes in plain memory", "memory"),
    ]
}

/// Runs the tasks beside plain memory.
pub fn run(bench: &mut Bench, args: &WorkloadArgs) -> Result<()> {
    let tasks = Task::all(&bench.options).into_iter().filter(|task| args.asks_for(task.name));
    let contest = |task: Task| Contest {
        name: task.name.to_owned(),
        about: task.about.to_owned(),
        entrants: entrants(&task, args),
        cells: &[],
        versus: [0, 1].map(|ours| Versus { ours, over: 2, at_least: None }).to_vec(),
    };
    let contests: Vec<Contest> = tasks.map(contest).collect();
    contest::run(bench, &contests)
}

/// Becomes one of our entrants; `None` if it is none of them.
pub fn enter(options: &Options, enter: &EnterArgs, task: &Task) -> Option<Result<()>> {
    let dir = &enter.entrant_dir;
    Some(match enter.entrant.as_str() {
        "ringlog" => {
            enter::read(options, enter, task, |values| ringlog::fill(dir, task, values, true))
        }
        "ringlog-unchecked" => {
            enter::read(options, enter, task, |values| ringlog::fill(dir, task, values, false))
        }
        "memory" => enter::read(options, enter, task, |values| Ok(memory::fill(task, values))),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::values::random_bytes;

    #[test]
    fn the_sum_is_that_of_all_bytes() {
        let slow = |bytes: &[u8]| bytes.iter().map(|&byte| u64::from(byte)).sum::<u64>();
        for len in [0, 1, 7, 8, 100, 1024, 1025, 9000] {
            let random = random_bytes(len as u64, len);
            assert_eq!(sum(&random), slow(&random), "{len}");
            assert_eq!(sum(&vec![255; len]), 255 * len as u64, "{len}");
        }
    }
}
