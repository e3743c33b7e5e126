//! What a repair does, step by step: planned first, so that it can be told, then done. Each action
//! leaves a directory that can be repaired again.

use std::sync::Arc;

use super::super::info::SegmentInfo;
use super::super::layout::Layout;
use super::survey::Survey;
use super::{Plan, aside};
use crate::driver::disk::{DiskFile, DiskRef, OpenMode, full_path, io_error};
use crate::engine::META;
use crate::engine::open::META_FILE;
use crate::error::Result;
use crate::format::checkpoint::Checkpoint;
use crate::format::engine_meta::{ENGINE_META_BYTES, EngineMeta};
use crate::format::index::SegmentIndex;
use crate::log::checkpoints;
use crate::log::segment::Segment;

/// What is copied or written again is read in pieces of this size.
const PIECE_BYTES: u64 = 1 << 20;

/// See the module.
#[derive(Debug)]
pub(super) enum Action {
    /// Copies a small file, unless the medium does not give it back: done before anything could
    /// lead an engine to remove it.
    Keep { name: String, kept: String },
    /// Writes a small file whole, durable, in the place of what has its name.
    Replace { name: String, bytes: Vec<u8> },
    /// Gives a file another name, also that of its copy.
    SetAside { name: String, kept: String },
    /// Copies a part of a file.
    Copy { name: String, kept: String, at: u64, len: u64 },
    /// Writes a part of a file again, as it is, and flushes it.
    Rewrite { name: String, at: u64, len: u64 },
    /// Makes a cut file as long as it was, with zeros.
    Lengthen { name: String, len: u64 },
    /// Nothing that opening the engine does not do.
    Open,
}

