//! Bars that lie: throughput and processor time of each peer at one workload.

use plotters::prelude::{Color, PathElement, RGBColor, WHITE};
use plotters::style::text_anchor::HPos;
use ringlog_benches::error::Result;
use ringlog_benches::report::number;
use ringlog_benches::stats::Spread;

use super::canvas::{
    Area, FAINT, FOOT, HEAD, INK, OURS, WIDTH, failed, fill, picture, text, write,
};
use super::results::{Machine, Work};
use crate::peers::figures::Figures;

const ROW: i32 = 26;
const BAR: i32 = 16;
/// Where the bars begin.
const LEFT: i32 = 300;
/// Space for the figures to the right of the longest bar.
const RIGHT: i32 = 190;
const EMBEDDED: RGBColor = RGBColor(87, 171, 90);
const SERVER: RGBColor = RGBColor(219, 139, 48);
/// So many times the value in the middle, and the axis does not go all the way.
const CUT_ABOVE: f64 = 12.0;
const DEVICE: RGBColor = RGBColor(208, 215, 222);

struct Bar {
    name: String,
    colour: RGBColor,
    bold: bool,
    value: Spread,
    words: String,
}

fn colour(figures: &Figures) -> RGBColor {
    if figures.ours {
        OURS
    } else if figures.server_cpu_secs_per_million.max > 0.0 {
        SERVER
    } else {
        EMBEDDED
    }
}

fn bar(figures: &Figures, value: Spread, words: String) -> Bar {
    let (name, bold) = (figures.full_name(), figures.ours);
    Bar { name, colour: colour(figures), bold, value, words }
}

/// Records a second, the largest first, the device above all.
pub fn throughput(work: &Work) -> Result<String> {
    let figures = &work.figures;
    let rate = figures.device_per_sec;
    let mut bars = vec![Bar {
        name: format!("the device: {}", figures.device_cell),
        colour: DEVICE,
        bold: false,
        value: rate,
        words: number(rate.median),
    }];
    let mut entrants: Vec<&Figures> = figures.entrants.iter().collect();
    entrants.sort_by(|a, b| b.per_sec.median.total_cmp(&a.per_sec.median));
    bars.extend(entrants.into_iter().map(|entrant| {
        let ratio = entrant.ratio_to_device.median;
        let ratio = if ratio < 0.01 { format!("{ratio:.4}") } else { format!("{ratio:.2}") };
        let words = format!("{}  ({ratio} x device)", number(entrant.per_sec.median));
        bar(entrant, entrant.per_sec, words)
    }));
    let title = format!("Records a second: {}", figures.about);
    let most = bars.iter().map(|bar| bar.value.max).fold(f64::MIN_POSITIVE, f64::max);
    draw(&title, &bars, most, &work.machine)
}

/// Where the axis ends: at the largest value, unless a few are so far above the others that these
/// could not be told apart. What is longer is then cut.
fn axis(bars: &[Bar]) -> f64 {
    let mut values: Vec<f64> = bars.iter().map(|bar| bar.value.max).collect();
    values.sort_by(f64::total_cmp);
    let largest = values.last().copied().unwrap_or(0.0).max(f64::MIN_POSITIVE);
    let middle = values.get(values.len() / 2).copied().unwrap_or(largest);
    if largest > middle * CUT_ABOVE { middle * CUT_ABOVE / 2.0 } else { largest }
}

/// Processor seconds per million records, the least first.
pub fn cpu(work: &Work) -> Result<String> {
    let figures = &work.figures;
    let mut entrants: Vec<&Figures> = figures.entrants.iter().collect();
    let cost = |figures: &Figures| figures.cpu_secs_per_million.median;
    entrants.sort_by(|a, b| cost(a).total_cmp(&cost(b)));
    let bars: Vec<Bar> = entrants
        .into_iter()
        .map(|entrant| {
            let server = entrant.server_cpu_secs_per_million.median;
            let of_it =
                if server > 0.0 { format!("  (server {})", number(server)) } else { String::new() };
            let words = format!("{} s{of_it}", number(cost(entrant)));
            bar(entrant, entrant.cpu_secs_per_million, words)
        })
        .collect();
    let title = format!("Processor seconds per million records: {}", figures.about);
    draw(&title, &bars, axis(&bars), &work.machine)
}

