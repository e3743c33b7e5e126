//! Whether what was walked is still the log, now that there is a new writer. It is, unless a group
//! of a later epoch starts below the place up to which it was walked: an epoch and a position name
//! content for ever. What a cut left behind may still prove itself, so only the chain of groups
//! from a place that was durable tells.

use std::sync::Arc;

use super::Walk;
use crate::error::Result;
use crate::limits::GROUP_HEADER_BYTES;
use crate::log::Log;
use crate::log::scan::Source as SegmentSource;
use crate::log::segment::Segment;

impl Log {
    /// Where the writer of `epoch`, or one before it, cut what was walked; `None`: nowhere.
    pub(super) fn find_cut(&self, walk: &Walk, epoch: u64) -> Result<Option<u64>> {
        if epoch == 0 || epoch == u64::from(walk.epoch.0) {
            return Ok(None);
        }
        let Some((segment, mut at)) = self.durable_group(walk) else { return Ok(None) };
        let mut segment = segment;
        // Of a group without frames nothing was shown.
        let header_end = walk.base + GROUP_HEADER_BYTES as u64;
        let shown = if walk.at > header_end { walk.at } else { walk.base };
        let Ok(mut source) = SegmentSource::open(&*self.disk, &segment) else { return Ok(None) };
        while at < shown {
            if at == segment.end() {
                let Some(next) = self.segment_at(at) else { return Ok(None) };
                segment = next;
                at = segment.first();
                source = match SegmentSource::open(&*self.disk, &segment) {
                    Ok(source) => source,
                    // Trimmed away: nobody reads there any more.
                    Err(_) => return Ok(None),
                };
                continue;
            }
            let Some(header) = source.header(self.seed, at)? else {
                // The new writer has ended the log here and not come further.
                return Ok(Some(at));
            };
            if header.epoch > walk.epoch {
                return Ok(Some(at));
            }
            at = if header.last { segment.end() } else { at + header.group_len() };
        }
        Ok(None)
    }

    /// A place at which a group starts, and up to which nothing is ever cut: where the durable end
    /// was told, or a segment that lies below it.
    fn durable_group(&self, walk: &Walk) -> Option<(Arc<Segment>, u64)> {
        let durable = walk.durable.min(walk.at);
        let segment = self.segment_at(durable.checked_sub(1)?)?;
        let at = if durable < segment.first() { segment.first() } else { durable };
        Some((segment, at))
    }
}
