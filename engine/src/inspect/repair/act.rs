//! What a repair does, step by step: planned first, so that it can be told, then done. Each action
//! leaves a directory that can be repaired again.

use std::sync::Arc;

use super::super::info::SegmentInfo;
use super::super::layout::Layout;
use super::survey::Survey;
use super::{Plan, aside};
use crate::driver::disk::{DiskRef, OpenMode, full_path, io_error};
use crate::engine::META;
use crate::engine::open::META_FILE;
use crate::error::Result;
use crate::format::checkpoint::Checkpoint;
use crate::format::engine_meta::{ENGINE_META_BYTES, EngineMeta};
use crate::format::index::SegmentIndex;
use crate::limits::GROUP_ALIGN;
use crate::log::checkpoints;
use crate::log::segment::Segment;

/// See the module.
#[derive(Debug)]
pub(super) enum Action {
    /// Writes a small file whole, durable; what had its name is kept aside.
    Replace { name: String, kept: Option<String>, bytes: Vec<u8> },
    /// Gives a file another name.
    SetAside { name: String, kept: String },
    /// Copies a part of a file.
    Copy { name: String, kept: String, at: u64, len: u64 },
    /// Makes a cut file as long as it was, with zeros.
    Lengthen { name: String, len: u64 },
    /// Nothing that opening the engine does not do.
    Open,
}

impl Action {
    pub(super) fn run(self, disk: &DiskRef) -> Result<()> {
        match self {
            Self::Replace { name, kept, bytes } => {
                if let Some(kept) = kept {
                    let before = checkpoints::read_all(&**disk, &name);
                    let before = before.map_err(io_error(&**disk, "read", &name))?;
                    checkpoints::write_all(&**disk, &kept, &before, true)?;
                }
                checkpoints::write_all(&**disk, &name, &bytes, true)
            }
            Self::SetAside { name, kept } => {
                disk.rename(&name, &kept).map_err(io_error(&**disk, "set aside", &name))?;
                let dir = name.rsplit_once('/').map_or("", |(dir, _)| dir);
                disk.sync_dir(dir).map_err(io_error(&**disk, "flush the directory", dir))
            }
            Self::Copy { name, kept, at, len } => {
                let file = disk.open(&name, OpenMode::Read);
                let file = file.map_err(io_error(&**disk, "open", &name))?;
                let mut bytes = vec![0; len as usize];
                let read = file.read_at(&mut bytes, at);
                bytes.truncate(read.map_err(io_error(&**disk, "read", &name))?);
                checkpoints::write_all(&**disk, &kept, &bytes, true)
            }
            Self::Lengthen { name, len } => {
                let file = disk.open(&name, OpenMode::Write);
                let file = file.map_err(io_error(&**disk, "open", &name))?;
                file.allocate(len).map_err(io_error(&**disk, "lengthen", &name))?;
                file.sync().map_err(io_error(&**disk, "flush", &name))
            }
            Self::Open => Ok(()),
        }
    }
}

/// The bad one of two copies of engine.meta, from the good one.
pub(super) fn plan_meta(disk: &DiskRef, plan: &mut Plan) -> Result<()> {
    let bytes = checkpoints::read_all(&**disk, META_FILE);
    let bytes = bytes.map_err(io_error(&**disk, "read", META_FILE))?;
    let half = ENGINE_META_BYTES / 2;
    let copy = |at: usize| EngineMeta::decode(bytes.get(at..at + half).unwrap_or_default());
    let (first, second) = (copy(0), copy(half));
    let (good, which) = match (first, second) {
        (Ok(_), Ok(_)) if bytes.len() == ENGINE_META_BYTES => return Ok(()),
        (Ok(good), Ok(_)) => (good, "its length"),
        (Ok(good), Err(_)) => (good, "the second copy"),
        (Err(_), Ok(good)) => (good, "the first copy"),
        // It has been opened, so one of them was right.
        (Err(_), Err(_)) => return Ok(()),
    };
    let kept = aside(disk, META_FILE)?;
    let what = format!("restore {which} from the one that verifies");
    plan.step(full_path(&**disk, META_FILE), what, Some(full_path(&**disk, &kept)));
    let (name, bytes) = (META_FILE.to_owned(), good.encode());
    plan.actions.push(Action::Replace { name, kept: Some(kept), bytes });
    Ok(())
}

/// What one log needs.
pub(super) fn plan_log(disk: &DiskRef, survey: Survey, plan: &mut Plan) -> Result<()> {
    let dir = full_path(&**disk, &survey.layout.dir);
    if survey.layout.checkpoint.is_none() || (survey.layout.id == META && survey.is_met) {
        let what = if survey.layout.id == META {
            "damage among the topics: which streams are whose would be a guess"
        } else {
            "no checkpoint and no segment can be read"
        };
        plan.beyond(dir, what);
        return Ok(());
    }
    plan_indexes(disk, &survey, plan)?;
    plan_tail(disk, &survey, plan)?;
    if survey.is_met {
        plan_restart(disk, &survey, plan)
    } else {
        plan_checkpoints(disk, &survey.layout, plan)
    }
}

