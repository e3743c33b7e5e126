//! Extents and senders: what they name and send is what was appended, byte for byte, to whoever
//! takes it at whatever pace, and no more than a reader may see.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::fs::{DirEntryExt, FileExt};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use ringlog::{
    Engine, Error, Extent, Extents, Flush, Offset, Options, Partition, Record, Sender, Start,
};

use super::{CLASSES, DEADLINE, append_numbered, number, on_each, partition, small, value};

/// Batches of several sizes: one record, many, one larger than a ring's quarter.
fn fill(partition: &Partition) -> Vec<u8> {
    for round in 0..40 {
        append_numbered(partition, round..round + 3, 900);
        let values: Vec<_> = (0..17).map(|at| value(at, 300)).collect();
        let records: Vec<_> = values.iter().map(|value| Record::new(value)).collect();
        partition.append_many(&records).unwrap();
        partition.append(Record::new(&value(round, 20_000))).unwrap();
    }
    appended(partition, Offset(0))
}

/// What a reader gives from the batch on that holds `from`.
fn appended(partition: &Partition, from: Offset) -> Vec<u8> {
    let reader = partition.reader(Start::Offset(from)).unwrap();
    reader.flat_map(|batch| batch.unwrap().bytes().to_vec()).collect()
}

/// The bytes of extents, read as a host would.
fn bytes_of(extents: &Extents) -> Vec<u8> {
    let mut out = Vec::new();
    for extent in extents.iter() {
        match extent {
            Extent::File { fd, offset, len } => {
                let file = File::from(fd.try_clone_to_owned().unwrap());
                let mut bytes = vec![0; len as usize];
                file.read_exact_at(&mut bytes, offset).unwrap();
                out.extend(bytes);
                let refused = file.write_all_at(&[0], offset).unwrap_err();
                assert_eq!(refused.raw_os_error(), Some(9), "a descriptor that can write");
            }
            Extent::Memory(bytes) => out.extend_from_slice(&bytes),
        }
    }
    assert_eq!(out.len() as u64, extents.len_bytes());
    out
}

fn is_file(extent: &Extent<'_>) -> bool {
    matches!(extent, Extent::File { .. })
}

#[test]
fn extents_one_after_the_other_are_what_was_appended() {
    on_each(&small(), |options, dir| {
        let engine = options.clone().open(dir).unwrap();
        for class in CLASSES {
            let partition = partition(&engine, "t", class);
            let all = fill(&partition);
            let end = partition.info().unwrap().end;
            for max in [1, 5000, 100_000, u64::MAX] {
                let (mut out, mut at, mut files) = (Vec::new(), Offset(0), 0);
                while at < end {
                    let extents = partition.extents(at, max).unwrap();
                    assert_eq!(extents.first_offset(), at);
                    assert!(extents.next_offset() > at && !extents.is_empty());
                    files += extents.iter().filter(is_file).count();
                    out.extend(bytes_of(&extents));
                    at = extents.next_offset();
                }
                assert!(out == all, "{class} in pieces of {max}");
                assert!(files > 0, "all of it from memory");
            }
            // Amid a batch: it is given whole.
            let extents = partition.extents(Offset(10), 1).unwrap();
            assert_eq!((extents.first_offset().0, extents.next_offset().0), (3, 20));
            assert!(all[..].windows(extents.len_bytes() as usize).any(|w| w == bytes_of(&extents)));
            let none = partition.extents(end, 1000).unwrap();
            assert!(none.is_empty() && none.first_offset() == end && none.next_offset() == end);
            let beyond = partition.extents(Offset(end.0 + 1), 1000).unwrap_err();
            assert!(matches!(beyond, Error::OffsetOutOfRange { .. }), "{beyond:?}");
        }
        engine.close(DEADLINE).unwrap();
    });
}

