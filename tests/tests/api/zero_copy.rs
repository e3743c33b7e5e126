//! What sealed segments hold goes to a socket without passing through this process: seen from
//! outside, by strace, which writes down every system call of a program that sends. The engine has
//! the plain driver there: what io_uring does is no system call that could be counted.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::thread;

use ringlog::{Backend, Engine, Extent, Flush, Offset, Record, Start};

use super::{CLASSES, DEADLINE, partition, small, value};

const NAME: &str = "zero_copy::no_payload_of_a_segment_passes_through_a_buffer_of_ours";
/// Where the child sends to.
const PEER: &str = "RINGLOG_TEST_ZERO_COPY_PEER";
/// Stands around what is counted, in the child's output and so in the trace.
const MARK: &str = "ringlog-zero-copy-mark";
const BATCHES: usize = 240;
const VALUE_BYTES: usize = 10_000;
/// What may be read for a batch: headers, its own and those around it.
const HEADERS_BYTES_MAX: u64 = 512;

/// Appends, prints what a sender has before it, and sends it all: the traced program.
fn child(peer: &str) {
    let dir = tempfile::tempdir().unwrap();
    let engine = small().backend(Backend::Plain).open(dir.path()).unwrap();
    let mut out = io::stdout();
    for class in CLASSES {
        send(&engine, class, peer, &mut out);
    }
    engine.close(DEADLINE).unwrap();
}

fn send(engine: &Engine, class: Flush, peer: &str, out: &mut impl Write) {
    let partition = partition(engine, "t", class);
    for at in 0..BATCHES {
        partition.append(Record::new(&value(at, VALUE_BYTES))).unwrap();
    }
    let reader = partition.reader(Start::Earliest).unwrap();
    let all: Vec<u8> = reader.flat_map(|batch| batch.unwrap().bytes().to_vec()).collect();
    let (mut sealed, mut memory) = (0, 0);
    for extent in partition.extents(Offset(0), u64::MAX).unwrap().iter() {
        match extent {
            Extent::File { len, .. } => sealed += len,
            Extent::Memory(bytes) => memory += bytes.len() as u64,
        }
    }
    assert_eq!(sealed + memory, all.len() as u64);
    let to = TcpStream::connect(peer).unwrap();
    writeln!(out, "\n{MARK} {sealed} {memory} {}", crc32c::crc32c(&all)).unwrap();
    let sent = partition.send_to(&to, Offset(0), u64::MAX, DEADLINE).unwrap();
    writeln!(out, "\n{MARK}").unwrap();
    assert!(sent.complete && sent.bytes == all.len() as u64);
}

/// Bytes between two marks.
#[derive(Debug, Default, PartialEq, Eq)]
struct Counted {
    /// To a socket, by `sendfile` or `splice`.
    from_files: u64,
    /// To a socket, by any other call.
    from_memory: u64,
    /// From segments, by any call that copies.
    read: u64,
}

/// What a thread's trace has between its marks: one for each pair.
fn count(trace: &str) -> Vec<Counted> {
    let mut all = Vec::new();
    let mut open: Option<Counted> = None;
    for line in trace.lines() {
        if line.starts_with("write(1") && line.contains(MARK) {
            match open.take() {
                Some(counted) => all.push(counted),
                None => open = Some(Counted::default()),
            }
            continue;
        }
        let (name, rest) = line.split_once('(').unwrap_or((line, ""));
        let target = rest.split([',', ')']).next().unwrap_or_default();
        let result = line.rsplit_once("= ").map_or("", |(_, result)| result);
        let bytes = result.split(' ').next().and_then(|text| text.parse().ok()).unwrap_or(0);
        let Some(counted) = &mut open else { continue };
        if name == "splice" || name == "tee" || name == "vmsplice" {
            panic!("not expected here, and not counted: {line}");
        } else if target.contains("socket:") || target.contains("TCP:") {
            let to =
                if name == "sendfile" { &mut counted.from_files } else { &mut counted.from_memory };
            *to += bytes;
        } else if target.contains(".log>") && name.contains("read") {
            counted.read += bytes;
        }
    }
    assert!(open.is_none(), "a mark without its pair");
    all
}

