//! The `tracing` feature: a subscriber hears the same events as the hook does, with typed fields.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ringlog::{Engine, Record, TopicSpec};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing::{Event, Metadata, Subscriber, span};

#[derive(Clone, Debug, Default)]
struct Kept {
    level: String,
    fields: BTreeMap<String, String>,
    numbers: BTreeMap<String, u64>,
}

impl Visit for Kept {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.fields.insert(field.name().to_owned(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.fields.insert(field.name().to_owned(), value.to_owned());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.numbers.insert(field.name().to_owned(), value);
    }
}

#[derive(Clone, Default)]
struct Ear(Arc<Mutex<Vec<Kept>>>);

impl Subscriber for Ear {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "ringlog"
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut kept = Kept { level: event.metadata().level().to_string(), ..Kept::default() };
        event.record(&mut kept);
        self.0.lock().unwrap().push(kept);
    }
}

#[test]
fn a_subscriber_hears_what_the_hook_hears() {
    let ear = Ear::default();
    tracing::subscriber::set_global_default(ear.clone()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let heard: Arc<Mutex<Vec<(String, String)>>> = Arc::default();
    let listener = Arc::clone(&heard);
    let options = Engine::options().allow_volatile(true).on_event(Arc::new(move |event| {
        let level = event.level.to_string().to_uppercase();
        listener.lock().unwrap().push((level, event.name.to_owned()));
    }));
    let engine = options.open(dir.path()).unwrap();
    let topic = engine.create_topic(TopicSpec::new("t").partitions(3)).unwrap();
    topic.partition(0).unwrap().append(Record::new(b"a")).unwrap();
    engine.close(Duration::from_secs(60)).unwrap();
    let kept = ear.0.lock().unwrap().clone();
    let named = |name: &str| kept.iter().find(|kept| kept.fields["event"] == name).unwrap();
    let mut told: Vec<_> =
        kept.iter().map(|kept| (kept.level.clone(), kept.fields["event"].clone())).collect();
    let mut heard = heard.lock().unwrap().clone();
    assert!(told.len() >= 5, "{told:?}");
    // Threads of the engine may overtake each other between the two.
    told.sort();
    heard.sort();
    assert_eq!(told, heard);
    assert_eq!(named("topic_created").fields["topic"], "t");
    assert_eq!(named("topic_created").numbers["partitions"], 3);
    assert_eq!(named("topic_created").fields["message"], "made a topic");
    assert_eq!(named("recovered").fields["clean"], "true");
    assert!(!named("recovered").fields.contains_key("topic"), "a field it does not have");
}