fn draw(title: &str, bars: &[Bar], most: f64, machine: &Machine) -> Result<String> {
    let rows = i32::try_from(bars.len()).unwrap_or(0);
    let height = HEAD + 10 + rows * ROW + FOOT + 10;
    let width = WIDTH.cast_signed();
    let x = |value: f64| {
        LEFT + (f64::from(width - LEFT - RIGHT) * value.min(most) / most).round() as i32
    };
    let below = "blue: Ringlog; green: in the process; orange: a server over loopback, its \
                 processor time included";
    picture(height, title, below, machine, |area| {
        for (bar, row) in bars.iter().zip(0..) {
            let middle = HEAD + 10 + row * ROW + ROW / 2;
            let ink = if bar.bold { OURS } else { INK };
            let at = (LEFT - 10, middle);
            write(area, bar.name.clone(), at, &text(13, ink, HPos::Right))?;
            let end = x(bar.value.median).max(LEFT + 1);
            fill(area, (LEFT, middle - BAR / 2), (end, middle + BAR / 2), bar.colour)?;
            let (low, high) = (x(bar.value.min), x(bar.value.max));
            if bar.value.median > most {
                // Cut: two white strokes through the bar.
                for at in [end - 24, end - 18] {
                    let stroke = vec![(at - 3, middle + BAR / 2), (at + 3, middle - BAR / 2)];
                    let stroke = PathElement::new(stroke, WHITE.stroke_width(3));
                    area.draw(&stroke).map_err(failed)?;
                }
            } else {
                whiskers(area, low, high, middle)?;
            }
            let at = (high.max(end) + 8, middle);
            write(area, bar.words.clone(), at, &text(13, ink, HPos::Left))?;
        }
        fill(area, (LEFT - 1, HEAD + 8), (LEFT, HEAD + 12 + rows * ROW), FAINT)?;
        Ok(())
    })
}

fn whiskers(area: &Area<'_>, low: i32, high: i32, middle: i32) -> Result<()> {
    for line in [
        vec![(low, middle), (high, middle)],
        vec![(low, middle - 3), (low, middle + 3)],
        vec![(high, middle - 3), (high, middle + 3)],
    ] {
        area.draw(&PathElement::new(line, FAINT)).map_err(failed)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::charts::results::Results;
    use crate::charts::results::tests::example;

    fn work() -> Work {
        let mut results = Results::default();
        results.add(&example()).expect("the lines are ours");
        results.works.swap_remove(0)
    }

    /// Where each text stands, from the top.
    fn at(svg: &str, what: &str) -> f64 {
        let end = svg.find(what).unwrap_or_else(|| panic!("{what} is not in the picture"));
        let text = svg[..end].rfind("<text").expect("it is in a text");
        let y = svg[text..].split("y=\"").nth(1).expect("it has a place");
        y.split('"').next().and_then(|y| y.parse().ok()).expect("a number")
    }

    #[test]
    fn the_fastest_comes_first_below_the_device() {
        let svg = throughput(&work()).expect("it is drawn");
        let places = ["the device", "Ringlog, durably", "SQLite, durably"].map(|who| at(&svg, who));
        assert!(places.is_sorted(), "{places:?}");
        assert!(svg.contains("x device") && svg.contains("kernel 6.2"), "{svg}");
    }

    #[test]
    fn an_axis_ends_where_most_can_still_be_told_apart() {
        let bars = |values: &[f64]| -> Vec<Bar> {
            let spread = |&value: &f64| Spread { median: value, min: value, max: value };
            let figures = work().figures.entrants.remove(0);
            values.iter().map(|value| bar(&figures, spread(value), String::new())).collect()
        };
        let near = |found: f64, wanted: f64| (found - wanted).abs() < 1e-9;
        assert!(near(axis(&bars(&[1.0, 2.0, 3.0])), 3.0));
        assert!(near(axis(&bars(&[1.0, 2.0, 3_000.0])), 12.0), "half of twelve times the middle");
    }

    #[test]
    fn the_cheapest_comes_first_and_a_server_shows_its_part() {
        let svg = cpu(&work()).expect("it is drawn");
        assert!(at(&svg, "Ringlog, durably") < at(&svg, "SQLite, durably"));
        assert!(svg.contains("(server "), "{svg}");
    }
}
