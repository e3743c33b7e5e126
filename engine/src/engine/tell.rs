//! The events of an engine as a whole: opened with what, fallbacks, topics, closed. Owns nothing.

use std::time::Duration;

use super::Inner;
use crate::config::Backend;
use crate::error::Result;
use crate::event::{Events, Level, Value};
use crate::topic::catalog::Change;

impl Inner {
    fn events(&self) -> &Events {
        &self.options.log.events
    }

    /// That it is open, and what it has to do without.
    pub(super) fn tell_opened(&self) {
        let disk = &self.maker.disk;
        let path = disk.root().display();
        let facts = disk.facts();
        let (driver, reason) = self.runner.driver();
        let fallback = |message, reason| {
            let fields = [("path", Value::Text(&path)), ("reason", Value::Text(reason))];
            self.events().emit(Level::Warn, "fallback", message, &fields);
        };
        if self.options.backend == Backend::Auto && driver == "pwritev2" {
            fallback("no io_uring: plain writes, same guarantees", &reason);
        }
        if !facts.direct_io {
            let reason = &"O_DIRECT is refused";
            fallback("buffered writes with a flush, same guarantees", reason);
        }
        if let Some(reason) = &facts.no_file_ring {
            fallback("the rings are not in files: written waits for the segment", reason);
        }
        if let Some(reason) = &facts.volatile {
            fallback("durable means nothing over a power loss, as was allowed", reason);
        }
        let fields = [
            ("path", Value::Text(&path)),
            ("driver", Value::Text(&driver)),
            ("filesystem", Value::Text(&facts.filesystem)),
            ("logs", Value::U64(self.logs.read().len() as u64)),
            ("took_us", Value::U64(self.opened_in.as_micros() as u64)),
        ];
        self.events().emit(Level::Info, "opened", "opened", &fields);
    }

    /// A durable change of topics.
    pub(super) fn tell_change(&self, change: &Change) {
        match change {
            Change::LogCreated { .. } => {}
            Change::TopicCreated(topic) => {
                let fields = [
                    ("topic", Value::Text(&topic.name)),
                    ("partitions", Value::U64(topic.partitions.into())),
                ];
                self.events().emit(Level::Info, "topic_created", "made a topic", &fields);
            }
            Change::TopicDeleted { uuid } => {
                let topic = self.catalog.read().topic_of(*uuid).cloned();
                if let Some(topic) = topic {
                    let fields = [("topic", Value::Text(&topic.name))];
                    self.events().emit(Level::Info, "topic_deleted", "deleted a topic", &fields);
                }
            }
        }
    }

    /// That it is closed, and whether cleanly.
    pub(super) fn tell_closed(&self, took: Duration, outcome: &Result<()>) {
        let path = self.maker.disk.root().display();
        let took_us = Value::U64(took.as_micros() as u64);
        match outcome {
            Ok(()) => {
                let fields = [("path", Value::Text(&path)), ("took_us", took_us)];
                self.events().emit(Level::Info, "closed", "closed cleanly", &fields);
            }
            Err(error) => {
                let fields = [
                    ("path", Value::Text(&path)),
                    ("took_us", took_us),
                    ("error", Value::Text(error)),
                ];
                let message = "closed without a clean end: the next open recovers";
                self.events().emit(Level::Warn, "closed", message, &fields);
            }
        }
    }
}
