//! The two outputs: JSON lines in a file, and tables on standard output.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use serde::Serialize;

use crate::error::{Context, Result};
use crate::stats::Spread;

/// The file of results, if there is one.
#[derive(Debug)]
pub struct Report {
    json: Option<File>,
}

impl Report {
    /// Writes JSON lines to `json`, if given; an existing file is continued.
    pub fn new(json: Option<&Path>) -> Result<Self> {
        let json = json
            .map(|path| {
                File::options()
                    .create(true)
                    .append(true)
                    .open(path)
                    .context(format!("opening {}", path.display()))
            })
            .transpose()?;
        Ok(Self { json })
    }

    /// Writes one JSON line: `kind`, then the fields of `result`.
    pub fn line<T: Serialize>(&mut self, kind: &'static str, result: &T) -> Result<()> {
        #[derive(Serialize)]
        struct Line<'a, T> {
            kind: &'static str,
            #[serde(flatten)]
            result: &'a T,
        }
        let Some(file) = &mut self.json else { return Ok(()) };
        let mut line = serde_json::to_vec(&Line { kind, result }).context("encoding a result")?;
        line.push(b'\n');
        file.write_all(&line).context("writing a result")
    }
}

/// Prints text for people.
pub fn print(text: &str) -> Result<()> {
    writeln!(io::stdout(), "{text}").context("writing to standard output")
}

/// A table of text: the first column aligned left, the others right.
#[derive(Debug)]
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these headings.
    pub fn new(headings: &[&str]) -> Self {
        Self { rows: vec![headings.iter().map(|&heading| heading.to_owned()).collect()] }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// The lines of the table, a rule below the headings.
    pub fn render(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns)
            .map(|column| {
                let width = |row: &Vec<String>| row.get(column).map_or(0, |c| c.chars().count());
                self.rows.iter().map(width).max().unwrap_or(0)
            })
            .collect();
        let mut lines = Vec::new();
        for (index, row) in self.rows.iter().enumerate() {
            let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, &width))| {
                if column == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
            });
            lines.push(cells.collect::<Vec<_>>().join("  ").trim_end().to_owned());
            if index == 0 {
                lines.push("-".repeat(widths.iter().sum::<usize>() + 2 * (columns.max(1) - 1)));
            }
        }
        lines.join("\n")
    }
}

/// A number as people read it: thousands apart, three figures that matter where it is small.
pub fn number(value: f64) -> String {
    if value >= 999.5 {
        let digits = format!("{value:.0}");
        let mut text = String::new();
        for (index, digit) in digits.chars().enumerate() {
            if index > 0 && (digits.len() - index).is_multiple_of(3) {
                text.push(',');
            }
            text.push(digit);
        }
        text
    } else if value >= 99.5 || value == 0.0 {
        format!("{value:.0}")
    } else if value >= 9.95 {
        format!("{value:.1}")
    } else {
        format!("{value:.2}")
    }
}

/// `median (min–max)`.
pub fn spread(values: Spread) -> String {
    format!("{} ({}–{})", number(values.median), number(values.min), number(values.max))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_three_figures_and_part_thousands() {
        let texts = [0.0, 0.123, 9.96, 42.0, 99.6, 999.6, 1_234_567.0].map(number);
        assert_eq!(texts, ["0", "0.12", "10.0", "42.0", "100", "1,000", "1,234,567"]);
    }

    #[test]
    fn a_table_is_as_wide_as_its_widest_cells() {
        let mut table = Table::new(&["what", "n"]);
        table.row(vec!["a".into(), "1,000".into()]);
        assert_eq!(table.render(), "what      n\n-----------\na     1,000");
    }
}
