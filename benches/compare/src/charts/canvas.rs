//! What all pictures share: size, colours, the title above and the machine below.

use plotters::coord::Shift;
use plotters::prelude::{
    Color, DrawingArea, IntoDrawingArea, IntoFont, IntoTextStyle, RGBColor, Rectangle, SVGBackend,
    Text, TextStyle, WHITE,
};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use ringlog_benches::error::{Error, Result};

use super::results::Machine;

/// The width of every picture.
pub const WIDTH: u32 = 900;
/// Space above for the title.
pub const HEAD: i32 = 58;
/// Space below for the machine.
pub const FOOT: i32 = 48;
/// Space at the sides.
pub const SIDE: i32 = 20;

const FONT: &str = "sans-serif";
/// The colour of text.
pub const INK: RGBColor = RGBColor(36, 41, 47);
/// The colour of what is less important.
pub const FAINT: RGBColor = RGBColor(110, 119, 129);
/// Our colour.
pub const OURS: RGBColor = RGBColor(9, 105, 218);

/// A part of a picture, in pixels.
pub type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// What went wrong, of drawing.
pub fn failed(error: impl std::fmt::Display) -> Error {
    Error::new(format!("drawing: {error}"))
}

/// A style of text: its size, colour, and where its point is.
pub fn text(size: u32, colour: RGBColor, at: HPos) -> TextStyle<'static> {
    (FONT, size)
        .into_font()
        .color(&colour)
        .into_text_style(&(WIDTH, 1))
        .pos(Pos::new(at, VPos::Center))
}

/// Writes a line of text.
pub fn write(area: &Area<'_>, what: String, at: (i32, i32), style: &TextStyle<'_>) -> Result<()> {
    area.draw(&Text::new(what, at, style.clone())).map_err(failed)
}

/// A box from one corner to the other.
pub fn fill(area: &Area<'_>, from: (i32, i32), to: (i32, i32), colour: RGBColor) -> Result<()> {
    area.draw(&Rectangle::new([from, to], colour.filled())).map_err(failed)
}

/// A picture of this height with title, a line below it, and the machine, the rest being for
/// `body`.
pub fn picture(
    height: i32,
    title: &str,
    below: &str,
    machine: &Machine,
    body: impl FnOnce(&Area<'_>) -> Result<()>,
) -> Result<String> {
    let mut svg = String::new();
    {
        let size = (WIDTH, height.unsigned_abs());
        let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        area.fill(&WHITE).map_err(failed)?;
        write(&area, title.to_owned(), (SIDE, 22), &text(18, INK, HPos::Left))?;
        write(&area, below.to_owned(), (SIDE, 44), &text(13, FAINT, HPos::Left))?;
        body(&area)?;
        let small = text(11, FAINT, HPos::Left);
        let how = "median of the repeats, whiskers from the slowest to the fastest; each peer in a \
                   process of its own, by turns, the device between them";
        write(&area, how.to_owned(), (SIDE, height - 32), &small)?;
        write(&area, machine.line(), (SIDE, height - 15), &small)?;
        area.present().map_err(failed)?;
    }
    Ok(svg)
}