#[test]
fn extents_stay_what_they_were_through_trims_and_close() {
    on_each(&small(), |options, dir| {
        let engine = options.clone().open(dir).unwrap();
        let partition = partition(&engine, "t", Flush::Sync);
        append_numbered(&partition, 0..400, 2000);
        let extents = partition.extents(Offset(0), 300_000).unwrap();
        let before = bytes_of(&extents);
        partition.trim(Offset(390)).unwrap();
        append_numbered(&partition, 400..900, 2000);
        partition.trim(Offset(890)).unwrap();
        assert!(bytes_of(&extents) == before);
        engine.close(DEADLINE).unwrap();
        drop((engine, partition));
        assert!(bytes_of(&extents) == before);
        std::fs::remove_dir_all(dir).unwrap();
        std::fs::create_dir(dir).unwrap();
        assert!(bytes_of(&extents) == before);
    });
}

#[test]
fn a_segment_given_away_while_it_was_written_is_not_recycled() {
    on_each(&small().spare_segments(4), |options, dir| {
        let engine = options.clone().open(dir).unwrap();
        let partition = partition(&engine, "t", Flush::Sync);
        let retired = || {
            let log = engine.metrics().logs.pop().unwrap();
            log.segments_removed + log.segments_recycled
        };
        let retire = |least: u64| {
            let started = Instant::now();
            while retired() < least {
                assert!(started.elapsed() < DEADLINE, "nothing is retired");
                thread::sleep(Duration::from_millis(5));
            }
        };
        // Too large for the ring: in the file at once. The last is the first of its segment.
        append_numbered(&partition, 0..40, 20_000);
        // Everything before goes, so that it is the next to go, and finds room among the spares.
        partition.trim(Offset(39)).unwrap();
        retire(12);
        let extents = partition.extents(Offset(39), u64::MAX).unwrap();
        let Some(Extent::File { fd, .. }) = extents.iter().next() else { panic!("{extents:?}") };
        let given = rustix::fs::fstat(fd).unwrap().st_ino;
        let before = bytes_of(&extents);
        append_numbered(&partition, 40..80, 20_000);
        partition.trim(Offset(80)).unwrap();
        retire(24);
        append_numbered(&partition, 80..160, 20_000);
        let mut now = std::fs::read_dir(dir.join("log-001")).unwrap();
        assert!(now.all(|entry| entry.unwrap().ino() != given), "it is another segment");
        assert!(bytes_of(&extents) == before);
        engine.close(DEADLINE).unwrap();
    });
}

#[test]
fn extents_count_as_pinned() {
    let max = (32 << 10) + (1 << 20);
    on_each(&small().pinned_bytes_max(max), |options, dir| {
        let engine = options.clone().open(dir).unwrap();
        let partition = partition(&engine, "t", Flush::Async);
        append_numbered(&partition, 0..1500, 2000);
        let held = partition.extents(Offset(0), u64::MAX).unwrap();
        assert!(held.len_bytes() <= max && held.len_bytes() > max / 2);
        assert_eq!(engine.metrics().pinned_bytes, held.len_bytes());
        let refused = partition.extents(Offset(0), 2000).map(|more| {
            // Room for one small batch may be left; for all of them it is not.
            let rest = partition.extents(Offset(0), u64::MAX);
            drop(more);
            rest.map(|rest| rest.len_bytes())
        });
        match refused {
            Err(Error::Pinned { .. }) | Ok(Err(Error::Pinned { .. })) => {}
            other => panic!("{other:?}"),
        }
        drop(held);
        assert_eq!(engine.metrics().pinned_bytes, 0);
        assert!(partition.extents(Offset(0), 500_000).unwrap().len_bytes() > 400_000);
        engine.close(DEADLINE).unwrap();
    });
}

/// Two ends of a TCP connection.
fn tcp() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let one = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (one, listener.accept().unwrap().0)
}

fn drain(mut from: impl Read, pause: Duration) -> Vec<u8> {
    let (mut out, mut buffer) = (Vec::new(), vec![0; 10_000]);
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return out,
            Ok(count) => out.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => panic!("{error}"),
        }
        if !pause.is_zero() {
            thread::sleep(pause);
        }
    }
}

