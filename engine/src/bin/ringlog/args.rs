//! Every command and option, with its help.

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Parser, Subcommand, ValueEnum, value_parser};

const AFTER_HELP: &str = "\
Exit codes:
  0    done (also when whoever reads our output stops reading)
  1    failed: the message says which file and why
  2    the command line is wrong
  3    the data is damaged, of a newer format, or not Ringlog's
  4    another process holds the directory
  5    no such topic, partition or offset
  6    the directory cannot be written: read-only, full, or unable to keep what is durable
  130  interrupted; everything acknowledged is there

Examples:
  export RINGLOG_DATA=data
  ringlog create-topic orders --partitions 2
  printf 'flat white\\nespresso\\n' | ringlog append orders --print-acks
  ringlog read orders
  ringlog verify";

/// A durable commit log in a directory
#[derive(Debug, Parser)]
#[command(name = "ringlog", version, after_help = AFTER_HELP, max_term_width = 100)]
pub struct Cli {
    #[command(flatten)]
    pub place: Place,
    #[command(subcommand)]
    pub command: Command,
}

/// Where, and on what terms.
#[derive(Debug, Args)]
pub struct Place {
    /// The data directory
    #[arg(long, global = true, env = "RINGLOG_DATA", value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// How to write: `auto` takes io_uring where the kernel offers it, `plain` gives the same
    /// guarantees without
    #[arg(long, global = true, value_enum, default_value = "auto")]
    pub backend: BackendArg,
    /// Size of the segments that this run makes; smaller ones suit a small disk
    #[arg(long, global = true, value_name = "BYTES")]
    pub segment_bytes: Option<u64>,
    /// Accept a directory that loses its content with the power (tmpfs), or may (network
    /// filesystems, FUSE): durable then means nothing
    #[arg(long, global = true)]
    pub allow_volatile: bool,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    CreateTopic(CreateTopic),
    Topics(Topics),
    Stat(Stat),
    Trim(Trim),
    Append(Append),
    Read(Read),
    Dump(Dump),
    Verify(Verify),
    Repair(Repair),
    Doctor(Doctor),
    Bench(Bench),
}

/// Make a topic, and the data directory if it is not there
///
/// The topic acknowledges when durable, unless it is created with `--flush async`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ringlog --data data create-topic orders
  ringlog --data data create-topic clicks --partitions 8 --flush async
  ringlog --data data create-topic logs --compression zstd --timestamps append-time")]
pub struct CreateTopic {
    /// 1 to 249 of a-z, A-Z, 0-9, dot, underscore, hyphen
    pub name: String,
    /// How many ordered streams it has
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub partitions: u32,
    /// When its records are acknowledged: `sync` when durable, `async` when written
    #[arg(long, value_enum, default_value = "sync")]
    pub flush: FlushArg,
    /// Print what was made as one JSON object
    #[arg(long)]
    pub json: bool,
    /// How its batches are compressed: none, gzip, snappy, lz4 or zstd
    #[arg(long, value_name = "CODEC", default_value_t)]
    pub compression: ringlog::Compression,
    /// Whose time its records have: `create-time` the appender's, `append-time` the engine's
    #[arg(long, value_name = "KIND", default_value_t)]
    pub timestamps: ringlog::TimestampType,
}

/// List the topics and their partitions
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ringlog --data data topics
  ringlog --data data topics --json | jq -r '.[].name'")]
pub struct Topics {
    /// One JSON array instead of the table
    #[arg(long)]
    pub json: bool,
}

/// Show what is in the directory, and what was chosen for it and why
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ringlog --data data stat
  ringlog --data data stat --json
  ringlog --data data stat --prometheus")]
pub struct Stat {
    /// One JSON object instead
    #[arg(long)]
    pub json: bool,
    /// The counters alone, as Prometheus text; they start at zero at every open, so a program that
    /// appends should serve its own
    #[arg(long, conflicts_with = "json")]
    pub prometheus: bool,
}

