//! Makes a failing scenario small: leaves out steps as long as it goes on failing. The number of
//! attempts is bounded, so that a failure is told soon.

use crate::plan::{Plan, Step};
use crate::scenario::{Failure, Outcome, run_plan};

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
    shrink_by(failure, &mut run_plan)
}

/// Runs some steps of the scenario of a seed.
type Run<'a> = &'a mut dyn FnMut(u64, &Plan) -> Result<Outcome, Box<Failure>>;

#[expect(clippy::unnecessary_box_returns, reason = "it is boxed as it comes")]
fn shrink_by(failure: Box<Failure>, run: Run<'_>) -> Box<Failure> {
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
            match run(best.seed, &Plan::only(left)) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Tally;

    fn failure(steps: &[Step]) -> Failure {
        let (plan, script, taken) = (Plan::only(steps.to_vec()), Vec::new(), steps.to_vec());
        Failure { seed: 7, plan, what: "lost 5 of 9".to_owned(), script, taken }
    }

    #[test]
    fn only_the_steps_that_matter_are_left() {
        let all: Vec<Step> = (0..200).map(|at| Step::Act(0, at)).collect();
        let matter = [Step::Act(0, 3), Step::Act(0, 77), Step::Act(0, 150)];
        let mut attempts = 0;
        let small = shrink_by(Box::new(failure(&all)), &mut |_, plan| {
            attempts += 1;
            let left: Vec<Step> = all.iter().copied().filter(|step| plan.has(*step)).collect();
            if matter.iter().all(|step| plan.has(*step)) {
                return Err(Box::new(failure(&left)));
            }
            Ok(Outcome { tally: Tally::default(), digest: 0, script: Vec::new() })
        });
        assert_eq!(small.taken, matter);
        assert_eq!(small.plan, Plan::only(matter));
        assert!(attempts <= ATTEMPTS_MAX);
    }

    #[test]
    fn another_failure_is_not_taken_for_this_one() {
        let all: Vec<Step> = (0..8).map(|at| Step::Act(0, at)).collect();
        let small = shrink_by(Box::new(failure(&all)), &mut |_, plan| {
            let left: Vec<Step> = all.iter().copied().filter(|step| plan.has(*step)).collect();
            Err(Box::new(Failure { what: "something else".to_owned(), ..failure(&left) }))
        });
        assert_eq!(small.taken, all);
    }
}
