//! The events of a log: what is worth telling of it, in one place. Owns nothing; called without the
//! writer's lock.

use super::{Log, Stop};
use crate::error::Error;
use crate::event::{Level, Value};
use crate::metrics::Recovery;

impl Log {
    /// Tells of something that happened to this log.
    pub(crate) fn tell(
        &self,
        level: Level,
        name: &'static str,
        message: &'static str,
        fields: &[(&'static str, Value<'_>)],
    ) {
        let events = &self.options.events;
        if !events.are_heard() {
            return;
        }
        let mut all = Vec::with_capacity(fields.len() + 1);
        all.push(("log", Value::Text(&self.name)));
        all.extend_from_slice(fields);
        events.emit(level, name, message, &all);
    }

    /// What its recovery found and did, and the damaged places one by one.
    pub(crate) fn tell_recovery(&self, damage: &[Error]) {
        let Recovery { took, clean, scanned_bytes, replayed_bytes, cut_bytes, lost_bytes, .. } =
            self.metrics.recovery;
        let Recovery { damaged_bytes, damaged_places, .. } = self.metrics.recovery;
        let level = if lost_bytes > 0 || damaged_places > 0 { Level::Warn } else { Level::Info };
        let message = if clean { "opened a cleanly closed log" } else { "recovered a log" };
        let fields = [
            ("clean", Value::Bool(clean)),
            ("took_us", Value::U64(took.as_micros() as u64)),
            ("scanned_bytes", Value::U64(scanned_bytes)),
            ("replayed_bytes", Value::U64(replayed_bytes)),
            ("cut_bytes", Value::U64(cut_bytes)),
            ("lost_bytes", Value::U64(lost_bytes)),
            ("damaged_bytes", Value::U64(damaged_bytes)),
            ("damaged_places", Value::U64(damaged_places)),
        ];
        self.tell(level, "recovered", message, &fields);
        for error in damage {
            let message = "proven damage: the log takes no appends";
            self.tell(Level::Error, "damaged", message, &[("error", Value::Text(error))]);
        }
    }

    /// That it takes no more appends, once it has been stopped.
    pub(super) fn tell_stop(&self) {
        if let Some(Stop::Latched(cause)) = self.stop_reason() {
            let message = "a write or flush failed: appends fail until the engine is reopened";
            self.tell(Level::Error, "latched", message, &[("error", Value::Text(cause))]);
        }
    }
}
