//! Finding an offset: in the runs of the open segment, or by the extents and then the index of a
//! sealed one. Extents are small and stay in memory once known; an index stays only while somebody
//! uses it.

use std::sync::Arc;

use super::Log;
use super::checkpoints::{read_directory, read_index};
use super::scan::rebuild_index;
use super::segment::{Extent, Segment};
use crate::error::Result;
use crate::format::index::SegmentIndex;
use crate::ids::StreamId;

/// Where to start walking.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    /// Position of a frame of the stream at or before the offset.
    pub(crate) position: u64,
    /// The index that told; kept by whoever goes on reading there.
    pub(crate) index: Option<Arc<SegmentIndex>>,
}

impl Log {
    pub(crate) fn segment_at(&self, position: u64) -> Option<Arc<Segment>> {
        let segments = self.segments.read();
        let (_, segment) = segments.range(..=position).next_back()?;
        segment.contains(position).then(|| Arc::clone(segment))
    }

    /// Where `offset` of `stream` is found; `None`: in no segment.
    pub(crate) fn find(&self, stream: StreamId, offset: u64) -> Result<Option<Found>> {
        let open = {
            let mut writer = self.writer.lock();
            writer.settle(&self.ring);
            writer.stream(stream).and_then(|state| state.find(offset))
        };
        if let Some(position) = open {
            return Ok(Some(Found { position, index: None }));
        }
        let sealed: Vec<_> = {
            let segments = self.segments.read();
            segments.values().filter(|segment| segment.is_sealed()).cloned().collect()
        };
        // A damaged segment hides only what is in it.
        let mut unreadable = None;
        for segment in sealed.iter().rev() {
            match self.extents_of(segment) {
                Ok(extents) if has(&extents, stream, offset) => {
                    return self.find_in(segment, stream, offset);
                }
                Ok(_) => {}
                Err(error) => unreadable = Some(error),
            }
        }
        unreadable.map_or(Ok(None), Err)
    }

    /// As [`find`](Self::find), in one sealed segment.
    pub(crate) fn find_in(
        &self,
        segment: &Arc<Segment>,
        stream: StreamId,
        offset: u64,
    ) -> Result<Option<Found>> {
        let index = self.index_of(segment)?;
        let position = find_run(&index, stream, offset);
        Ok(position.map(|position| Found { position, index: Some(index) }))
    }

    /// Which offsets of which streams a sealed segment has, by stream.
    pub(crate) fn extents_of(&self, segment: &Arc<Segment>) -> Result<Arc<[Extent]>> {
        if let Some(extents) = segment.extents() {
            return Ok(extents);
        }
        match read_directory(&*self.disk, segment, self.uuid) {
            Some(extents) => segment.note_extents(extents),
            None => drop(self.index_of(segment)?),
        }
        Ok(segment.extents().unwrap_or_default())
    }

    /// A sealed segment's index: from whoever has it, from its file, or rebuilt from the segment.
    pub(crate) fn index_of(&self, segment: &Arc<Segment>) -> Result<Arc<SegmentIndex>> {
        if let Some(index) = segment.index_in_use() {
            return Ok(index);
        }
        let index = match read_index(&*self.disk, segment, self.uuid) {
            // One that ends earlier was left by a close amid the segment.
            Some(index) if index.end.0 == segment.end() => index,
            _ => rebuild_index(&*self.disk, segment, self.uuid)?,
        };
        let index = Arc::new(index);
        segment.note_index(&index);
        Ok(index)
    }
}

fn has(extents: &[Extent], stream: StreamId, offset: u64) -> bool {
    let at = extents.binary_search_by_key(&stream, |extent| extent.stream);
    at.is_ok_and(|at| (extents[at].first.0..extents[at].end.0).contains(&offset))
}

/// Position of the run that holds `offset`, if this segment does.
fn find_run(index: &SegmentIndex, stream: StreamId, offset: u64) -> Option<u64> {
    let at = index.streams.binary_search_by_key(&stream, |entry| entry.stream).ok()?;
    let entry = &index.streams[at];
    if !(entry.first.0..entry.end.0).contains(&offset) {
        return None;
    }
    let after = entry.runs.partition_point(|run| run.first_offset.0 <= offset);
    after.checked_sub(1).map(|at| entry.runs[at].position.0)
}
