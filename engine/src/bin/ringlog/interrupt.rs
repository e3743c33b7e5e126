//! ^C as an event: the first asks the command to finish what it has begun, the second ends the
//! process at once (which loses nothing acknowledged; the next open recovers).

use std::process;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::exit::{Exit, Failure};

type Listener = Box<dyn FnOnce() + Send>;

/// Whether, and telling when, the user wants to stop.
#[derive(Clone, Default)]
pub struct Interrupt {
    asked: Arc<AtomicBool>,
    listener: Arc<Mutex<Option<Listener>>>,
}

impl Interrupt {
    /// Catches SIGINT, SIGTERM and SIGHUP from now on.
    pub fn install() -> Result<Self, Failure> {
        let failed = |error| Failure::new(Exit::Failed, format_args!("signal handler: {error}"));
        let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).map_err(failed)?;
        let interrupt = Self::default();
        let told = interrupt.clone();
        thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || {
                for _ in signals.forever() {
                    told.tell();
                }
            })
            .map_err(failed)?;
        Ok(interrupt)
    }

    /// Whether the first ^C has come.
    pub fn is_asked(&self) -> bool {
        self.asked.load(Ordering::SeqCst)
    }

    /// Calls `listener` at the first ^C, from another thread; at once if it has come already.
    pub fn on_first(&self, listener: impl FnOnce() + Send + 'static) {
        let mut slot = self.listener.lock().expect("no holder panics");
        if self.is_asked() {
            listener();
        } else {
            *slot = Some(Box::new(listener));
        }
    }

    fn tell(&self) {
        let mut slot = self.listener.lock().expect("no holder panics");
        if self.asked.swap(true, Ordering::SeqCst) {
            process::exit(Exit::Interrupted as i32);
        }
        if let Some(listener) = slot.take() {
            listener();
        }
    }
}
