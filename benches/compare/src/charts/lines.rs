//! Lines: the distribution of latencies of each peer, and our own throughput as something grows.

use plotters::prelude::{
    BindKeyPoints as _, ChartBuilder, Circle, Color, DrawingArea, ErrorBar, IntoFont, IntoLogRange,
    LineSeries, PathElement, RGBColor, SVGBackend,
};
use plotters::style::text_anchor::HPos;
use ringlog_benches::error::Result;
use ringlog_benches::report::number;
use ringlog_benches::stats::Spread;

use super::canvas::{
    Area, FAINT, FOOT, HEAD, INK, OURS, SIDE, WIDTH, failed, picture, text, write,
};
use super::results::{Series, Work};
use crate::peers::figures::Figures;

const HEIGHT: i32 = 520;
/// Space at the right for the names.
const NAMES: i32 = 290;
const NAME_ROW: i32 = 22;
/// The device is drawn in it, dashed.
const DEVICE: RGBColor = RGBColor(110, 119, 129);
/// Told apart also by those who do not tell red from green: no two that are alike in lightness are
/// neighbours.
const COLOURS: [RGBColor; 12] = [
    RGBColor(230, 97, 1),
    RGBColor(27, 120, 55),
    RGBColor(118, 42, 131),
    RGBColor(200, 30, 60),
    RGBColor(1, 133, 113),
    RGBColor(166, 97, 26),
    RGBColor(90, 90, 200),
    RGBColor(180, 160, 10),
    RGBColor(223, 101, 176),
    RGBColor(60, 60, 60),
    RGBColor(65, 182, 196),
    RGBColor(150, 150, 150),
];
/// The tail is drawn to here: 99.99 of a hundred.
const NINES_MAX: f64 = 4.0;

/// How many nines a quantile has: 0.9 has one, 0.99 two.
fn nines(quantile: f64) -> f64 {
    -(1.0 - quantile).log10()
}

fn quantile_words(nines: f64) -> String {
    let percent = 100.0 * (1.0 - 10_f64.powf(-nines));
    if nines < 2.5 {
        format!("{percent:.0} %")
    } else if nines < 3.5 {
        format!("{percent:.1} %")
    } else {
        format!("{percent:.2} %")
    }
}

/// Each peer once, in the way it is best, and us in all.
fn shown(figures: &[Figures]) -> Vec<&Figures> {
    let better = |a: &Figures, b: &Figures| a.peer == b.peer && a.per_sec.median > b.per_sec.median;
    let is_best = |one: &&Figures| one.ours || !figures.iter().any(|other| better(other, one));
    figures.iter().filter(is_best).collect()
}

/// The distribution of latencies: how much of all was acknowledged within a time.
pub fn latency(work: &Work) -> Result<String> {
    let figures = &work.figures;
    let entrants = shown(&figures.entrants);
    let all = || entrants.iter().flat_map(|entrant| &entrant.latency_us).map(|&(_, us)| us);
    let least = all().fold(f64::MAX, f64::min).max(0.01) / 1.3;
    let most = all().fold(1.0, f64::max) * 1.3;
    let title = format!("Latency of an acknowledgement: {}", figures.about);
    let below =
        "how much of all is acknowledged within a time; the closer to the top left the better";
    picture(HEIGHT, &title, below, &work.machine, |area| {
        let plot = plot_area(area, NAMES);
        let mut chart = ChartBuilder::on(&plot)
            .x_label_area_size(36)
            .y_label_area_size(66)
            .build_cartesian_2d((least..most).log_scale(), 0.0..NINES_MAX)
            .map_err(failed)?;
        chart
            .configure_mesh()
            .light_line_style(RGBColor(240, 242, 244))
            .label_style(("sans-serif", 12).into_font().color(&INK))
            .x_desc("microseconds")
            .x_label_formatter(&|us| number(*us))
            .y_labels(5)
            .y_label_formatter(&|nines| quantile_words(*nines))
            .draw()
            .map_err(failed)?;
        let mut row = HEAD + 16;
        let mut others = COLOURS.iter().cycle();
        let mut ours = [OURS, RGBColor(84, 174, 255), RGBColor(5, 52, 128)].into_iter().cycle();
        for entrant in entrants {
            let next = if entrant.ours { ours.next() } else { others.next().copied() };
            let colour = next.unwrap_or(INK);
            let points = entrant.latency_us.iter().map(|&(q, us)| (us, nines(q)));
            let width = if entrant.ours { 3 } else { 2 };
            let style = colour.stroke_width(width);
            chart.draw_series(LineSeries::new(points, style)).map_err(failed)?;
            name(area, row, colour, width, entrant.full_name())?;
            row += NAME_ROW;
        }
        Ok(())
    })
}

fn plot_area<'a>(
    area: &Area<'a>,
    right: i32,
) -> DrawingArea<SVGBackend<'a>, plotters::coord::Shift> {
    area.margin(HEAD, FOOT, SIDE, right)
}

/// A name with its line, at the right.
fn name(area: &Area<'_>, row: i32, colour: RGBColor, width: u32, what: String) -> Result<()> {
    let left = WIDTH.cast_signed() - NAMES + 14;
    let line = vec![(left, row), (left + 22, row)];
    area.draw(&PathElement::new(line, colour.stroke_width(width))).map_err(failed)?;
    write(area, what, (left + 30, row), &text(12, INK, HPos::Left))
}

