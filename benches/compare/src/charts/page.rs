//! The page around the pictures, in Markdown.

use std::fmt::Write;

use ringlog_benches::report::number;

use super::results::{Results, Work};
use crate::peers::figures::Figures;

const HEAD: &str = "# Beside what a user would pick today

Made by `compare charts` from the JSON lines that `make compare` writes; how it is measured is in
[benches/README.md](../../benches/README.md#beside-other-engines). Each peer runs in its honest
durable mode, which *flushes* proves: how often it made something durable for each acknowledgement,
counted by strace. Ratios are to the device's figure right before the same turn.
";

fn row(figures: &Figures) -> String {
    let range = |median: f64, min: f64, max: f64| {
        format!("{} ({}–{})", number(median), number(min), number(max))
    };
    let (rate, cost) = (figures.per_sec, figures.cpu_secs_per_million);
    let ratio = figures.ratio_to_device.median;
    let ratio = if ratio < 0.01 { format!("{ratio:.4}") } else { format!("{ratio:.2}") };
    let flushes = figures.flushes_per_ack.map_or_else(String::new, |each| format!("{each:.3}"));
    let name = figures.full_name();
    format!(
        "| {} | {} | {ratio} | {} | {} | {} | {} | {flushes} |",
        if figures.ours { format!("**{name}**") } else { name },
        range(rate.median, rate.min, rate.max),
        number(figures.p50_us.median),
        number(figures.p99_us.median),
        number(figures.p999_us.median),
        range(cost.median, cost.min, cost.max),
    )
}

fn section(work: &Work) -> String {
    let figures = &work.figures;
    let name = &figures.workload;
    let device = figures.device_per_sec;
    let mut text = format!("\n## {}\n\n", figures.about);
    for picture in ["throughput", "latency", "cpu"] {
        let _ = writeln!(text, "![{picture}: {}]({picture}-{name}.svg)", figures.about);
    }
    text += "\n| | records/s | x device | p50 µs | p99 | p99.9 | CPU s per million | flushes |\n";
    text += "|---|---|---|---|---|---|---|---|\n";
    let [p50, p99, p999] = figures.device_us.map(number);
    let rate = number(device.median);
    let cell = &figures.device_cell;
    let _ = writeln!(text, "| the device, {cell} | {rate} | 1 | {p50} | {p99} | {p999} | | |");
    for entrant in &figures.entrants {
        text += &row(entrant);
        text.push('\n');
    }
    for (who, why) in &figures.left_out {
        let _ = writeln!(text, "\nLeft out: {who}: {why}.");
    }
    let others = figures.entrants.iter().map(|one| one.others_cpus.median).fold(0.0, f64::max);
    let _ = writeln!(
        text,
        "\n{} rounds; other programs used up to {} processors. {}.",
        figures.rounds,
        number(others),
        work.machine.line()
    );
    text
}

/// The whole page.
pub fn page(results: &Results) -> String {
    let mut text = HEAD.to_owned();
    if !results.skipped.is_empty() {
        text += "\nSkipped on that machine:\n\n";
        for skip in &results.skipped {
            let _ = writeln!(text, "- {}: {}", skip.peer, skip.why);
        }
    }
    for work in &results.works {
        text += &section(work);
    }
    if !results.series.is_empty() {
        text += "\n## Ringlog alone, as something grows\n\n";
    }
    for series in &results.series {
        let name = &series.name;
        let _ = writeln!(text, "![throughput by {name}](scale-{name}.svg)");
    }
    if let Some(series) = results.series.first() {
        let _ = writeln!(text, "\n{}.", series.machine.line());
    }
    text
}
