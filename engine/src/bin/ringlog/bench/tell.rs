//! The summary, for a person.

use indicatif::HumanCount;

use super::Summary;
use crate::exit::Failure;
use crate::output::Output;

pub(super) fn tell(summary: &Summary, output: &mut Output) -> Result<(), Failure> {
    let direct = if summary.direct_io { "O_DIRECT" } else { "through the page cache" };
    output.line(format_args!(
        "{}: {}, {direct}, {}; records of {} bytes, {} in flight\n",
        summary.directory.display(),
        summary.filesystem,
        summary.driver,
        summary.record_bytes,
        summary.in_flight,
    ))?;
    output.line(format_args!(
        "{:46} {:>11} {:>10} {:>9} {:>9} {:>9}  {}",
        "", "per second", "MB/s", "p50 us", "p99 us", "p99.9 us", "of the device"
    ))?;
    for cell in &summary.cells {
        output.line(format_args!(
            "{:46} {:>11} {:>10.1} {:>9.1} {:>9.1} {:>9.1}  {}",
            cell.name,
            HumanCount(cell.per_second as u64).to_string(),
            cell.bytes_per_second / 1e6,
            cell.p50_us,
            cell.p99_us,
            cell.p999_us,
            cell.of_device.map_or(String::new(), |ratio| format!("{ratio:.2} x")),
        ))?;
    }
    output.line(format_args!(
        "\nOne append at a time is held against the device's writes a second, the others against \
         its bytes.\nShort and rough: run it on a quiet machine, more than once."
    ))
}
