//! The command line.

use clap::{Parser, Subcommand};
use ringlog_benches::cli::{Options, WorkloadArgs};
use ringlog_benches::contest::enter::EnterArgs;

use crate::syncs::SyncsArgs;

/// Measures Ringlog beside raft-engine and LMDB.
#[derive(Debug, Parser)]
#[command(name = "compare", version, about)]
pub struct Cli {
    /// Options of all commands.
    #[command(flatten)]
    pub options: Options,
    /// What to measure.
    #[command(subcommand)]
    pub command: Command,
}

/// What to measure.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// A2: written, batches of 256, 100 B
    Written(WorkloadArgs),
    /// F1: durable, spread over 1,000 partitions
    Spread(WorkloadArgs),
    /// R1: reading everything warm, every byte added up
    Read(WorkloadArgs),
    /// How often each engine makes something durable, for each acknowledgement: counted by strace
    Syncs,
    /// All of these
    All(WorkloadArgs),
    /// Takes part in a contest, told when by standard input
    #[command(hide = true)]
    Enter(EnterArgs),
    /// Appends one record after another, for `syncs` to watch
    #[command(hide = true)]
    SyncsOnce(SyncsArgs),
}