/// What grows, what is measured, and of what appends.
fn words(series: &Series) -> [&str; 3] {
    let of_first = series.points.first().map_or("", |at| at.figures.about.as_str());
    match series.name.as_str() {
        "bytes" => ["bytes of a record", "megabytes of values a second", "durable, 64 in flight"],
        "producers" => [
            "blocking threads",
            "records a second",
            "durable, each thread waits for every record of its own, 1 KiB",
        ],
        _ => ["partitions", "records a second", of_first],
    }
}

/// Our throughput as something grows, the device's beside it.
pub fn scale(series: &Series) -> Result<String> {
    let by_bytes = series.name == "bytes";
    let value_bytes = |value: u32| if by_bytes { f64::from(value) } else { 1024.0 };
    let point = |value: u32, spread: Spread| {
        let scale = if by_bytes { value_bytes(value) / 1e6 } else { 1.0 };
        [spread.min, spread.median, spread.max].map(|rate| rate * scale)
    };
    let ours: Vec<(f64, [f64; 3])> = series
        .points
        .iter()
        .filter_map(|at| {
            let entrant = at.figures.entrants.first()?;
            Some((f64::from(at.value), point(at.value, entrant.per_sec)))
        })
        .collect();
    let device: Vec<(f64, f64)> = series
        .points
        .iter()
        .map(|at| (f64::from(at.value), point(at.value, at.figures.device_per_sec)[1]))
        .collect();
    let [what, unit, about] = words(series);
    let title = format!("Ringlog, {unit} by {what}");
    let tops = ours.iter().map(|(_, at)| at[2]).chain(device.iter().map(|&(_, rate)| rate));
    let top = tops.fold(1.0, f64::max) * 1.1;
    let (first, last) =
        (device.first().map_or(1.0, |at| at.0), device.last().map_or(2.0, |at| at.0));
    let x = first / 1.2..last * 1.2;
    let measured_at: Vec<f64> = device.iter().map(|at| at.0).collect();
    picture(HEIGHT, &title, about, &series.machine, |area| {
        let plot = plot_area(area, 200);
        let mut chart = ChartBuilder::on(&plot)
            .x_label_area_size(36)
            .y_label_area_size(76)
            .build_cartesian_2d(x.log_scale().with_key_points(measured_at), 0.0..top)
            .map_err(failed)?;
        chart
            .configure_mesh()
            .max_light_lines(0)
            .bold_line_style(RGBColor(232, 234, 237))
            .label_style(("sans-serif", 12).into_font().color(&INK))
            .x_desc(what)
            .x_label_formatter(&|value| format!("{value:.0}"))
            .y_label_formatter(&|rate| number(*rate))
            .draw()
            .map_err(failed)?;
        let dashes =
            device.windows(2).map(|ends| PathElement::new(ends.to_vec(), DEVICE.stroke_width(2)));
        chart.draw_series(dashes).map_err(failed)?;
        let line = ours.iter().map(|&(value, at)| (value, at[1]));
        chart.draw_series(LineSeries::new(line, OURS.stroke_width(3))).map_err(failed)?;
        let whiskers = ours.iter().map(|&(value, [min, median, max])| {
            ErrorBar::new_vertical(value, min, median, max, OURS.filled(), 8)
        });
        chart.draw_series(whiskers).map_err(failed)?;
        let dots = ours.iter().map(|&(value, at)| Circle::new((value, at[1]), 4, OURS.filled()));
        chart.draw_series(dots).map_err(failed)?;
        let left = WIDTH.cast_signed() - 186;
        for (row, colour, who) in [(0, OURS, "Ringlog"), (1, FAINT, "the device's best cell")] {
            let y = HEAD + 16 + row * NAME_ROW;
            let line = vec![(left, y), (left + 22, y)];
            area.draw(&PathElement::new(line, colour.stroke_width(3))).map_err(failed)?;
            write(area, who.to_owned(), (left + 30, y), &text(12, INK, HPos::Left))?;
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::charts::results::Results;
    use crate::charts::results::tests::example;

    #[test]
    fn nines_are_named_as_percent() {
        let words = [0.0, 1.0, 2.0, 3.0, 4.0].map(quantile_words);
        assert_eq!(words, ["0 %", "90 %", "99 %", "99.9 %", "99.99 %"]);
        assert!((nines(0.999) - 3.0).abs() < 1e-9);
    }

    #[test]
    fn a_peer_is_shown_in_its_best_way_and_we_in_all() {
        let mut results = Results::default();
        results.add(&example()).expect("the lines are ours");
        let mut figures = results.works[0].figures.entrants.clone();
        let mut slower = figures[1].clone();
        slower.per_sec.median /= 2.0;
        slower.how = "slowly".to_owned();
        let mut ours = figures[0].clone();
        ours.per_sec.median /= 2.0;
        figures.extend([slower, ours]);
        let shown: Vec<&str> = shown(&figures).iter().map(|one| one.peer.as_str()).collect();
        assert_eq!(shown, ["Ringlog", "SQLite", "Redis Streams", "Ringlog"]);
        assert!(!super::shown(&figures).iter().any(|one| one.how == "slowly"));
    }

    #[test]
    fn pictures_name_all_who_are_in_them() {
        let mut results = Results::default();
        results.add(&example()).expect("the lines are ours");
        let svg = latency(&results.works[0]).expect("it is drawn");
        assert!(["Ringlog, durably", "SQLite", "99.9 %"].iter().all(|who| svg.contains(who)));
        let svg = scale(&results.series[0]).expect("it is drawn");
        assert!(svg.contains("blocking threads") && svg.contains("the device"), "{svg}");
    }
}
