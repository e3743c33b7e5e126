//! Makes a failing scenario small: leaves out steps as long as it goes on failing. The number of
//! attempts is bounded, so that a failure is told soon.

use crate::plan::{Plan, Step};
use crate::scenario::{Failure, run_plan};

/// So many attempts at most.
const ATTEMPTS_MAX: usize = 600;
/// How much of what went wrong must stay the same, numbers left out.
const KIND_CHARS: usize = 24;

/// What two failures of the same kind have in common, as far as words tell.
fn kind(what: &str) -> String {
    let words = what.chars().filter(|c| !c.is_numeric() && !c.is_whitespace());
    words.take(KIND_CHARS).collect()
}

/// The smallest failing scenario that was found; `failure` itself if it does not fail again.
#[must_use]
pub fn shrink(failure: Box<Failure>) -> Box<Failure> {
    let first = failure.what.clone();
    let mut attempts = 0;
    let mut best = failure;
    let mut chunk = best.taken.len().div_ceil(2);
    while chunk > 0 && attempts < ATTEMPTS_MAX {
        let mut at = 0;
        let mut any = false;
        while at < best.taken.len() && attempts < ATTEMPTS_MAX {
            let end = (at + chunk).min(best.taken.len());
            let left: Vec<Step> = [&best.taken[..at], &best.taken[end..]].concat();
            attempts += 1;
            match run_plan(best.seed, &Plan::only(left)) {
                // It took fewer steps, or it would go round in circles.
                Err(smaller)
                    if smaller.taken.len() < best.taken.len()
                        && kind(&smaller.what) == kind(&first) =>
                {
                    best = smaller;
                    any = true;
                }
                _ => at = end,
            }
        }
        if !any || chunk > 1 {
            chunk /= 2;
        }
    }
    best.plan = Plan::only(best.taken.iter().copied());
    if best.what != first {
        best.what = format!("{}\n(the whole scenario said: {first})", best.what);
    }
    best
}