/// Sends everything in calls of `max` bytes; how many calls were incomplete.
fn send_all(sender: &mut Sender, to: impl AsFd, end: Offset, max: u64, timeout: Duration) -> u32 {
    let mut incomplete = 0;
    while sender.next_offset() < end {
        let sent = sender.send_to(&to, max, timeout).unwrap();
        assert_eq!(sent.next_offset, sender.next_offset());
        if sent.complete {
            assert!(!sender.is_amid_batch() && sent.bytes > 0);
        } else {
            incomplete += 1;
            // A caller of its own loop would wait for its descriptor here.
            thread::yield_now();
        }
    }
    incomplete
}

#[test]
fn everything_arrives_whoever_receives_it() {
    on_each(&small(), |options, dir| {
        let engine = options.clone().open(dir).unwrap();
        for class in CLASSES {
            let partition = partition(&engine, "t", class);
            let all = fill(&partition);
            let end = partition.info().unwrap().end;
            for max in [1, 70_000, u64::MAX] {
                let (to, from) = tcp();
                let got = thread::spawn(move || drain(from, Duration::ZERO));
                let mut sender = partition.sender(Offset(0)).unwrap();
                send_all(&mut sender, &to, end, max, DEADLINE);
                assert_eq!(sender.send_to(&to, max, DEADLINE).unwrap().bytes, 0);
                drop(to);
                assert!(got.join().unwrap() == all, "TCP, {max}");
            }
            let (to, from) = UnixStream::pair().unwrap();
            let got = thread::spawn(move || drain(from, Duration::ZERO));
            let sent = partition.send_to(&to, Offset(0), u64::MAX, DEADLINE).unwrap();
            assert!(sent.complete && sent.next_offset == end && sent.bytes == all.len() as u64);
            drop(to);
            assert!(got.join().unwrap() == all, "Unix socket");
            let (from, to) = io::pipe().unwrap();
            let got = thread::spawn(move || drain(from, Duration::ZERO));
            partition.send_to(&to, Offset(0), u64::MAX, DEADLINE).unwrap();
            drop(to);
            assert!(got.join().unwrap() == all, "pipe");
            let mut to = tempfile::tempfile().unwrap();
            to.write_all(b"head").unwrap();
            partition.send_to(&to, Offset(0), u64::MAX, DEADLINE).unwrap();
            let mut copied = vec![0; 4 + all.len()];
            to.read_exact_at(&mut copied, 0).unwrap();
            assert!(copied[4..] == all[..], "file");
        }
        engine.close(DEADLINE).unwrap();
    });
}

#[test]
fn a_slow_reader_behind_a_tiny_buffer_gets_everything_by_parts() {
    on_each(&small(), |options, dir| {
        let engine = options.clone().open(dir).unwrap();
        let partition = partition(&engine, "t", Flush::Async);
        let all = fill(&partition);
        let end = partition.info().unwrap().end;
        for (blocking, timeout) in
            [(true, Duration::from_millis(3)), (false, Duration::ZERO), (false, DEADLINE)]
        {
            let (to, from) = UnixStream::pair().unwrap();
            rustix::net::sockopt::set_socket_send_buffer_size(&to, 1).unwrap();
            to.set_nonblocking(!blocking).unwrap();
            let got = thread::spawn(move || drain(from, Duration::from_micros(300)));
            let mut sender = partition.sender(Offset(0)).unwrap();
            let incomplete = send_all(&mut sender, &to, end, u64::MAX, timeout);
            assert_eq!(incomplete == 0, timeout == DEADLINE, "{blocking} {timeout:?}");
            assert_eq!(to.write_timeout().unwrap(), None, "the socket's own timeout is back");
            drop(to);
            assert!(got.join().unwrap() == all);
        }
        engine.close(DEADLINE).unwrap();
    });
}

