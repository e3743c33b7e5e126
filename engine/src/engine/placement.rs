//! Where things go: a log to a shard, at every open anew; a new topic's partitions to logs, for
//! ever. Plain functions of what is there, so that they can be tested without an engine.

use crate::config::Flush;

/// The shard for a log of this class: the one with the fewest logs of the class, then of any; so
/// that a class uses every shard, and the first log of each another one.
pub(crate) fn shard_for(
    class: Flush,
    hosted: impl Iterator<Item = (Flush, usize)>,
    shards: usize,
) -> usize {
    let mut counts = vec![(0u32, 0u32); shards];
    for (other, shard) in hosted {
        let (same, all) = &mut counts[shard];
        *same += u32::from(other == class);
        *all += 1;
    }
    let numbered = counts.iter().enumerate();
    numbered.min_by_key(|(_, counts)| **counts).map_or(0, |(shard, _)| shard)
}

/// A log that may take partitions: the best one of its shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    /// Its number; `None`: its shard has none of the class, so one would be made.
    pub(crate) log: Option<u32>,
    /// How many partitions it has.
    pub(crate) load: u64,
}

/// One candidate for each shard: its emptiest log, or a new one. `logs`: number, shard and load of
/// each log of the class.
pub(crate) fn candidates(logs: &[(u32, usize, u64)], shards: usize) -> Vec<Candidate> {
    let best = |shard| {
        let here = logs.iter().filter(|(_, of, _)| *of == shard);
        let emptiest = here.min_by_key(|(id, _, load)| (*load, *id));
        emptiest.map_or(Candidate { log: None, load: 0 }, |(id, _, load)| Candidate {
            log: Some(*id),
            load: *load,
        })
    };
    (0..shards).map(best).collect()
}

/// Spreads so many partitions evenly over the candidates, the emptiest first; one that is there
/// before one that would be made. Who gets none is left out.
pub(crate) fn spread(partitions: u32, mut from: Vec<Candidate>) -> Vec<(Option<u32>, u32)> {
    from.sort_by_key(|candidate| (candidate.load, candidate.log.is_none(), candidate.log));
    from.truncate(partitions as usize);
    let over = from.len() as u32;
    let share = |at: u32| partitions / over + u32::from(at < partitions % over);
    (0..).zip(from).map(|(at, candidate)| (candidate.log, share(at))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share_out(classes: &[Flush], shards: usize) -> Vec<usize> {
        let mut hosted: Vec<(Flush, usize)> = Vec::new();
        for class in classes {
            let shard = shard_for(*class, hosted.iter().copied(), shards);
            hosted.push((*class, shard));
        }
        hosted.into_iter().map(|(_, shard)| shard).collect()
    }

    #[test]
    fn logs_are_balanced_by_class_over_any_number_of_shards() {
        use Flush::{Async, Sync};
        assert_eq!(share_out(&[Sync, Async, Sync, Async], 1), [0, 0, 0, 0]);
        assert_eq!(share_out(&[Sync, Async, Sync, Async], 2), [0, 1, 1, 0]);
        assert_eq!(share_out(&[Sync, Sync, Sync, Async, Async], 3), [0, 1, 2, 0, 1]);
        for shards in 1..=7 {
            let classes = [Sync, Async, Async, Sync, Sync, Async, Sync, Async, Sync, Sync, Sync];
            let given = share_out(&classes, shards);
            for class in [Sync, Async] {
                let mut counts = vec![0; shards];
                let of_class = classes.iter().zip(&given).filter(|(other, _)| **other == class);
                of_class.for_each(|(_, shard)| counts[*shard] += 1);
                let (least, most) = (counts.iter().min(), counts.iter().max());
                assert!(most.unwrap() - least.unwrap() <= 1, "{shards} {class}: {counts:?}");
            }
        }
    }

    #[test]
    fn partitions_are_spread_evenly_the_emptiest_log_first() {
        let logs = [(1, 0, 10), (4, 0, 3), (2, 1, 0)];
        let from = candidates(&logs, 3);
        let candidate = |log, load| Candidate { log, load };
        assert_eq!(from, [candidate(Some(4), 3), candidate(Some(2), 0), candidate(None, 0)]);
        assert_eq!(spread(1, from.clone()), [(Some(2), 1)]);
        assert_eq!(spread(2, from.clone()), [(Some(2), 1), (None, 1)]);
        assert_eq!(spread(8, from), [(Some(2), 3), (None, 3), (Some(4), 2)]);
        assert_eq!(spread(5, candidates(&[], 1)), [(None, 5)]);
    }
}
