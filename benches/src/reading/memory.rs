//! The same values one behind the other in memory: the most that reading can come to.

use std::hint::black_box;

use crate::error::Result;
use crate::reading::{Seen, Task};
use crate::values::Values;

/// Puts them there, and gives the pass over them.
pub fn fill(task: &Task, values: &Values) -> impl FnMut() -> Result<Seen> + use<> {
    let mut bytes = Vec::with_capacity(task.records * task.value_bytes);
    (0..task.records).for_each(|index| bytes.extend_from_slice(values.get(index)));
    let value_bytes = task.value_bytes;
    move || {
        let mut seen = Seen::default();
        black_box(&bytes).chunks_exact(value_bytes).for_each(|value| seen.add(value));
        Ok(seen)
    }
}
