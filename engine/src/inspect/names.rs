//! Which stream is which partition: the catalog, as the metadata log has it on disk.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use super::info::{PlacementEntry, TopicEntry};
use super::layout::Layout;
use super::walk::{Event, walk};
use crate::config::Flush;
use crate::driver::disk::DiskRef;
use crate::engine::META;
use crate::error::Result;
use crate::format::frame::FrameKind;
use crate::ids::{LogId, PartitionId, StreamId};
use crate::topic::catalog::{Catalog, Placement};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// `None`: the metadata log cannot be read.
    pub(super) catalog: Option<Catalog>,
    streams: BTreeMap<(u32, u32), (String, u32)>,
}

impl Names {
    /// Reads the metadata log; what is damaged there leaves names out.
    pub(super) fn load(disk: &DiskRef) -> Result<Self> {
        let Ok(layout) = Layout::read(&**disk, META) else { return Ok(Self::default()) };
        let Some(checkpoint) = &layout.checkpoint else { return Ok(Self::default()) };
        let start = checkpoint.position.0;
        let mut changes = Vec::new();
        walk(disk, &layout, start, &mut |event| {
            if let Event::Group { group, .. } = event {
                for frame in group.frames.iter().filter(|f| f.kind == FrameKind::Metadata) {
                    changes.push(group.payload(frame).to_vec());
                }
            }
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(Self::of(Catalog::load(&checkpoint.snapshot, &changes).ok()))
    }

    fn of(catalog: Option<Catalog>) -> Self {
        let mut streams = BTreeMap::new();
        for topic in catalog.iter().flat_map(Catalog::topics) {
            let places = topic.placement.iter();
            let places = places.flat_map(|run| run.streams().map(|stream| (run.log, stream)));
            for (partition, place) in (0..).zip(places) {
                streams.insert(place, (topic.name.clone(), partition));
            }
        }
        Self { catalog, streams }
    }

    /// Topic and partition of a stream, unless its topic was deleted.
    pub(super) fn partition(&self, log: LogId, stream: StreamId) -> Option<(&str, PartitionId)> {
        let (topic, partition) = self.streams.get(&(log.0, stream.0))?;
        Some((topic, PartitionId(*partition)))
    }

    /// Whether the stream's topic is there; nobody knows without a catalog.
    pub(super) fn is_live(&self, log: LogId, stream: StreamId) -> bool {
        self.streams.contains_key(&(log.0, stream.0))
    }

    pub(super) fn flush(&self, log: LogId) -> Option<Flush> {
        if log == META {
            return Some(Flush::Sync);
        }
        self.catalog.as_ref()?.logs.get(&log.0).map(|log| log.flush)
    }

    pub(super) fn topics(&self) -> Vec<TopicEntry> {
        let topics = self.catalog.iter().flat_map(Catalog::topics);
        let run = |run: &Placement| PlacementEntry {
            log: run.log,
            first_stream: run.first_stream,
            partitions: run.partitions,
        };
        let entry = |topic: &std::sync::Arc<crate::topic::catalog::TopicMeta>| TopicEntry {
            name: topic.name.clone(),
            uuid: topic.uuid,
            flush: topic.flush,
            partitions: topic.partitions,
            placement: topic.placement.iter().map(run).collect(),
        };
        topics.map(entry).collect()
    }
}
