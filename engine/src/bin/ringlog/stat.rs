//! `ringlog stat`: what is in the directory, and what was chosen for it and why.

use ringlog::{LogCapabilities, LogMetrics};

use super::args::{Place, Stat};
use super::exit::Failure;
use super::output::Output;

pub fn run(place: &Place, args: &Stat) -> Result<(), Failure> {
    place.with_reader(|session| {
        let stat = session.engine.stat();
        let mut output = Output::new();
        if args.prometheus {
            output.bytes(stat.metrics.to_prometheus().as_bytes())?;
        } else if args.json {
            output.json(&stat)?;
        } else {
            directory(&stat, &mut output)?;
            for log in &stat.metrics.logs {
                let how = stat.capabilities.logs.iter().find(|how| how.log == log.log);
                metrics(log, how, &mut output)?;
            }
        }
        output.flush()
    })
}

fn directory(stat: &ringlog::Stat, output: &mut Output) -> Result<(), Failure> {
    let chosen = &stat.capabilities;
    let partitions: u32 = stat.topics.iter().map(|topic| topic.partition_count).sum();
    let direct = if chosen.direct_io { "direct writes" } else { "buffered writes" };
    output.line(format_args!("directory    {}", stat.path.display()))?;
    output
        .line(format_args!("engine       {}, format version {}", stat.uuid, stat.format_version))?;
    output.line(format_args!("topics       {}, {partitions} partitions", stat.topics.len()))?;
    output.line(format_args!("opened in    {:?}", stat.opened_in))?;
    output.line(format_args!("shards       {}", chosen.shards))?;
    let metrics = &stat.metrics;
    output.line(format_args!(
        "pinned       {} bytes, of at most {}",
        metrics.pinned_bytes, metrics.pinned_bytes_max
    ))?;
    output.line(format_args!("driver       {}: {}", chosen.driver, chosen.driver_reason))?;
    output.line(format_args!("filesystem   {}, {direct}", chosen.filesystem))?;
    if let Some(why) = &chosen.volatile {
        output.line(format_args!("durability   none over a power loss: {why}"))?;
    }
    if let Some(why) = &chosen.no_file_ring {
        output.line(format_args!("ring         not in a file: {why}"))?;
    }
    Ok(())
}

fn metrics(
    log: &LogMetrics,
    how: Option<&LogCapabilities>,
    output: &mut Output,
) -> Result<(), Failure> {
    output.line(format_args!("\n{}, {}", log.log, log.flush))?;
    if let Some(how) = how {
        let place = if how.ring_in_file { "file" } else { "memory" };
        output.line(format_args!("  ring       {} bytes in {place}", how.ring_bytes))?;
        output.line(format_args!("  written    {}", how.written))?;
        output.line(format_args!("  durable    {}", how.durable))?;
    }
    output.line(format_args!("  segments   {}", log.segments))?;
    output.line(format_args!(
        "  end        {} written, {} durable, epoch {}",
        log.written_end, log.durable_end, log.epoch
    ))?;
    let recovery = &log.recovery;
    let before = if recovery.clean { "closed cleanly" } else { "not closed cleanly" };
    output.line(format_args!(
        "  recovery   {before}; {:?}, {} bytes read, {} replayed, {} cut, {} lost",
        recovery.took,
        recovery.scanned_bytes,
        recovery.replayed_bytes,
        recovery.cut_bytes,
        recovery.lost_bytes,
    ))?;
    let scrub = &log.scrub;
    if scrub.bytes > 0 {
        output.line(format_args!(
            "  scrub      {} bytes read, {} passes completed",
            scrub.bytes, scrub.passes
        ))?;
    }
    if let Some(damage) = &scrub.damage {
        let places = scrub.damaged_places;
        output.line(format_args!("  damaged    {places} places in sealed segments: {damage}"))?;
    }
    for trouble in log.stopped.iter().chain(&log.upkeep_error) {
        output.line(format_args!("  trouble    {trouble}"))?;
    }
    Ok(())
}
