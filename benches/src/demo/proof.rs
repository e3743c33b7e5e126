//! The proof: what was recovered, held against what was sent and what was acknowledged.

use std::collections::{HashMap, HashSet};

use clap::ValueEnum;

use crate::demo::flights::Events;

/// What a reader gives after recovery: offsets and values.
pub type Recovered = Vec<(u64, Vec<u8>)>;

/// What is known of the writer at its death.
#[derive(Clone, Copy, Debug)]
pub struct Told {
    /// Acknowledgements that were printed.
    pub acknowledged: usize,
    /// Events that the writer had taken from its input.
    pub taken: usize,
}

/// One thing that must be true.
#[derive(Debug)]
pub struct Check {
    /// What.
    pub what: &'static str,
    /// How many events break it.
    pub broken: usize,
    /// The first of these, or how it was seen.
    pub detail: String,
}

impl Check {
    fn new(what: &'static str, broken: &[usize], detail: impl Into<String>) -> Self {
        let detail = match broken.first() {
            None => detail.into(),
            Some(first) => format!("{} of them, the first is number {first}", broken.len()),
        };
        Self { what, broken: broken.len(), detail }
    }

    /// Whether it holds.
    pub fn holds(&self) -> bool {
        self.broken == 0
    }
}

/// Checks what was recovered, event by event. The events of the source are all different, so that
/// each value tells which event it is, wherever it stands.
pub fn check(source: &Events, told: Told, recovered: &Recovered) -> Vec<Check> {
    let numbers: HashMap<&[u8], usize> =
        source.iter().enumerate().map(|(number, event)| (event, number)).collect();
    let found: Vec<Option<usize>> =
        recovered.iter().map(|(_, value)| numbers.get(value.as_slice()).copied()).collect();
    let mut seen = HashSet::new();
    let doubled: Vec<usize> =
        found.iter().flatten().copied().filter(|&number| !seen.insert(number)).collect();
    let lost: Vec<usize> = (0..told.acknowledged).filter(|number| !seen.contains(number)).collect();
    let places = 0..found.len();
    let is_invented = |place: &usize| found[*place].is_none_or(|number| number >= told.taken);
    let invented: Vec<usize> = places.clone().filter(is_invented).collect();
    let known: Vec<usize> = found.iter().flatten().copied().collect();
    let reordered: Vec<usize> =
        known.windows(2).filter(|pair| pair[1] < pair[0]).map(|pair| pair[1]).collect();
    let highest = known.iter().max().map_or(0, |highest| highest + 1);
    let gaps: Vec<usize> = (0..highest).filter(|number| !seen.contains(number)).collect();
    let is_misplaced = |place: &usize| recovered[*place].0 != *place as u64;
    let misnumbered: Vec<usize> = places.filter(is_misplaced).collect();
    vec![
        Check::new("nothing acknowledged was lost", &lost, "every one of them was recovered"),
        Check::new("nothing was invented", &invented, "each is, byte for byte, one that was sent"),
        Check::new("nothing was doubled", &doubled, "no event is there twice"),
        Check::new("nothing was reordered", &reordered, "the order is the order of sending"),
        Check::new("nothing is missing in between", &gaps, "a prefix of what was sent"),
        Check::new("offsets are as assigned", &misnumbered, "0, 1, 2, ... without a gap"),
    ]
}

/// Ways to spoil what was recovered, to see the proof fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Spoil {
    /// An event in the middle is gone
    Drop,
    /// The last acknowledged event and what follows it are gone
    Cut,
    /// An event is there twice
    Double,
    /// Two events have changed places
    Swap,
    /// A bit of an event is another
    Flip,
    /// There is an event more than were sent
    Invent,
    /// In the second scene: the consumer is not given an event
    Lose,
    /// In the second scene: what waits is kept in memory, too
    Hoard,
    /// In the second scene: the consumer is too slow ever to get to the end
    Lag,
}

impl Spoil {
    /// Spoils it. Offsets stay dense, except in what is dropped, so that only contents can tell.
    pub fn apply(self, source: &Events, told: Told, recovered: &mut Recovered) {
        let middle = recovered.len() / 2;
        match self {
            Self::Drop => drop(recovered.remove(middle)),
            Self::Cut => recovered.truncate(told.acknowledged - 1),
            Self::Double => {
                let twice = recovered[middle].1.clone();
                recovered.insert(middle, (0, twice));
                Self::number(recovered);
            }
            Self::Swap => {
                recovered.swap(middle, middle + 1);
                Self::number(recovered);
            }
            Self::Flip => recovered[middle].1[0] ^= 1,
            Self::Invent => {
                let next = source.get(told.taken.min(source.len() - 1)).to_vec();
                recovered.push((recovered.len() as u64, next));
            }
            // The burst's own.
            Self::Lose | Self::Hoard | Self::Lag => {}
        }
    }

    fn number(recovered: &mut Recovered) {
        for (place, (offset, _)) in recovered.iter_mut().enumerate() {
            *offset = place as u64;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOLD: Told = Told { acknowledged: 60, taken: 90 };

    fn source() -> Events {
        let lines: Vec<String> = (0..100).map(|number| format!("event {number}")).collect();
        lines.iter().map(String::as_bytes).collect()
    }

    fn recovered(source: &Events, count: usize) -> Recovered {
        source.iter().take(count).enumerate().map(|(n, event)| (n as u64, event.into())).collect()
    }

    fn broken(source: &Events, recovered: &Recovered) -> Vec<&'static str> {
        let checks = check(source, TOLD, recovered);
        checks.iter().filter(|check| !check.holds()).map(|check| check.what).collect()
    }

    #[test]
    fn every_prefix_from_the_acknowledged_to_the_taken_is_right() {
        let source = source();
        for count in [60, 75, 90] {
            assert!(broken(&source, &recovered(&source, count)).is_empty());
        }
        assert_eq!(broken(&source, &recovered(&source, 59)), ["nothing acknowledged was lost"]);
        assert_eq!(broken(&source, &recovered(&source, 91)), ["nothing was invented"]);
    }

    #[test]
    fn whatever_is_spoiled_is_found_by_the_check_made_for_it() {
        let source = source();
        for (spoil, what) in [
            (Spoil::Drop, "nothing acknowledged was lost"),
            (Spoil::Cut, "nothing acknowledged was lost"),
            (Spoil::Double, "nothing was doubled"),
            (Spoil::Swap, "nothing was reordered"),
            (Spoil::Flip, "nothing was invented"),
            (Spoil::Invent, "nothing was invented"),
        ] {
            let mut recovered = recovered(&source, 80);
            spoil.apply(&source, TOLD, &mut recovered);
            assert!(broken(&source, &recovered).contains(&what), "{spoil:?}");
        }
    }

    #[test]
    fn an_offset_that_is_not_the_assigned_one_is_found() {
        let source = source();
        let mut recovered = recovered(&source, 80);
        recovered[7].0 = 8;
        assert_eq!(broken(&source, &recovered), ["offsets are as assigned"]);
        recovered.remove(70);
        assert!(broken(&source, &recovered).contains(&"nothing is missing in between"));
    }
}
