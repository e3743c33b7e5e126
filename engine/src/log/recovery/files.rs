//! The files of a log that is being recovered: which are live, which are missing or cut, which were
//! left by interrupted steps. Looks only; what is to go goes once it is known that nothing is
//! damaged, since the files of a damaged log are evidence.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Run;
use crate::driver::disk::{full_path, io_error};
use crate::error::{Error, Result};
use crate::log::checkpoints;
use crate::log::segment::{self, Segment};

impl Run<'_> {
    /// Checks that every live segment is there, takes those made since the checkpoint, and notes
    /// what interrupted steps left. Strangers are not touched.
    pub(super) fn find_files(&mut self) -> Result<()> {
        let listed =
            self.disk.list(&self.dir).map_err(io_error(&**self.disk, "list", &self.dir))?;
        let mut found = BTreeMap::new();
        for entry in &listed {
            if segment::is_unfinished(&entry.name) {
                self.leftovers.push(format!("{}/{}", self.dir, entry.name));
            } else if segment::is_spare(&entry.name) {
                self.keep_spare(&entry.name, entry.len_bytes);
            } else if let Some(base) = segment::parse_name(&entry.name) {
                found.insert(base, entry.len_bytes);
            }
        }
        for live in self.checkpoint.segments.clone() {
            let len = found.remove(&live.base.0);
            self.take_live(Segment::new(self.id, live.base.0, live.len_bytes), len);
        }
        self.new_names = !found.is_empty();
        let mut retired = Vec::new();
        for (base, len) in found {
            if self.take_unlisted(base, len)? {
                retired.push(base);
            }
        }
        if !retired.is_empty() {
            // Killed between the two checkpoints that must not have them, the older one still does.
            let listed = checkpoints::listed(&**self.disk, &self.dir)?;
            retired.retain(|base| !listed.contains(base));
            let path = |base| format!("{}/{}", self.dir, segment::file_name(base));
            let paths: Vec<String> = retired.into_iter().map(path).collect();
            self.leftovers.extend(paths);
        }
        Ok(())
    }

    /// What is left to do with the files, once nothing is known to be damaged.
    pub(super) fn clear_away(&mut self) -> Result<()> {
        for path in std::mem::take(&mut self.leftovers) {
            self.disk.remove(&path).map_err(io_error(&**self.disk, "remove", &path))?;
        }
        if self.new_names {
            // A name that its maker did not live to sync must last before a checkpoint has it.
            self.disk.sync_dir(&self.dir).map_err(io_error(&**self.disk, "flush", &self.dir))?;
        }
        Ok(())
    }

    /// A segment that must be there, and how long its file is, if there is one.
    fn take_live(&mut self, segment: Segment, len: Option<u64>) {
        let path = || full_path(&**self.disk, segment.path());
        let wrong = match len {
            Some(len) if len == segment.len() => None,
            Some(len) => {
                let reason = format!("segment is {len} bytes long, not {}", segment.len());
                Some(Error::corrupt(path(), len.min(segment.len()), reason))
            }
            None => Some(Error::corrupt(path(), 0, "segment file is missing")),
        };
        if let Some(error) = wrong {
            self.hide(segment.base(), error);
        }
        self.segments.insert(segment.base(), Arc::new(segment));
    }

    fn hide(&mut self, base: u64, error: Error) {
        self.damage.of_files = true;
        self.note_damage(error.clone());
        self.hidden.insert(base, error);
    }

    fn keep_spare(&mut self, name: &str, len: u64) {
        if len == self.options.segment_bytes && self.spares.len() < self.options.spare_segments {
            self.spares.push_back(name.to_owned());
        } else {
            self.leftovers.push(format!("{}/{name}", self.dir));
        }
    }

    /// A segment that the checkpoint does not list: made after it, retired before it (true), or a
    /// stranger.
    fn take_unlisted(&mut self, base: u64, len: u64) -> Result<bool> {
        let path = format!("{}/{}", self.dir, segment::file_name(base));
        let end = self.segments.values().next_back().map_or(0, |last| last.end());
        match segment::read_header(&**self.disk, &path, Some(self.checkpoint.log)) {
            Ok(header) if header.base.0 == base && base > end => {
                let missing = Segment::new(self.id, end, base - end);
                let reason = format!("segment file is missing, and {base:016x} is there");
                let error = Error::corrupt(full_path(&**self.disk, missing.path()), 0, reason);
                self.hide(end, error);
                self.segments.insert(end, Arc::new(missing));
                self.take_live(Segment::new(self.id, base, header.len_bytes), Some(len));
            }
            Ok(header) if header.base.0 == base && base == end => {
                self.take_live(Segment::new(self.id, base, header.len_bytes), Some(len));
            }
            Ok(header) if header.base.0 == base && base < self.checkpoint.position.0 => {
                return Ok(true);
            }
            // Flushed before the file got its name, so no crash leaves it so; and the end of the
            // log may be in there, whose groups prove themselves.
            Err(error @ Error::Corrupt { .. }) if base == end => {
                self.damage.of_files = true;
                self.note_damage(error);
                self.segments.insert(base, Arc::new(Segment::new(self.id, base, len)));
            }
            // Not made by this log, or not where it would be: left alone.
            Ok(_) | Err(Error::Corrupt { .. }) => {}
            // Of a newer format; or nobody knows what it is, and taken for a stranger it might be
            // the end of the log that is cut off.
            Err(error) => return Err(error),
        }
        Ok(false)
    }
}
