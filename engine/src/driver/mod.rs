//! The storage seam: [`op`] is the data path as plain values, [`disk`] the slow path (directories,
//! allocation, reading); the other modules implement both for the kernel and for the simulator.
//! Nothing above `shard` names an implementation.

pub(crate) mod blocking;
pub(crate) mod disk;
pub(crate) mod op;
pub(crate) mod os;
#[cfg(feature = "sim")]
pub mod sim;
pub(crate) mod uring;

use crate::buf::Waker;
use crate::error::{Error, Result};

use blocking::Blocking;
use disk::LockGuard;
use op::Driver;
use uring::Uring;

/// Which driver is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DriverChoice {
    /// io_uring, or where it is denied the plain one. Both give the same guarantees.
    #[default]
    Auto,
    /// io_uring, or an error.
    Uring,
    /// `pwritev2` and `fdatasync`.
    Plain,
}

/// A driver, and how it came to be this one.
pub struct Chosen {
    /// The driver.
    pub driver: Box<dyn Driver>,
    /// Why, for `capabilities()` and for people.
    pub reason: String,
}

/// Makes the driver for a shard of the engine that holds `lock`.
pub fn choose(choice: DriverChoice, lock: &LockGuard, waker: Waker) -> Result<Chosen> {
    if choice == DriverChoice::Plain {
        let reason = "asked for".to_owned();
        return Ok(Chosen { driver: Box::new(Blocking::new(waker)), reason });
    }
    match Uring::new(Some(lock), waker.clone()) {
        Ok(uring) => {
            let reason = match uring.unrestricted() {
                None => "available".to_owned(),
                Some(why) => format!("available, not restricted to our operations: {why}"),
            };
            Ok(Chosen { driver: Box::new(uring), reason })
        }
        Err(refused) if choice == DriverChoice::Auto => {
            let reason = refused.to_string();
            Ok(Chosen { driver: Box::new(Blocking::new(waker)), reason })
        }
        Err(refused) => Err(Error::invalid("driver", refused.to_string())),
    }
}

#[cfg(test)]
mod tests;
