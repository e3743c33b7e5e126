//! The public face of a walk: items that borrow from the group in memory.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;

use super::info::{End, Finding, SegmentInfo, Severity};
use super::layout::Layout;
use super::names::Names;
use super::walk::{Event, walk as walk_groups};
use crate::driver::disk::{DiskRef, full_path};
use crate::error::Result;
use crate::format::frame::{FrameHeader, FrameKind};
use crate::format::record_batch::{self, BatchHeader};
use crate::ids::{LeaderEpoch, Offset, PartitionId, Position, StreamId};
use crate::limits::SEGMENT_HEADER_BYTES;
use crate::log::scan::WholeGroup;
use crate::log::segment::Segment;

/// What a walk shows.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Item<'a> {
    /// A segment begins; its groups follow.
    Segment(&'a SegmentInfo),
    /// A group begins; its frames follow.
    Group(&'a GroupInfo),
    /// A frame.
    Frame(&'a FrameInfo<'a>),
    /// A damaged place. The walk goes on at the next place that proves itself.
    Damage(&'a Finding),
    /// Where the log ends; nothing follows.
    End(End),
}

/// A group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct GroupInfo {
    /// The segment's file.
    pub path: PathBuf,
    /// Where it starts in the file.
    pub at: u64,
    /// Where it starts in the log.
    pub position: Position,
    /// Header and frames in bytes, without padding.
    pub used_bytes: u32,
    /// Epoch of its writer.
    pub epoch: LeaderEpoch,
    /// Everything below was durable when it was closed.
    pub durable_upto: Position,
    /// No group follows in this segment.
    pub last: bool,
    /// Recovery ended it here: none of its epoch follows.
    pub cut: bool,
    /// How many whole frames it has.
    pub frames: usize,
    /// False: it is damaged behind these.
    pub whole: bool,
}

/// A frame.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct FrameInfo<'a> {
    /// Where it starts in the file of its group.
    pub at: u64,
    /// Where it starts in the log.
    pub position: Position,
    /// The partition within the log.
    pub stream: StreamId,
    /// Epoch of its writer.
    pub epoch: LeaderEpoch,
    /// Whether the next frame belongs to the same chain.
    pub continues: bool,
    /// Length of the payload in bytes.
    pub payload_bytes: u32,
    /// The topic, unless it was deleted or the catalog cannot be read.
    pub topic: Option<&'a str>,
    /// The partition of the topic.
    pub partition: Option<PartitionId>,
    /// What it holds.
    pub body: Body<'a>,
    /// The payload as it lies there: of a batch, Kafka's `RecordBatch` v2.
    #[serde(skip)]
    pub payload: &'a [u8],
}

/// What a frame holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Body<'a> {
    /// Records.
    Batch(BatchInfo),
    /// A change of topics or settings, as its JSON.
    Metadata(std::borrow::Cow<'a, str>),
    /// A new log start of the stream.
    Trim(Offset),
}

/// A record batch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct BatchInfo {
    /// Offset of its first record.
    pub base_offset: Offset,
    /// Offset of its last record.
    pub last_offset: Offset,
    /// How many records it has.
    pub records: u32,
    /// What the records' timestamps are relative to, milliseconds since the Unix epoch.
    pub base_timestamp_ms: i64,
    /// The latest timestamp.
    pub max_timestamp_ms: i64,
    /// Kafka's attribute bits.
    pub attributes: i16,
    /// The idempotent producer, or -1.
    pub producer_id: i64,
    /// Whether its own CRC32C is right.
    pub crc_ok: bool,
    /// What is wrong with its records, if anything is.
    pub trouble: Option<String>,
}