/// Why strace cannot trace here, if it cannot.
fn why_not() -> Option<String> {
    let output = match Command::new("strace").args(["-f", "-y", "-o", "/dev/null", "true"]).output()
    {
        Ok(output) => output,
        Err(error) => return Some(format!("strace: {error}")),
    };
    let said = String::from_utf8_lossy(&output.stderr);
    (!output.status.success()).then(|| format!("strace: {}", said.trim()))
}

/// Runs the child under strace; what it printed, a trace of each of its threads, and what arrived.
fn trace(dir: &Path) -> (String, Vec<String>, Vec<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let peer = listener.local_addr().unwrap().to_string();
    let peers = thread::spawn(move || {
        CLASSES.map(|_| {
            let mut got = Vec::new();
            listener.accept().unwrap().0.read_to_end(&mut got).unwrap();
            got
        })
    });
    let done = Command::new("strace")
        .args(["-ff", "-y", "-qq", "-o"])
        .arg(dir.join("trace"))
        .arg(std::env::current_exe().unwrap())
        .args([NAME, "--exact", "--nocapture", "--test-threads=1"])
        .env(PEER, peer)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(done.status.success(), "{said} {}", String::from_utf8_lossy(&done.stderr));
    let traces = fs::read_dir(dir).unwrap();
    let traces = traces.map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap()).collect();
    (said, traces, peers.join().unwrap().into())
}

#[test]
fn no_payload_of_a_segment_passes_through_a_buffer_of_ours() {
    if let Ok(peer) = std::env::var(PEER) {
        return child(&peer);
    }
    if let Some(reason) = why_not() {
        writeln!(io::stdout(), "SKIP {NAME}: {reason}").unwrap();
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (said, traces, arrived) = trace(dir.path());
    let (sends, others): (Vec<_>, Vec<_>) =
        traces.into_iter().partition(|trace| trace.contains(MARK));
    assert_eq!(sends.len(), 1);
    assert!(!others.is_empty(), "the shard's thread was not traced");
    for other in &others {
        assert!(
            !other.contains("sendfile(") && !other.contains("sendmsg("),
            "another thread sends"
        );
    }
    let counted = count(&sends[0]);
    let told = said.lines().filter_map(|line| line.strip_prefix(MARK)?.strip_prefix(' '));
    let told: Vec<Vec<u64>> =
        told.map(|line| line.split(' ').map(|number| number.parse().unwrap()).collect()).collect();
    assert_eq!((counted.len(), told.len()), (CLASSES.len(), CLASSES.len()));
    for ((counted, told), arrived) in counted.iter().zip(&told).zip(&arrived) {
        let [sealed, memory, checksum] = told[..] else { panic!("{told:?}") };
        println!("{counted:?}, {sealed} sealed, {memory} in the ring");
        assert_eq!(u64::from(crc32c::crc32c(arrived)), checksum);
        assert!(sealed > memory * 4, "most of it is to be in segments");
        // The ring may have let go a group since: then the file has it.
        assert_eq!(counted.from_files + counted.from_memory, arrived.len() as u64);
        assert!(counted.from_files >= sealed && counted.from_memory <= memory);
        assert!(counted.read <= BATCHES as u64 * HEADERS_BYTES_MAX, "payloads were read");
    }
}

#[test]
fn a_trace_is_counted_between_its_marks() {
    let trace = format!(
        "pread64(5</d/0.log>, \"x\", 9, 0) = 9\n\
         write(1<pipe:[3]>, \"{MARK} 1 2\\n\", 21) = 21\n\
         pread64(5</d/0.log>, \"x\", 160, 0) = 160\n\
         sendfile(7<TCP:[1->2]>, 5</d/0.log>, [0] => [70], 70) = 70\n\
         sendfile(7<socket:[1]>, 5</d/0.log>, [0], 70) = -1 EAGAIN (try again)\n\
         sendmsg(7<socket:[1]>, {{msg_iov=[]}}, 0) = 11\n\
         write(7<socket:[1]>, \"y\", 1) = 1\n\
         write(1<pipe:[3]>, \"{MARK}\\n\", 21) = 21\n\
         sendmsg(7<socket:[1]>, {{msg_iov=[]}}, 0) = 11\n"
    );
    assert_eq!(count(&trace), [Counted { from_files: 70, from_memory: 12, read: 160 }]);
}
