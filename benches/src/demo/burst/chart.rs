//! The second scene as a small chart: bars of text for the terminal, lines for the picture.

use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::{
    ChartBuilder, Color, DrawingArea, IntoDrawingArea, IntoFont, LineSeries, RGBColor, SVGBackend,
    WHITE,
};

use super::load::Sample;
use crate::error::{Context, Error, Result};
use crate::report::number;

const COLUMNS: usize = 60;
const ROWS: usize = 3;
const BARS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
const PIXELS: (u32, u32) = (820, 720);

/// One line of the chart: its name, its unit, and how it comes from a sample.
struct Line {
    name: &'static str,
    unit: &'static str,
    of: fn(&Sample) -> f64,
}

const LINES: [Line; 4] = [
    Line { name: "events sent", unit: "a second", of: |sample| sample.sent_per_sec },
    Line { name: "producer's p99", unit: "ms", of: |sample| sample.p99_ms },
    Line { name: "events that wait", unit: "", of: |sample| sample.waiting as f64 },
    Line {
        name: "memory",
        unit: "MiB",
        of: |sample| sample.memory_bytes as f64 / f64::from(1 << 20),
    },
];

/// For the terminal: each column is the largest of its share of the time.
pub fn terminal(samples: &[Sample]) -> String {
    let end = samples.last().map_or(1.0, |sample| sample.at);
    let mut lines = Vec::new();
    for line in &LINES {
        let mut columns = [0.0_f64; COLUMNS];
        for sample in samples {
            let column = ((sample.at / end * COLUMNS as f64) as usize).min(COLUMNS - 1);
            columns[column] = columns[column].max((line.of)(sample));
        }
        fill_gaps(&mut columns);
        let top = columns.iter().copied().fold(0.0, f64::max);
        for (row, text) in bars(&columns, top).into_iter().enumerate() {
            let name = match row {
                0 => line.name.to_owned(),
                1 => format!("≤ {} {}", number(top), line.unit),
                _ => String::new(),
            };
            lines.push(format!("   {name:<18} {text}").trim_end().to_owned());
        }
    }
    let half = COLUMNS / 2;
    let seconds = format!("0 s{:>half$.0} s{:>rest$.0} s", end / 2.0, end, rest = half - 7);
    lines.push(format!("   {:<18} {seconds}", ""));
    lines.join("\n")
}

/// A column in which nobody looked is as the one before it.
fn fill_gaps(columns: &mut [f64]) {
    for column in 1..columns.len() {
        if columns[column] == 0.0 {
            columns[column] = columns[column - 1];
        }
    }
}

/// Rows of bars, the highest first.
fn bars(columns: &[f64], top: f64) -> Vec<String> {
    let eighths = |value: f64| {
        let all = (ROWS * 8) as f64;
        if top > 0.0 { (value / top * all).ceil() as usize } else { 0 }
    };
    let bar = |value: f64, below: usize| BARS[eighths(value).saturating_sub(below * 8).min(8)];
    (0..ROWS).rev().map(|below| columns.iter().map(|&value| bar(value, below)).collect()).collect()
}

/// A picture in `path`: the four lines, one below the other.
pub fn svg(path: &Path, samples: &[Sample]) -> Result<()> {
    let drawing = || format!("drawing {}", path.display());
    let area = SVGBackend::new(path, PIXELS).into_drawing_area();
    let result = area.fill(&WHITE).map_err(|error| error.to_string()).and_then(|()| {
        let parts = area.split_evenly((LINES.len(), 1));
        LINES.iter().zip(&parts).try_for_each(|(line, part)| panel(line, part, samples))?;
        area.present().map_err(|error| error.to_string())
    });
    result.map_err(Error::new).context(drawing())
}

fn panel(
    line: &Line,
    part: &DrawingArea<SVGBackend<'_>, Shift>,
    samples: &[Sample],
) -> Result<(), String> {
    let end = samples.last().map_or(1.0, |sample| sample.at);
    let top = samples.iter().map(line.of).fold(0.0, f64::max).max(1e-9) * 1.1;
    let failed = |error: &dyn std::fmt::Display| error.to_string();
    let caption = format!("{} {}", line.name, line.unit);
    let mut chart = ChartBuilder::on(part)
        .caption(caption.trim(), ("sans-serif", 16).into_font())
        .margin(8)
        .x_label_area_size(24)
        .y_label_area_size(64)
        .build_cartesian_2d(0.0..end, 0.0..top)
        .map_err(|error| failed(&error))?;
    chart
        .configure_mesh()
        .x_labels(10)
        .y_labels(4)
        .x_desc("seconds")
        .draw()
        .map_err(|error| failed(&error))?;
    let points = samples.iter().map(|sample| (sample.at, (line.of)(sample)));
    let blue = RGBColor(31, 119, 180).stroke_width(2);
    chart.draw_series(LineSeries::new(points, blue)).map_err(|error| failed(&error))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_fills_all_rows_and_the_smallest_still_shows() {
        assert_eq!(bars(&[24.0, 1.0, 0.0, 12.0], 24.0), ["█   ", "█  ▄", "█▁ █"]);
    }

    #[test]
    fn a_chart_has_its_rows_and_a_picture_its_lines() {
        let sample = |at: f64| Sample { at, waiting: at as u64, ..Sample::default() };
        let samples: Vec<Sample> = (1..100).map(|at| sample(f64::from(at) / 4.0)).collect();
        assert_eq!(terminal(&samples).lines().count(), LINES.len() * ROWS + 1);
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("a.svg");
        svg(&path, &samples).expect("it is drawn");
        let text = std::fs::read_to_string(&path).expect("it is there");
        assert!(text.contains("<polyline") && text.contains("events that wait"), "{text}");
    }
}
