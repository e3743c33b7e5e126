//! What the kernel's answers mean, without a kernel.

use std::os::fd::AsFd;
use std::sync::Arc;

use super::*;
use crate::buf::AlignedBuf;
use crate::driver::disk::{Descriptors, DiskFile};

#[derive(Debug)]
struct Fake {
    file: std::fs::File,
    direct: bool,
}

impl DiskFile for Fake {
    fn read_at(&self, _: &mut [u8], _: u64) -> io::Result<usize> {
        Ok(0)
    }
    fn write_at(&self, _: &[u8], _: u64) -> io::Result<()> {
        Ok(())
    }
    fn allocate(&self, _: u64) -> io::Result<()> {
        Ok(())
    }
    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
    fn len_bytes(&self) -> io::Result<u64> {
        Ok(0)
    }
    fn link_count(&self) -> io::Result<u64> {
        Ok(1)
    }
    fn descriptors(&self) -> Option<Descriptors<'_>> {
        Some(Descriptors { write: self.file.as_fd(), direct: self.direct })
    }
}

fn file(direct: bool) -> FileRef {
    Arc::new(Fake { file: std::fs::File::open("/dev/null").unwrap(), direct })
}

fn write(direct: bool) -> Flight {
    let data = Slice::private(Arc::new(AlignedBuf::zeroed(16384)), 16384);
    Flight::new(Token(1), Op::Write { file: file(direct), at: 0, data, durable: true })
}

const EIO: i32 = -5;
const EINTR: i32 = -4;
const EOPNOTSUPP: i32 = -95;
const ECANCELED: i32 = -125;

#[test]
fn a_short_linked_write_is_finished_with_a_flush_of_its_own() {
    let mut flight = write(false);
    assert!(flight.begin(3).unwrap().second.is_some());
    assert!(matches!(flight.complete(Part::Write, 5000), Step::Owed));
    assert!(matches!(flight.complete(Part::Flush, ECANCELED), Step::Again));
    assert!(flight.begin(3).unwrap().second.is_some());
    assert!(matches!(flight.complete(Part::Write, 16384 - 5000), Step::Owed));
    assert!(matches!(flight.complete(Part::Flush, 0), Step::Done(Ok(()))));
}

#[test]
fn a_failed_flush_is_final_whatever_the_write_says() {
    for wrote in [16384, 4096, EINTR] {
        let mut flight = write(false);
        flight.begin(0).unwrap();
        assert!(matches!(flight.complete(Part::Flush, EIO), Step::Owed));
        let Step::Done(Err(error)) = flight.complete(Part::Write, wrote) else { panic!("{wrote}") };
        assert_eq!(error.raw_os_error(), Some(5));
    }
    let mut flush = Flight::new(Token(1), Op::Flush { file: file(true) });
    for code in [EIO, EINTR, ECANCELED] {
        flush.begin(0).unwrap();
        assert!(matches!(flush.complete(Part::Flush, code), Step::Done(Err(_))));
    }
}

#[test]
fn a_whole_write_with_a_cancelled_flush_is_not_durable() {
    let mut flight = write(false);
    flight.begin(0).unwrap();
    flight.complete(Part::Write, 16384);
    assert!(matches!(flight.complete(Part::Flush, ECANCELED), Step::Done(Err(_))));
}

#[test]
fn a_flush_that_may_have_overtaken_its_write_is_followed_by_another() {
    let mut flight = write(false);
    flight.begin(0).unwrap();
    flight.distrust_link();
    flight.complete(Part::Flush, 0);
    assert!(matches!(flight.complete(Part::Write, 16384), Step::Again));
    assert!(flight.begin(0).unwrap().second.is_none());
    assert!(matches!(flight.complete(Part::Flush, 0), Step::Done(Ok(()))));
}

#[test]
fn a_short_direct_write_goes_on_at_a_block_and_ends_without_progress() {
    let mut flight = write(true);
    assert!(flight.begin(0).unwrap().second.is_none());
    assert!(matches!(flight.complete(Part::Write, 4096 + 512), Step::Again));
    assert!(matches!(&flight.work, Work::Write { done: 4096, .. }));
    flight.begin(0).unwrap();
    let Step::Done(Err(error)) = flight.complete(Part::Write, 512) else { panic!("no progress") };
    assert_eq!(error.kind(), io::ErrorKind::WriteZero);
}

#[test]
fn interrupted_writes_are_retried_and_refused_dsync_becomes_a_linked_flush() {
    let mut flight = write(true);
    flight.begin(0).unwrap();
    assert!(matches!(flight.complete(Part::Write, EINTR), Step::Again));
    assert!(flight.begin(0).unwrap().second.is_none());
    assert!(matches!(flight.complete(Part::Write, EOPNOTSUPP), Step::Again));
    assert!(flight.begin(0).unwrap().second.is_some());
    flight.complete(Part::Write, EIO);
    assert!(matches!(flight.complete(Part::Flush, ECANCELED), Step::Done(Err(_))));
}

#[test]
fn user_data_names_flight_and_part() {
    for index in [0, 1, 511] {
        for part in [Part::Write, Part::Flush] {
            assert_eq!(of_user_data(user_data(index, part)), (index, part));
        }
    }
}