/// Indexes of sealed segments that are missing or do not verify; and of those that are read again
/// at every open, that of the last one.
fn plan_indexes(disk: &DiskRef, survey: &Survey, plan: &mut Plan) -> Result<()> {
    let Some(checkpoint) = &survey.layout.checkpoint else { return Ok(()) };
    for (base, index) in &survey.indexes {
        let Some(segment) = survey.layout.segments.get(base) else { continue };
        let is_sealed = index.end.0 == segment.end() && segment.end() <= checkpoint.position.0;
        if !is_sealed && !survey.is_met {
            continue;
        }
        let found = checkpoints::read_index(&**disk, segment, checkpoint.log);
        // One of before the damage tells better where what is lost was.
        if found.is_none_or(|found| found.end != index.end) {
            plan_index(disk, segment, index, survey.layout.indexes.contains_key(base), plan)?;
        }
    }
    Ok(())
}

fn plan_index(
    disk: &DiskRef,
    segment: &Arc<Segment>,
    index: &SegmentIndex,
    is_there: bool,
    plan: &mut Plan,
) -> Result<()> {
    let name = segment.index_path();
    let kept = if is_there { Some(aside(disk, &name)?) } else { None };
    let kept_path = kept.as_ref().map(|kept| full_path(&**disk, kept));
    let what = "build the index again from its segment";
    plan.step(full_path(&**disk, &name), what, kept_path);
    plan.actions.push(Action::Replace { name, kept, bytes: index.encode() });
    Ok(())
}

/// A torn tail is cut by opening; a copy of it is kept.
fn plan_tail(disk: &DiskRef, survey: &Survey, plan: &mut Plan) -> Result<()> {
    let Some(end) = survey.end.filter(|end| end.torn_bytes > 0) else { return Ok(()) };
    let at = end.position.0;
    let (_, segment) = survey.layout.segments.range(..=at).next_back().unzip();
    let Some(segment) = segment.filter(|segment| segment.contains(at)) else { return Ok(()) };
    let len = end.torn_bytes.next_multiple_of(GROUP_ALIGN as u64).min(segment.end() - at);
    let from = at - segment.base();
    let kept = aside(disk, &format!("{}.from-{from}", segment.path()))?;
    let what = format!("cut a torn tail of {} bytes at byte {from}", end.torn_bytes);
    plan.step(full_path(&**disk, segment.path()), what, Some(full_path(&**disk, &kept)));
    let name = segment.path().to_owned();
    plan.actions.push(Action::Copy { name, kept, at: from, len });
    Ok(())
}

/// Bad checkpoints beside a good one.
fn plan_checkpoints(disk: &DiskRef, layout: &Layout, plan: &mut Plan) -> Result<()> {
    let Some(good) = layout.checkpoints.first() else { return Ok(()) };
    let bad: Vec<u64> = sequences(disk, layout)?
        .into_iter()
        .filter(|sequence| !layout.checkpoints.iter().any(|found| found.sequence == *sequence))
        .collect();
    for sequence in bad {
        // What came after an older one is unknown, so its end is no clean one.
        let clean = good.clean && sequence < good.sequence;
        let copy = Checkpoint { sequence, clean, ..good.clone() };
        let name = checkpoints::path(&layout.dir, sequence);
        let kept = aside(disk, &name)?;
        let what = format!("restore the checkpoint from checkpoint {:x}", good.sequence);
        plan.step(full_path(&**disk, &name), what, Some(full_path(&**disk, &kept)));
        plan.actions.push(Action::SetAside { name: name.clone(), kept });
        plan.actions.push(Action::Replace { name, kept: None, bytes: copy.encode() });
    }
    Ok(())
}

fn sequences(disk: &DiskRef, layout: &Layout) -> Result<Vec<u64>> {
    let entries = disk.list(&layout.dir).map_err(io_error(&**disk, "list", &layout.dir))?;
    Ok(entries.iter().filter_map(|entry| checkpoints::parse_name(&entry.name)).collect())
}

/// The log goes on behind all that is damaged: two checkpoints that say so, first written, then
/// those of before are set aside.
fn plan_restart(disk: &DiskRef, survey: &Survey, plan: &mut Plan) -> Result<()> {
    let layout = &survey.layout;
    for (base, end) in &survey.hidden {
        let Some(segment) = layout.segments.get(base) else { continue };
        let name = segment.path().to_owned();
        let len = end - base;
        let is = |file: &&SegmentInfo| file.base.0 == *base;
        if layout.files.iter().find(is).is_some_and(|file| file.len_bytes > len) {
            plan.beyond(full_path(&**disk, &name), "longer than its segment ever was");
            return Ok(());
        }
        let what = format!("make it {len} bytes long again, with zeros; what it has stays");
        plan.step(full_path(&**disk, &name), what, None);
        plan.actions.push(Action::Lengthen { name, len });
    }
    let Some(checkpoint) = survey.checkpoint(disk) else { return Ok(()) };
    let before = sequences(disk, layout)?;
    let newest = before.iter().max().copied().unwrap_or(0);
    for sequence in [newest + 1, newest + 2] {
        let copy = Checkpoint { sequence, ..checkpoint.clone() };
        let name = checkpoints::path(&layout.dir, sequence);
        let what = format!("go on at position {}, behind all that is damaged", copy.position);
        plan.step(full_path(&**disk, &name), what, None);
        plan.actions.push(Action::Replace { name, kept: None, bytes: copy.encode() });
    }
    for sequence in before {
        let name = checkpoints::path(&layout.dir, sequence);
        let kept = aside(disk, &name)?;
        plan.step(
            full_path(&**disk, &name),
            "set the checkpoint of before aside",
            Some(full_path(&**disk, &kept)),
        );
        plan.actions.push(Action::SetAside { name, kept });
    }
    plan.actions.push(Action::Open);
    Ok(())
}
