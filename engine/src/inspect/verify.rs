//! Reading everything. To come.

use super::info::Report;
use crate::driver::disk::DiskRef;
use crate::error::Result;

/// See [`Inspector::verify`](super::Inspector::verify).
pub(super) fn run(_disk: &DiskRef, _progress: &mut dyn FnMut(u64, u64)) -> Result<Report> {
    Ok(Report::default())
}
