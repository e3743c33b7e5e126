//! Is it damage, or the end? Where no group is found, every boundary beyond is looked at: a group
//! that was closed when this place was durable already proves corruption; without one it is a torn
//! tail. Recovery, which may cut only the latter, and `verify` share the rule.

use std::collections::BTreeMap;
use std::sync::Arc;

use uuid::Uuid;

use super::scan::Source;
use super::segment::Segment;
use crate::driver::disk::Disk;
use crate::error::{Error, Result};
use crate::format::Seed;
use crate::ids::LeaderEpoch;
use crate::limits::GROUP_ALIGN;

/// What is known when a place holds no group.
pub(crate) struct Probe<'a> {
    pub(crate) disk: &'a dyn Disk,
    pub(crate) log: Uuid,
    /// The log's segments, by base.
    pub(crate) segments: &'a BTreeMap<u64, Arc<Segment>>,
    /// Of the last group before it.
    pub(crate) epoch: LeaderEpoch,
    /// Everything below is known to be durable: the checkpoint's position.
    pub(crate) durable: u64,
}

/// What was found beyond.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Probed {
    /// The place is proven damaged, and sense begins again here.
    pub(crate) sense: Option<u64>,
    /// Bytes of groups beyond that prove nothing: with a torn tail they are cut.
    pub(crate) cut_bytes: u64,
}

impl Probe<'_> {
    /// Looks at every boundary beyond `at`, in its segment and the next ones. A header's in-flight
    /// limit would allow to stop earlier, but it is that of the engine which made the segment: a
    /// later one may have had a larger ring.
    pub(crate) fn from(&self, at: u64) -> Result<Probed> {
        let mut found = Probed::default();
        let known_durable = at < self.durable;
        let Some(mut segment) = self.segment_of(at) else { return Ok(found) };
        let mut source = self.open(&segment)?;
        let mut boundary = at + GROUP_ALIGN as u64;
        loop {
            if boundary >= segment.end() {
                let Some(next) = self.segments.get(&segment.end()) else { break };
                segment = Arc::clone(next);
                boundary = segment.first();
                source = self.open(&segment)?;
                continue;
            }
            let Some(source) = &mut source else {
                boundary = segment.end();
                continue;
            };
            if let Some(header) = source.header(Seed::of(self.log), boundary)? {
                let proves = header.durable_upto.0 > at && header.epoch >= self.epoch;
                if proves || (known_durable && boundary <= self.durable) {
                    found.sense = Some(boundary);
                    return Ok(found);
                }
                if !known_durable && header.epoch >= self.epoch {
                    found.cut_bytes += header.group_len();
                }
            }
            boundary += GROUP_ALIGN as u64;
        }
        found.sense = known_durable.then_some(self.durable);
        Ok(found)
    }

    /// `None`: its file is missing, and cannot tell.
    fn open(&self, segment: &Arc<Segment>) -> Result<Option<Source>> {
        match Source::open(self.disk, segment) {
            Err(Error::Corrupt { .. }) => Ok(None),
            opened => opened.map(Some),
        }
    }

    fn segment_of(&self, position: u64) -> Option<Arc<Segment>> {
        let (_, segment) = self.segments.range(..=position).next_back()?;
        segment.contains(position).then(|| Arc::clone(segment))
    }
}