#[test]
fn a_peer_that_takes_nothing_costs_the_timeout_and_no_more() {
    let dir = tempfile::tempdir().unwrap();
    let engine = small().open(dir.path()).unwrap();
    let partition = partition(&engine, "t", Flush::Async);
    let all = fill(&partition);
    for blocking in [true, false] {
        let (to, from) = UnixStream::pair().unwrap();
        to.set_nonblocking(!blocking).unwrap();
        let mut sender = partition.sender(Offset(0)).unwrap();
        let sent = sender.send_to(&to, u64::MAX, Duration::from_millis(20)).unwrap();
        assert!(!sent.complete && sent.bytes > 0);
        let again = sender.send_to(&to, u64::MAX, Duration::from_millis(20)).unwrap();
        assert!(!again.complete);
        let got = thread::spawn(move || drain(from, Duration::ZERO));
        assert!(sender.send_to(&to, u64::MAX, DEADLINE).unwrap().complete);
        drop(to);
        assert!(got.join().unwrap() == all);
    }
}

#[test]
fn a_peer_that_closes_is_a_typed_error_and_no_signal() {
    // In a process of its own, where SIGPIPE is fatal as in a C program.
    if std::env::var_os("RINGLOG_TEST_SIGPIPE").is_none() {
        let this = "send::a_peer_that_closes_is_a_typed_error_and_no_signal";
        let done = std::process::Command::new("sh")
            .args(["-c", "exec \"$0\" \"$@\""])
            .arg(std::env::current_exe().unwrap())
            .args([this, "--exact", "--nocapture", "--test-threads=1"])
            .env("RINGLOG_TEST_SIGPIPE", "1")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&done.stdout).into_owned();
        assert!(done.status.success(), "{:?} {said}", done.status);
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let engine = small().open(dir.path()).unwrap();
    for class in CLASSES {
        let partition = partition(&engine, "t", class);
        fill(&partition);
        let end = partition.info().unwrap().end;
        let refused = |to: &dyn AsFd| {
            // From files, and from memory.
            for from in [Offset(0), Offset(end.0 - 1)] {
                let mut sender = partition.sender(from).unwrap();
                let error = loop {
                    match sender.send_to(to.as_fd(), u64::MAX, DEADLINE) {
                        Ok(sent) if sent.complete => {
                            // The kernel took it before it heard of the end.
                            sender = partition.sender(from).unwrap();
                        }
                        Ok(_) => {}
                        Err(error) => break error,
                    }
                };
                assert!(matches!(error, Error::Peer { .. }), "{error:?}");
            }
        };
        let (to, from) = tcp();
        drop(from);
        refused(&to);
        let (to, from) = UnixStream::pair().unwrap();
        drop(from);
        refused(&to);
        let (from, to) = io::pipe().unwrap();
        drop(from);
        refused(&to);
        refused(&File::open("/dev/null").unwrap());
        // In the middle of it.
        let (to, mut from) = tcp();
        let reads = thread::spawn(move || from.read_exact(&mut vec![0; 100_000]).unwrap());
        let mut sender = partition.sender(Offset(0)).unwrap();
        let error = loop {
            match sender.send_to(&to, u64::MAX, DEADLINE) {
                Ok(sent) if sent.complete => sender = partition.sender(Offset(0)).unwrap(),
                Ok(_) => {}
                Err(error) => break error,
            }
        };
        assert!(matches!(error, Error::Peer { .. }), "{error:?}");
        reads.join().unwrap();
    }
    engine.close(DEADLINE).unwrap();
}

#[test]
fn extents_sent_later_arrive_whole_after_their_head() {
    let dir = tempfile::tempdir().unwrap();
    let engine = small().open(dir.path()).unwrap();
    let partition = partition(&engine, "t", Flush::Sync);
    let all = fill(&partition);
    let extents = partition.extents(Offset(0), 100_000).unwrap();
    let (len, next) = (extents.len_bytes(), extents.next_offset());
    let (mut to, from) = tcp();
    let got = thread::spawn(move || drain(from, Duration::ZERO));
    to.write_all(&len.to_be_bytes()).unwrap();
    let mut sender = extents.into_sender();
    let sent = sender.send_to(&to, 0, DEADLINE).unwrap();
    assert!(sent.complete && sent.bytes == len && sent.next_offset == next);
    assert_eq!(sender.send_to(&to, u64::MAX, DEADLINE).unwrap().bytes, 0);
    drop(to);
    let got = got.join().unwrap();
    assert_eq!(got[..8], len.to_be_bytes());
    assert!(got[8..] == all[..len as usize]);
}

