//! `ringlog verify`: reads the whole directory and reports any damage.

use ringlog::inspect::{Inspector, Report};

use super::args::{Place, Verify};
use super::exit::{Exit, Failure};
use super::output::Output;
use super::progress::Progress;

pub fn run(place: &Place, args: &Verify) -> Result<(), Failure> {
    let data = place.data()?;
    let failed = |error| Failure::engine(data, &error);
    let inspector = Inspector::open(data).map_err(failed)?;
    let mut progress = Progress::new(Some(0));
    let report = inspector.verify(&mut |done, total| progress.set(done, total)).map_err(failed)?;
    drop(progress);
    let mut output = Output::new();
    // Who stops reading gets the exit code all the same.
    let told = if args.json { output.json(&report) } else { tell(&report, &mut output) };
    match told.and_then(|()| output.flush()) {
        Err(failure) if failure.exit != Exit::Done => return Err(failure),
        _ => {}
    }
    let Some(first) = report.damage().next() else {
        return if report.is_whole() { Ok(()) } else { Err(Failure::quiet(Exit::Damage)) };
    };
    let more = (report.damage().count() - 1) as u64 + report.more_findings;
    let damage = Failure::damage(first);
    Err(if more == 0 { damage } else { damage.after(format_args!("and {more} more")) })
}

fn tell(report: &Report, output: &mut Output) -> Result<(), Failure> {
    for finding in &report.findings {
        output.line(format_args!("{finding}"))?;
    }
    if report.more_findings > 0 {
        output.line(format_args!("and {} more", report.more_findings))?;
    }
    let totals = &report.totals;
    output.line(format_args!(
        "{}: {} logs, {} segments, {} groups, {} batches, {} records; {} bytes read",
        if report.is_whole() { "ok" } else { "DAMAGED" },
        totals.logs,
        totals.segments,
        totals.groups,
        totals.batches,
        totals.records,
        totals.bytes,
    ))
}