/// Forget the records before an offset
///
/// Readers begin there from now on; the space comes back segment by segment.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ringlog --data data trim orders --before 1000
  ringlog --data data trim orders --partition 1 --before 1000")]
pub struct Trim {
    /// The topic
    pub topic: String,
    /// Its partition
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub partition: u32,
    /// The first offset to keep
    #[arg(long, value_name = "OFFSET")]
    pub before: u64,
    /// Print where the partition begins now as one JSON object
    #[arg(long)]
    pub json: bool,
}

/// Append each line of standard input as a record
///
/// A line is taken without its newline and otherwise byte for byte (a carriage return stays). An
/// empty line is an empty value; a last line without a newline counts; no input is no record. A
/// value has at most 16 MiB. At most 4,096 records wait for their acknowledgement at any time.
///
/// ^C stops taking input, waits for what is in flight and closes the log; a second ^C quits at
/// once.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  printf 'flat white\\nespresso\\n' | ringlog --data data append orders --print-acks
  ringlog --data data append orders --file orders.txt --partition 1
  find . -print0 | ringlog --data data append names --null --flush async")]
pub struct Append {
    /// The topic
    pub topic: String,
    /// Read from this file instead of standard input
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Values end with a NUL byte instead of a newline
    #[arg(long)]
    pub null: bool,
    /// The partition
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub partition: u32,
    /// Acknowledge when durable (sync) or when written (async); the topic's own way unless said,
    /// which this does not change
    #[arg(long, value_enum)]
    pub flush: Option<FlushArg>,
    /// Print `ACK <partition> <offset>` for each record once it is acknowledged
    #[arg(long)]
    pub print_acks: bool,
    /// Print them as JSON instead: {"partition": 0, "offset": 17}
    #[arg(long)]
    pub json: bool,
}

/// Write the values to standard output, byte for byte, each with its newline
///
/// Works beside a program that appends, on a read-only directory, and with the right to read only.
/// Several partitions come one after another. A null value is written as an empty one.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ringlog --data data read orders
  ringlog --data data read orders --partition 1 --from 1000 --max 10
  ringlog --data data read orders --from latest --follow
  ringlog --data data read orders --json | jq -r .key
  ringlog --data data read orders --from-time $(date -d '1 hour ago' +%s000)
  ringlog --data data read names --null | xargs -0 ls -d")]
pub struct Read {
    /// The topic
    pub topic: String,
    /// Only this partition
    #[arg(long, value_name = "N")]
    pub partition: Option<u32>,
    /// Where to begin: earliest, latest, or an offset
    #[arg(long, value_name = "WHERE", default_value = "earliest")]
    pub from: From,
    /// Begin at the first record of this time or later, in milliseconds since the epoch
    #[arg(long, value_name = "MS", conflicts_with = "from", allow_negative_numbers = true)]
    pub from_time: Option<i64>,
    /// At most so many values, all partitions together
    #[arg(long, value_name = "N")]
    pub max: Option<u64>,
    /// End values with a NUL byte instead of a newline
    #[arg(long)]
    pub null: bool,
    /// One JSON object a line for each record: partition, offset, timestamp, key, value,
    /// headers. Bytes that are UTF-8 are a string, others an object {"base64": "..."}
    #[arg(long, conflicts_with = "null")]
    pub json: bool,
    /// Go on: sleep until there is more, until ^C; all partitions side by side
    #[arg(long)]
    pub follow: bool,
}

/// Show segments, groups, frames and batches as they lie on disk
///
/// Takes the lock where the directory can be written; recovers and repairs nothing.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ringlog --data data dump
  ringlog --data data dump --log 1 --raw > batches.bin")]
pub struct Dump {
    /// Only this log
    #[arg(long, value_name = "N")]
    pub log: Option<u32>,
    /// Write the record batches alone: Kafka's RecordBatch v2, one after another
    #[arg(long, conflicts_with = "json")]
    pub raw: bool,
    /// One JSON object a line
    #[arg(long)]
    pub json: bool,
}

