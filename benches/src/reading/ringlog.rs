//! The engine as what is read from.

use std::path::Path;

use ringlog::{Engine, Flush, Partition, Record, Start, TopicSpec};

use crate::error::{Context, Result};
use crate::reading::{Seen, Task};
use crate::values::Values;

/// Writes the records, and gives the pass over them: what a user would write, batch by batch.
pub fn fill(
    dir: &Path,
    task: &Task,
    values: &Values,
    verify: bool,
) -> Result<impl FnMut() -> Result<Seen> + use<>> {
    let engine = Engine::options().open(dir).context("opening the engine")?;
    let spec = TopicSpec::new("bench").flush(Flush::Async);
    let topic = engine.create_topic(spec).context("creating a topic")?;
    let partition = topic.partition(0).context("its first partition")?;
    let mut batch = Vec::with_capacity(task.batch);
    for index in (0..task.records).step_by(task.batch) {
        values.fill(index, task.batch, &mut batch);
        let records: Vec<Record<'_>> = batch.iter().map(|value| Record::new(value)).collect();
        partition.append_many(&records).context("appending")?;
    }
    Ok(move || {
        // Nothing is read once the engine is gone.
        let _ = &engine;
        pass(&partition, verify).context("reading")
    })
}

fn pass(partition: &Partition, verify: bool) -> ringlog::Result<Seen> {
    let mut seen = Seen::default();
    for batch in partition.reader(Start::Earliest)?.verify(verify) {
        for record in &batch? {
            seen.add(record?.value().unwrap_or_default());
        }
    }
    Ok(seen)
}
