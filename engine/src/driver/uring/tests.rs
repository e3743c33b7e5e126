use std::os::fd::AsFd as _;

use super::*;

const LONG: Duration = Duration::from_secs(20);

/// An enabled ring; without one the reason.
fn ring() -> Result<Uring, String> {
    let waker = Waker::new().expect("a descriptor for a test");
    let mut uring = Uring::new(None, waker).map_err(|refused| refused.to_string())?;
    if let Some(why) = uring.unrestricted() {
        return Err(why.to_owned());
    }
    uring.enable().expect("a ring can be enabled once");
    Ok(uring)
}

/// What the kernel answers to an entry.
fn answer(uring: &mut Uring, entry: &squeue::Entry) -> i32 {
    uring.push(entry);
    uring.enter(1, Some(LONG)).expect("the ring takes entries");
    uring.ring.completion().next().expect("an answer").result()
}

fn skip(test: &str, why: &str) {
    use std::io::Write as _;
    // Past the harness, which would keep it to itself.
    let _ = writeln!(io::stdout(), "SKIP uring::tests::{test}: {why}");
}

#[test]
fn what_is_not_ours_is_refused_by_the_kernel() {
    let mut uring = match ring() {
        Ok(uring) => uring,
        Err(why) => return skip("what_is_not_ours_is_refused_by_the_kernel", &why),
    };
    let denied = -Errno::ACCESS.raw_os_error();
    let file = tempfile::tempfile().expect("a file for a test");
    let fd = types::Fd(file.as_raw_fd());
    let mut byte = [0];
    for (what, entry) in [
        ("no operation", opcode::Nop::new().build()),
        ("a read", opcode::Read::new(fd, byte.as_mut_ptr(), 1).build()),
        ("a close", opcode::Close::new(fd).build()),
        ("an open", opcode::OpenAt::new(types::Fd(libc::AT_FDCWD), c"/".as_ptr()).build()),
        ("a socket", opcode::Socket::new(libc::AF_UNIX, libc::SOCK_STREAM, 0).build()),
        ("a flag", opcode::Fsync::new(fd).build().flags(squeue::Flags::IO_DRAIN)),
        ("a registered file", opcode::Fsync::new(types::Fixed(0)).build()),
    ] {
        assert_eq!(answer(&mut uring, &entry), denied, "{what}");
    }
    let data = [7];
    let write = opcode::Write::new(fd, data.as_ptr(), 1).build();
    assert_eq!(answer(&mut uring, &write), 1, "what is ours goes on");
    let registered = uring.ring.submitter().register_files(&[file.as_fd().as_raw_fd()]);
    let refused = registered.expect_err("registering is not ours any more");
    assert_eq!(refused.kind(), io::ErrorKind::PermissionDenied);
    let more = restrict(&uring.ring.submitter());
    assert!(more.is_err(), "restrictions are lifted by nobody");
}
