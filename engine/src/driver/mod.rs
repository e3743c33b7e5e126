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