/// Read the whole directory and report any damage
///
/// Takes the lock where the directory can be written; recovers and repairs nothing. Ends with 3 if
/// there is damage.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ringlog --data data verify
  ringlog --data data verify --json")]
pub struct Verify {
    /// One JSON object instead
    #[arg(long)]
    pub json: bool,
}

/// Say what is damaged, lost and could be done about it; with `--yes` do it
///
/// Takes the lock, and is refused beside a writer. Rebuilds indexes, restores a bad copy from the
/// good one, cuts torn tails, and lets a log with damage go on behind it. Destroys nothing: what it
/// replaces is kept beside it as `*.damaged`, and damaged records stay where they are. Ends with 3
/// if something is left to do or beyond repair.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ringlog --data data repair
  ringlog --data data repair --export salvaged
  ringlog --data data repair --yes --json")]
pub struct Repair {
    /// Do it, and not only say what would be done
    #[arg(long)]
    pub yes: bool,
    /// Write what can be read of damaged logs into this directory: for each partition one file of
    /// Kafka's RecordBatch v2, one after another
    #[arg(long, value_name = "DIR")]
    pub export: Option<PathBuf>,
    /// One JSON object instead
    #[arg(long)]
    pub json: bool,
}

/// Say what this machine and this directory can promise, in words
///
/// Looks at the kernel, io_uring, limits, filesystem and device; opens an engine in a scratch
/// directory beside the data (or above it, if it is not there yet), asks it what it chose, and
/// removes it. Needs no special rights, changes nothing else, and may run beside a writer. Ends
/// with 6 if durable cannot be promised.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ringlog --data data doctor
  ringlog --data /mnt/new-disk doctor --json | jq .chosen.driver_reason")]
pub struct Doctor {
    /// One JSON object instead
    #[arg(long)]
    pub json: bool,
}

/// Measure the device, and what Ringlog makes of it, in one run
///
/// Works in a scratch directory inside DIR and removes it, after ^C too; DIR must not be a data
/// directory, only a place on the disk to be measured. No phase writes more than 1 GiB or an eighth
/// of what is free.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ringlog --data /mnt/disk bench
  ringlog --data . bench --seconds 10 --record-bytes 100 --in-flight 256 --json")]
pub struct Bench {
    /// How long each of the seven phases lasts at most
    #[arg(
        long,
        value_name = "N",
        default_value_t = 2,
        value_parser = value_parser!(u64).range(1..=3600)
    )]
    pub seconds: u64,
    /// Length of each value
    #[arg(long, value_name = "N", default_value_t = 1024, value_parser = record_bytes)]
    pub record_bytes: usize,
    /// How many appends wait for their acknowledgement at once, in the phase with many
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = in_flight)]
    pub in_flight: usize,
    /// One JSON object instead of the table
    #[arg(long)]
    pub json: bool,
}

fn record_bytes(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| (1..=16 << 20).contains(number));
    number.ok_or_else(|| "not a number from 1 to 16777216".to_owned())
}

fn in_flight(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| (1..=4096).contains(number));
    number.ok_or_else(|| "not a number from 1 to 4096".to_owned())
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum FlushArg {
    Sync,
    Async,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum BackendArg {
    Auto,
    #[value(name = "io_uring")]
    Uring,
    Plain,
}

/// Where reading begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    Earliest,
    Latest,
    Offset(u64),
}

impl FromStr for From {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "earliest" => Ok(Self::Earliest),
            "latest" => Ok(Self::Latest),
            number => number
                .parse()
                .map(Self::Offset)
                .map_err(|_| "neither earliest, latest nor an offset".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_definitions_agree_with_each_other() {
        Cli::command().debug_assert();
    }

    #[test]
    fn reading_begins_at_a_word_or_a_number() {
        assert_eq!("earliest".parse(), Ok(From::Earliest));
        assert_eq!("latest".parse(), Ok(From::Latest));
        assert_eq!("17".parse(), Ok(From::Offset(17)));
        assert!("-1".parse::<From>().is_err());
    }
}