impl Action {
    pub(super) fn run(self, disk: &DiskRef) -> Result<()> {
        match self {
            Self::Keep { name, kept } => match checkpoints::read_all(&**disk, &name) {
                Ok(bytes) => checkpoints::write_all(&**disk, &kept, &bytes, true),
                Err(error) if checkpoints::is_lost(&error) => Ok(()),
                Err(error) => Err(io_error(&**disk, "read", &name)(error)),
            },
            Self::Replace { name, bytes } => checkpoints::write_all(&**disk, &name, &bytes, true),
            Self::SetAside { name, kept } => {
                disk.rename(&name, &kept).map_err(io_error(&**disk, "set aside", &name))?;
                let dir = name.rsplit_once('/').map_or("", |(dir, _)| dir);
                disk.sync_dir(dir).map_err(io_error(&**disk, "flush the directory", dir))
            }
            Self::Copy { name, kept, at, len } => copy(disk, &name, &kept, (at, len)),
            Self::Rewrite { name, at, len } => {
                let file = disk.open(&name, OpenMode::Write);
                let file = file.map_err(io_error(&**disk, "open", &name))?;
                in_pieces(disk, &name, &*file, (at, len), &mut |bytes, from| {
                    file.write_at(bytes, from).map_err(io_error(&**disk, "rewrite", &name))
                })?;
                file.sync().map_err(io_error(&**disk, "flush", &name))
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

/// Reads a part of a file, as far as it is there, and hands it on with where it was.
fn in_pieces(
    disk: &DiskRef,
    name: &str,
    file: &dyn DiskFile,
    (at, len): (u64, u64),
    then: &mut dyn FnMut(&[u8], u64) -> Result<()>,
) -> Result<()> {
    let mut piece = vec![0; PIECE_BYTES.min(len) as usize];
    let mut done = 0;
    while done < len {
        let want = PIECE_BYTES.min(len - done) as usize;
        let read = file.read_at(&mut piece[..want], at + done);
        let read = read.map_err(io_error(&**disk, "read", name))?;
        if read == 0 {
            break;
        }
        then(&piece[..read], at + done)?;
        done += read as u64;
    }
    Ok(())
}

/// Copies a part of a file into one of its own, which is durable before it has its name.
fn copy(disk: &DiskRef, name: &str, kept: &str, part: (u64, u64)) -> Result<()> {
    let file = disk.open(name, OpenMode::Read).map_err(io_error(&**disk, "open", name))?;
    let unfinished = format!("{kept}.tmp");
    // Left by a repair that was interrupted.
    let _ = disk.remove(&unfinished);
    let to = disk.open(&unfinished, OpenMode::Create);
    let to = to.map_err(io_error(&**disk, "create", &unfinished))?;
    in_pieces(disk, name, &*file, part, &mut |bytes, from| {
        to.write_at(bytes, from - part.0).map_err(io_error(&**disk, "write", &unfinished))
    })?;
    to.sync().map_err(io_error(&**disk, "flush", &unfinished))?;
    disk.rename(&unfinished, kept).map_err(io_error(&**disk, "rename", kept))?;
    let dir = kept.rsplit_once('/').map_or("", |(dir, _)| dir);
    disk.sync_dir(dir).map_err(io_error(&**disk, "flush the directory", dir))
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
    plan.actions.push(Action::Keep { name: name.clone(), kept });
    plan.actions.push(Action::Replace { name, bytes });
    Ok(())
}

/// What one log needs.
pub(super) fn plan_log(disk: &DiskRef, survey: &Survey, plan: &mut Plan) -> Result<()> {
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
    if let Some(version) = survey.newer_ring {
        let ring = dir.join("ring");
        plan.beyond(ring, format!("of format version {version}: a newer Ringlog was here"));
        return Ok(());
    }
    plan_indexes(disk, survey, plan)?;
    plan_tail(disk, survey, plan)?;
    if survey.is_met {
        plan_restart(disk, survey, plan)
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
    if let Some(kept) = kept {
        // For a moment there is none, which is no worse than a bad one.
        plan.actions.push(Action::SetAside { name: name.clone(), kept });
    }
    plan.actions.push(Action::Replace { name, bytes: index.encode() });
    Ok(())
}

/// A torn tail is cut by opening; a copy of it is kept.
fn plan_tail(disk: &DiskRef, survey: &Survey, plan: &mut Plan) -> Result<()> {
    for (segment, at, len) in survey.torn(disk)? {
        let from = at - segment.base();
        let kept = aside(disk, &format!("{}.from-{from}", segment.path()))?;
        let what = format!("cut a torn tail of {len} bytes at byte {from}");
        plan.step(full_path(&**disk, segment.path()), what, Some(full_path(&**disk, &kept)));
        let name = segment.path().to_owned();
        plan.actions.push(Action::Copy { name, kept, at: from, len });
    }
    Ok(())
}

/// Bad checkpoints beside a good one.
fn plan_checkpoints(disk: &DiskRef, layout: &Layout, plan: &mut Plan) -> Result<()> {
    let Some(good) = layout.checkpoints.first() else { return Ok(()) };
    let bad: Vec<u64> = sequences(disk, layout)?
        .into_iter()
        .filter(|sequence| !layout.checkpoints.iter().any(|found| found.sequence == *sequence))
        .collect();
    if good.clean && bad.iter().any(|sequence| *sequence > good.sequence) {
        // What came after it is unknown, and for a moment it will be the newest.
        let name = checkpoints::path(&layout.dir, good.sequence);
        let kept = aside(disk, &name)?;
        let what = "make it say that its end is no clean one";
        plan.step(full_path(&**disk, &name), what, Some(full_path(&**disk, &kept)));
        let bytes = Checkpoint { clean: false, ..good.clone() }.encode();
        plan.actions.push(Action::Keep { name: name.clone(), kept });
        plan.actions.push(Action::Replace { name, bytes });
    }
    for sequence in bad {
        // Nor is the end of one that stands in for the newest once that is gone.
        let copy = Checkpoint { sequence, clean: false, ..good.clone() };
        let name = checkpoints::path(&layout.dir, sequence);
        let kept = aside(disk, &name)?;
        let what = format!("restore the checkpoint from checkpoint {:x}", good.sequence);
        plan.step(full_path(&**disk, &name), what, Some(full_path(&**disk, &kept)));
        plan.actions.push(Action::SetAside { name: name.clone(), kept });
        plan.actions.push(Action::Replace { name, bytes: copy.encode() });
    }
    Ok(())
}

fn sequences(disk: &DiskRef, layout: &Layout) -> Result<Vec<u64>> {
    let entries = disk.list(&layout.dir).map_err(io_error(&**disk, "list", &layout.dir))?;
    Ok(entries.iter().filter_map(|entry| checkpoints::parse_name(&entry.name)).collect())
}

/// The log goes on behind all that is damaged: two checkpoints that say so, then cut segments get
/// their length, then the checkpoints of before are set aside. Never a segment its length first:
/// the zeros would look like the log's end to whoever opens it then.
fn plan_restart(disk: &DiskRef, survey: &Survey, plan: &mut Plan) -> Result<()> {
    let layout = &survey.layout;
    let dir = full_path(&**disk, &layout.dir);
    let checkpoint = survey.checkpoint(disk).filter(|_| !layout.segments.is_empty());
    let Some(checkpoint) = checkpoint else {
        plan.beyond(dir, "no segment is there");
        return Ok(());
    };
    let cut = survey.hidden.keys().filter_map(|base| layout.segments.get(base));
    let cut: Vec<_> = cut.collect();
    let is_longer = |segment: &&&Arc<Segment>| {
        let is = |file: &&SegmentInfo| file.base.0 == segment.base();
        layout.files.iter().find(is).is_some_and(|file| file.len_bytes > segment.len())
    };
    if let Some(longer) = cut.iter().find(is_longer) {
        plan.beyond(full_path(&**disk, longer.path()), "longer than its segment ever was");
        return Ok(());
    }
    for (segment, at, len) in survey.unproven() {
        let what = format!("write its last {len} bytes again, as no flush is proven to cover them");
        plan.step(full_path(&**disk, segment.path()), what, None);
        let (name, at) = (segment.path().to_owned(), at - segment.base());
        plan.actions.push(Action::Rewrite { name, at, len });
    }
    let before = sequences(disk, layout)?;
    let mut set_aside = Vec::new();
    for sequence in &before {
        let name = checkpoints::path(&layout.dir, *sequence);
        let kept = aside(disk, &name)?;
        let what = "set the checkpoint of before aside";
        plan.step(full_path(&**disk, &name), what, Some(full_path(&**disk, &kept)));
        plan.actions.push(Action::Keep { name: name.clone(), kept: kept.clone() });
        set_aside.push(Action::SetAside { name, kept });
    }
    let newest = before.iter().max().copied().unwrap_or(0);
    for sequence in [newest + 1, newest + 2] {
        let copy = Checkpoint { sequence, ..checkpoint.clone() };
        let name = checkpoints::path(&layout.dir, sequence);
        let what = format!("go on at position {}, behind all that is damaged", copy.position);
        plan.step(full_path(&**disk, &name), what, None);
        plan.actions.push(Action::Replace { name, bytes: copy.encode() });
    }
    for segment in cut {
        let (name, len) = (segment.path().to_owned(), segment.len());
        let what = format!("make it {len} bytes long again, with zeros; what it has stays");
        plan.step(full_path(&**disk, &name), what, None);
        plan.actions.push(Action::Lengthen { name, len });
    }
    plan.actions.append(&mut set_aside);
    plan.actions.push(Action::Open);
    Ok(())
}
