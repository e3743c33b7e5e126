//! What an engine tells of itself while it runs: opened, recovered, a segment made, a log latched.
//! Owns the one place where events leave the library: the caller's hook, and `tracing` where that
//! feature is on. Must never print, and never be called with a lock held that a hook may want.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// How much an [`Event`] matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Routine of the inside: segments, checkpoints.
    Debug,
    /// Opened, closed, a topic made.
    Info,
    /// It goes on, with less: a fallback, something lost to a crash, no space.
    Warn,
    /// A log takes no more appends.
    Error,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        })
    }
}

/// A value of an event's field.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub enum Value<'a> {
    /// A number; its unit is in the field's name.
    U64(u64),
    /// Yes or no.
    Bool(bool),
    /// A name, a path or an error.
    Text(&'a dyn fmt::Display),
}

impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::U64(number) => number.fmt(f),
            Self::Bool(is) => is.fmt(f),
            Self::Text(text) => text.fmt(f),
        }
    }
}

impl fmt::Debug for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Something that happened in an engine. As text: the message, then its fields.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Event<'a> {
    /// How much it matters.
    pub level: Level,
    /// What it is, for programs; never renamed: `opened`, `latched`, ...
    pub name: &'static str,
    /// What it is, for people.
    pub message: &'static str,
    /// What it is about; bytes, positions and microseconds are named so.
    pub fields: &'a [(&'static str, Value<'a>)],
}

impl<'a> Event<'a> {
    /// The value of this field.
    pub fn field(&self, name: &str) -> Option<Value<'a>> {
        self.fields.iter().find(|field| field.0 == name).map(|field| field.1)
    }
}

impl fmt::Display for Event<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message)?;
        for (at, (name, value)) in self.fields.iter().enumerate() {
            write!(f, "{} {name}={value}", if at == 0 { ":" } else { "," })?;
        }
        Ok(())
    }
}

type Hook = Arc<dyn Fn(&Event<'_>) + Send + Sync>;

/// Where events go.
#[derive(Clone, Default)]
pub(crate) struct Events(Option<Hook>);

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Events(hook)" } else { "Events" })
    }
}

impl Events {
    pub(crate) fn to(hook: Hook) -> Self {
        Self(Some(hook))
    }

    /// Whether anybody may listen.
    pub(crate) fn are_heard(&self) -> bool {
        self.0.is_some() || cfg!(feature = "tracing")
    }

    /// Fields are only formatted if somebody listens. A hook that panics is none of the log's
    /// trouble: the engine's threads go on.
    pub(crate) fn emit(
        &self,
        level: Level,
        name: &'static str,
        message: &'static str,
        fields: &[(&'static str, Value<'_>)],
    ) {
        let event = Event { level, name, message, fields };
        #[cfg(feature = "tracing")]
        to_tracing(&event);
        if let Some(hook) = &self.0 {
            let _ = catch_unwind(AssertUnwindSafe(|| hook(&event)));
        }
    }
}

/// `tracing` wants each event's fields at compile time: here they are, by the kind of their value.
#[cfg(feature = "tracing")]
macro_rules! define_tracing {
    (text: $($text:ident)+, number: $($number:ident)+, flag: $($flag:ident)+) => {
        const FIELDS: &[&str] = &[$(stringify!($text),)+ $(stringify!($number),)+
            $(stringify!($flag),)+];

        fn to_tracing(event: &Event<'_>) {
            // One callsite a level; a field that this event does not have is not recorded.
            macro_rules! at {
                ($level:ident) => {
                    tracing::event!(
                        target: "ringlog",
                        tracing::Level::$level,
                        event = event.name,
                        $($text = event.text(stringify!($text)),)+
                        $($number = event.number(stringify!($number)),)+
                        $($flag = event.flag(stringify!($flag)),)+
                        "{}",
                        event.message
                    )
                };
            }
            debug_assert!(event.fields.iter().all(|field| FIELDS.contains(&field.0)), "{event}");
            match event.level {
                Level::Debug => at!(DEBUG),
                Level::Info => at!(INFO),
                Level::Warn => at!(WARN),
                Level::Error => at!(ERROR),
            }
        }
    };
}

#[cfg(feature = "tracing")]
define_tracing! {
    text: path log topic driver filesystem reason error,
    number: took_us logs partitions base position at bytes sequence scanned_bytes replayed_bytes
        cut_bytes lost_bytes damaged_bytes damaged_places,
    flag: clean recycled
}

#[cfg(feature = "tracing")]
impl<'a> Event<'a> {
    fn text(&self, name: &str) -> Option<tracing::field::DisplayValue<&'a dyn fmt::Display>> {
        let Value::Text(text) = self.field(name)? else { return None };
        Some(tracing::field::display(text))
    }

    fn number(&self, name: &str) -> Option<u64> {
        let Value::U64(number) = self.field(name)? else { return None };
        Some(number)
    }

    fn flag(&self, name: &str) -> Option<bool> {
        let Value::Bool(flag) = self.field(name)? else { return None };
        Some(flag)
    }
}
