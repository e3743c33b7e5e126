//! The command line.

use clap::{Parser, Subcommand};
use ringlog_benches::cli::{Options, WorkloadArgs};
use ringlog_benches::contest::enter::EnterArgs;

use crate::charts::ChartsArgs;
use crate::peers::run::PeersArgs;
use crate::peers::server::GuardedArgs;
use crate::syncs::SyncsArgs;

/// Measures Ringlog beside other engines and servers.
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
    /// One in flight, 64, batches, 1,000 streams, and written: over all peers that are here
    Peers(PeersArgs),
    /// Our own throughput by producers, partitions and record size (`--only` producers, partitions,
    /// bytes)
    Scale(WorkloadArgs),
    /// Draws what JSON lines hold, as SVG, and writes the page around them
    Charts(ChartsArgs),
    /// A2: written, batches of 256, 100 B
    Written(WorkloadArgs),
    /// F1: durable, spread over 1,000 partitions
    Spread(WorkloadArgs),
    /// R1: reading everything warm, every byte added up
    Read(WorkloadArgs),
    /// How often each engine makes something durable, for each acknowledgement: counted by strace
    Syncs,
    /// All of these but the charts
    All(PeersArgs),
    /// Takes part in a contest, told when by standard input
    #[command(hide = true)]
    Enter(EnterArgs),
    /// Appends for `syncs` to watch
    #[command(hide = true)]
    SyncsOnce(SyncsArgs),
    /// Becomes a server that dies with the process that asks for it
    #[command(hide = true)]
    Guarded(GuardedArgs),
}