/// See [`Inspector::walk`](super::Inspector::walk).
pub(super) fn walk(
    disk: &DiskRef,
    layout: &Layout,
    names: &Names,
    visit: &mut dyn FnMut(Item<'_>) -> Result<ControlFlow<()>>,
) -> Result<()> {
    let start = layout.segments.keys().next().copied().unwrap_or(0);
    for finding in &layout.findings {
        if finding.severity == Severity::Damage && visit(Item::Damage(finding))?.is_break() {
            return Ok(());
        }
    }
    walk_groups(disk, layout, start, &mut |event| match event {
        Event::Segment(segment) => {
            let info = layout.files.iter().find(|file| file.base.0 == segment.base());
            info.map_or(Ok(ControlFlow::Continue(())), |info| visit(Item::Segment(info)))
        }
        Event::Group { segment, group, whole } => {
            let path = full_path(&**disk, segment.path());
            show_group(&path, layout, names, (segment, group, whole), visit)
        }
        Event::Damage { path, at, what } => visit(Item::Damage(&Finding {
            path: path.to_path_buf(),
            at,
            what: what.to_owned(),
            severity: Severity::Damage,
        })),
        Event::End(end) => visit(Item::End(end)),
    })
}

fn show_group(
    path: &Path,
    layout: &Layout,
    names: &Names,
    (segment, group, whole): (&Arc<Segment>, &WholeGroup, bool),
    visit: &mut dyn FnMut(Item<'_>) -> Result<ControlFlow<()>>,
) -> Result<ControlFlow<()>> {
    let header = &group.header;
    let at = header.position.0 - segment.base();
    debug_assert!(at >= SEGMENT_HEADER_BYTES as u64);
    let info = GroupInfo {
        path: path.to_path_buf(),
        at,
        position: header.position,
        used_bytes: header.used_len,
        epoch: header.epoch,
        durable_upto: header.durable_upto,
        last: header.last,
        cut: header.cut,
        frames: group.frames.len(),
        whole,
    };
    if visit(Item::Group(&info))?.is_break() {
        return Ok(ControlFlow::Break(()));
    }
    for frame in &group.frames {
        let payload = group.payload(frame);
        let name = names.partition(layout.id, frame.stream);
        let partition = name.filter(|_| frame.kind != FrameKind::Metadata);
        let info = FrameInfo {
            at: frame.position.0 - segment.base(),
            position: frame.position,
            stream: frame.stream,
            epoch: frame.epoch,
            continues: frame.continues,
            payload_bytes: frame.payload_len,
            topic: partition.map(|(topic, _)| topic),
            partition: partition.map(|(_, id)| id),
            body: body(frame, payload),
            payload,
        };
        if visit(Item::Frame(&info))?.is_break() {
            return Ok(ControlFlow::Break(()));
        }
    }
    Ok(ControlFlow::Continue(()))
}

fn body<'a>(frame: &FrameHeader, payload: &'a [u8]) -> Body<'a> {
    match frame.kind {
        FrameKind::Metadata => Body::Metadata(String::from_utf8_lossy(payload)),
        FrameKind::Trim => {
            let offset = payload.first_chunk::<8>().copied().map_or(0, u64::from_le_bytes);
            Body::Trim(Offset(offset))
        }
        FrameKind::Batch => Body::Batch(batch(payload)),
    }
}

fn batch(payload: &[u8]) -> BatchInfo {
    let trouble = record_batch::check(payload).err().map(|error| error.to_string());
    let crc_ok = record_batch::verify_crc(payload);
    let Ok(header) = BatchHeader::decode(payload) else {
        return BatchInfo {
            base_offset: Offset(0),
            last_offset: Offset(0),
            records: 0,
            base_timestamp_ms: 0,
            max_timestamp_ms: 0,
            attributes: 0,
            producer_id: -1,
            crc_ok,
            trouble,
        };
    };
    BatchInfo {
        base_offset: header.base_offset,
        last_offset: header.last_offset(),
        records: header.record_count,
        base_timestamp_ms: header.base_timestamp_ms,
        max_timestamp_ms: header.max_timestamp_ms,
        attributes: header.attributes,
        producer_id: header.producer_id,
        crc_ok,
        trouble,
    }
}