fn cut(options: &Options, dir: &std::path::Path, change: impl Fn(&File)) -> (Engine, Partition) {
    let engine = options.clone().open(dir).unwrap();
    append_numbered(&partition(&engine, "t", Flush::Sync), 0..200, 2000);
    engine.close(DEADLINE).unwrap();
    let engine = options.clone().open(dir).unwrap();
    let partition = partition(&engine, "t", Flush::Sync);
    let mut names: Vec<_> = std::fs::read_dir(dir.join("log-001"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
        .collect();
    names.sort();
    change(&File::options().read(true).write(true).open(&names[0]).unwrap());
    (engine, partition)
}

#[test]
fn damage_and_missing_bytes_are_told_and_what_lies_before_is_sent() {
    on_each(&small(), |options, dir| {
        let (engine, partition) = cut(options, dir, |file| {
            let mut bytes = Vec::new();
            (&mut &*file).read_to_end(&mut bytes).unwrap();
            let at = bytes.windows(40).position(|bytes| bytes == &value(10, 2000)[..40]).unwrap();
            // The base offset of that batch lies before its first value.
            file.write_all_at(&[0xff; 8], at as u64 - 80).unwrap();
        });
        let (to, from) = tcp();
        let got = thread::spawn(move || drain(from, Duration::ZERO));
        let mut sender = partition.sender(Offset(0)).unwrap();
        let error = sender.send_to(&to, u64::MAX, DEADLINE).unwrap_err();
        assert!(matches!(error, Error::Corrupt { .. }), "{error:?}");
        assert_eq!(sender.next_offset(), Offset(10));
        drop(to);
        let reader = partition.reader(Start::Earliest).unwrap();
        let before: Vec<u8> =
            reader.take(10).flat_map(|batch| batch.unwrap().bytes().to_vec()).collect();
        assert!(got.join().unwrap() == before);
        engine.close(DEADLINE).unwrap();
    });
    on_each(&small(), |options, dir| {
        let (engine, partition) = cut(options, dir, |_| ());
        let extents = partition.extents(Offset(0), 20_000).unwrap();
        let path = std::fs::read_dir(dir.join("log-001")).unwrap();
        let mut names: Vec<_> = path
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
            .collect();
        names.sort();
        File::options().write(true).open(&names[0]).unwrap().set_len(8192).unwrap();
        let (to, from) = tcp();
        let got = thread::spawn(move || drain(from, Duration::ZERO));
        let error = extents.into_sender().send_to(&to, 0, DEADLINE).unwrap_err();
        let Error::Corrupt { path, .. } = &error else { panic!("{error:?}") };
        assert_eq!(*path, names[0]);
        drop(to);
        assert!(got.join().unwrap().len() < 8192);
        drop((partition, engine));
    });
}

#[test]
fn a_sender_that_keeps_up_with_appends_sends_each_once() {
    on_each(&small(), |options, dir| {
        let engine = options.clone().open(dir).unwrap();
        let partition = partition(&engine, "t", Flush::Async);
        let (to, from) = tcp();
        let got = thread::spawn(move || drain(from, Duration::ZERO));
        let count = 3000;
        thread::scope(|scope| {
            scope.spawn(|| append_numbered(&partition, 0..count, 900));
            let mut sender = partition.sender(Offset(0)).unwrap();
            while sender.next_offset().0 < count as u64 {
                assert!(sender.send_to(&to, 50_000, DEADLINE).unwrap().complete);
            }
        });
        drop(to);
        let got = got.join().unwrap();
        assert!(got == appended(&partition, Offset(0)));
        let last = partition.reader(Start::Offset(Offset(count as u64 - 1))).unwrap();
        let last = last.records().next().unwrap().unwrap();
        assert_eq!(number(&last.value.unwrap()), count as u64 - 1);
        engine.close(DEADLINE).unwrap();
    });
}
