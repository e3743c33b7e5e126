//! `ringlog verify`: reads the whole directory and reports any damage.

use serde_json::json;

use crate::args::{Place, Verify};
use crate::exit::{Exit, Failure};
use crate::output::Output;
use crate::progress::Progress;

pub fn run(place: &Place, args: &Verify) -> Result<(), Failure> {
    let data = place.data()?;
    let failed = |error| Failure::engine(data, &error);
    let inspector = ringlog::inspect::open(data).map_err(failed)?;
    let mut progress = Progress::new(Some(0));
    let findings = inspector.verify(|done, total| progress.set(done, total)).map_err(failed)?;
    drop(progress);
    let mut output = Output::new();
    if args.json {
        let list: Vec<_> = findings
            .iter()
            .map(|found| json!({ "file": found.path, "at": found.at, "reason": found.reason }))
            .collect();
        output.json(&json!({ "findings": list }))?;
    } else {
        for found in &findings {
            let path = found.path.display();
            output.line(format_args!("{path}: damaged at byte {}: {}", found.at, found.reason))?;
        }
        if findings.is_empty() {
            output.line(format_args!("ok: no damage"))?;
        }
    }
    output.flush()?;
    match findings.len() {
        0 => Ok(()),
        1 => Err(Failure::new(Exit::Damage, format_args!("{}: 1 place is damaged", data.display()))),
        n => Err(Failure::new(Exit::Damage, format_args!("{}: {n} places are damaged", data.display()))),
    }
}
