//! What a log's streams have come to while it is being verified: offsets are dense, except where
//! segments were retired or damage hides something.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::format::checkpoint::Checkpoint;
use crate::ids::{Offset, StreamId};

/// Where something was found, and what.
pub(super) type Claim = (PathBuf, u64, String);

#[derive(Clone, Debug, Default)]
struct Stream {
    end: u64,
    log_start: u64,
    seen: bool,
    /// Where its batches end, if that is below `end`: a checkpoint knows of a trim that is younger
    /// than its position, and so of the end that the trim had, while batches below it follow.
    batches_end: Option<u64>,
    /// Holes before its newest batch.
    retired: u64,
    damaged: u64,
    /// The latest jump of its offsets over retired segments, to here: all below must be trimmed.
    jump: Option<(u64, PathBuf, u64)>,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Streams {
    by_id: BTreeMap<u32, Stream>,
    /// How many times segments were missing so far because nothing in them was live.
    retired: u64,
    /// How many times damage may have hidden something.
    damaged: u64,
    /// Ends of checkpoints that are beyond what was read: below them all must be trimmed.
    ahead: Vec<(u32, u64, PathBuf)>,
}

impl Streams {
    pub(super) fn retired(&mut self) {
        self.retired += 1;
    }

    pub(super) fn damaged(&mut self) {
        self.damaged += 1;
    }

    /// Takes in a batch of offsets `first..end`; what is wrong with them.
    pub(super) fn batch(
        &mut self,
        id: StreamId,
        (first, end): (u64, u64),
        place: &(PathBuf, u64),
    ) -> Option<String> {
        let (retired, damaged) = (self.retired, self.damaged);
        let stream = self.by_id.entry(id.0).or_default();
        let expected = match stream.batches_end.take() {
            Some(below) if first < stream.end => below,
            _ => stream.end,
        };
        let hidden = stream.damaged != damaged;
        let jumped = first > expected && stream.retired != retired;
        if jumped {
            stream.jump = Some((first, place.0.clone(), place.1));
        }
        let dense = first == expected || jumped || (hidden && first > expected);
        stream.end = end.max(expected);
        stream.seen = true;
        (stream.retired, stream.damaged) = (retired, damaged);
        (!dense).then(|| format!("batch starts at offset {first}, not {expected}"))
    }

    /// Takes in a trim.
    pub(super) fn trim(&mut self, id: StreamId, log_start: u64) {
        let stream = self.by_id.entry(id.0).or_default();
        stream.log_start = stream.log_start.max(log_start);
        stream.end = stream.end.max(log_start);
    }

    /// Compares with a checkpoint whose position has just been reached: damage, then notes.
    pub(super) fn compare(
        &mut self,
        checkpoint: &Checkpoint,
        path: &Path,
        is_live: &dyn Fn(StreamId) -> bool,
    ) -> (Vec<Claim>, Vec<Claim>) {
        let (mut damage, mut notes) = (Vec::new(), Vec::new());
        let claim = |into: &mut Vec<Claim>, what| into.push((path.to_path_buf(), 80, what));
        for entry in &checkpoint.streams {
            let stream = self.by_id.entry(entry.stream.0).or_default();
            let (end, log_start) = (entry.end.0, entry.log_start.0);
            if end > stream.end && end == log_start {
                stream.batches_end.get_or_insert(stream.end);
            }
            // A deleted topic's may come back without a part of its batches, when a recovery reads
            // its last frames again; nobody asks for it.
            let counts = stream.damaged == self.damaged && is_live(entry.stream);
            if counts && end < stream.end {
                let what = format!("{} ends at {end}, its batches at {}", entry.stream, stream.end);
                claim(&mut damage, format!("stream {what}"));
            }
            if stream.damaged == self.damaged && end > stream.end {
                self.ahead.push((entry.stream.0, end, path.to_path_buf()));
            }
            if log_start < stream.log_start {
                let what = format!("a trim of stream {} to {}", entry.stream, stream.log_start);
                claim(&mut notes, format!("{what} is not in the checkpoint"));
            }
            stream.log_start = stream.log_start.max(log_start);
            stream.end = stream.end.max(end);
        }
        let listed = |id: u32| checkpoint.streams.iter().any(|entry| entry.stream.0 == id);
        for (id, stream) in &self.by_id {
            if stream.seen && is_live(StreamId(*id)) && !listed(*id) {
                claim(&mut damage, format!("stream {id} has batches and is not in the checkpoint"));
            }
        }
        (damage, notes)
    }

    /// At the end of the log, when every trim is known: offsets that went without one.
    pub(super) fn finish(&self, is_live: &dyn Fn(StreamId) -> bool) -> Vec<Claim> {
        let mut damage = Vec::new();
        for (id, stream) in &self.by_id {
            let start = Offset(stream.log_start);
            if let Some((first, path, at)) = &stream.jump
                && *first > start.0
                && is_live(StreamId(*id))
            {
                let what = format!("stream {id} starts at {start}, its batches at {first}");
                damage.push((path.clone(), *at, what));
            }
        }
        for (id, end, path) in &self.ahead {
            let start = self.by_id.get(id).map_or(0, |stream| stream.log_start);
            if *end > start && is_live(StreamId(*id)) {
                let what = format!("stream {id} ends at {end}, and batches below are missing");
                damage.push((path.clone(), 80, what));
            }
        }
        damage
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::format::checkpoint::StreamEntry;
    use crate::ids::{LeaderEpoch, Position};

    #[test]
    fn a_checkpoint_short_of_a_streams_batches_is_damage_unless_its_topic_is_deleted() {
        for (end, live, damaged) in
            [(10, true, false), (9, true, true), (9, false, false), (10, false, false)]
        {
            let mut streams = Streams::default();
            let place = (PathBuf::from("segment"), 0);
            assert_eq!(streams.batch(StreamId(3), (0, 10), &place), None);
            let checkpoint = Checkpoint {
                log: Uuid::nil(),
                sequence: 1,
                position: Position(4096),
                epoch: LeaderEpoch(1),
                clean: false,
                segments: Vec::new(),
                streams: vec![StreamEntry {
                    stream: StreamId(3),
                    log_start: Offset(0),
                    end: Offset(end),
                }],
                snapshot: Vec::new(),
            };
            let (damage, notes) = streams.compare(&checkpoint, Path::new("checkpoint"), &|_| live);
            assert_eq!((!damage.is_empty(), notes.len()), (damaged, 0), "{end} {live}: {damage:?}");
        }
    }
}
