//! A ring that was found: its control page, and what its tail proves.

use std::sync::atomic::Ordering;

use ringlog::raw::RingMap;
use ringlog::raw::parsers::limits::{GROUP_ALIGN, GROUP_HEADER_BYTES, RING_BYTES_MIN};
use ringlog::raw::parsers::ring_control::{Identity, identify, initialise};
use ringlog::raw::parsers::ring_groups;

use super::headers::{EPOCH, LOG, check_frames, repair_frame, repair_group, seed};
use super::{at, repair};

/// Words of the control page that the input gives.
const WORDS: usize = 34;
/// Positions of the input's tail begin here, after a lap.
const FROM: u64 = 3 * RING_BYTES_MIN as u64 + 4096;

/// A ring's control page, its first 272 bytes; the tail from `FROM` on follows.
pub fn ring(data: &[u8]) {
    let ring = RingMap::private(RING_BYTES_MIN).expect("memory for a ring");
    let log = uuid::Uuid::from_u128(LOG);
    let control = data.get(..WORDS * 8).unwrap_or(data);
    let mut page = control.to_vec();
    put(&ring, &page);
    verdict(&ring, log, &page);
    page.resize(WORDS * 8, 0);
    let whole = page.clone();
    repair(&mut page, 40, 0, 40);
    page[44..48].fill(0);
    put(&ring, &page);
    verdict(&ring, log, &page);
    initialise(&ring, log);
    assert_eq!(
        ring.control(6).swap(0, Ordering::Relaxed) == 0,
        at::<8>(&whole, 48) == Some([0; 8])
    );
    assert_eq!(identify(&ring, log), Identity::Ours, "whatever stood there");
    if let Some(tail) = data.get(WORDS * 8..) {
        replay(&ring, tail);
    }
}

fn put(ring: &RingMap, page: &[u8]) {
    for (index, word) in page.chunks(8).enumerate() {
        let mut bytes = [0; 8];
        bytes[..word.len()].copy_from_slice(word);
        ring.control(index).store(u64::from_le_bytes(bytes), Ordering::Relaxed);
    }
}

fn verdict(ring: &RingMap, log: uuid::Uuid, page: &[u8]) {
    let found = identify(ring, log);
    assert_eq!(found, identify(ring, log));
    if found == Identity::Ours {
        let expected = RingMap::private(RING_BYTES_MIN).expect("memory for a ring");
        initialise(&expected, log);
        for index in 0..6 {
            let (a, b) = (ring.control(index), expected.control(index));
            assert_eq!(a.load(Ordering::Relaxed), b.load(Ordering::Relaxed), "word {index}");
        }
        assert!(page.len() > 40, "made of nothing");
        assert_eq!(identify(ring, uuid::Uuid::from_u128(1)), Identity::Foreign);
    }
}

/// What is taken from a ring proves itself again, one group after the other, and is no more than
/// the ring holds.
fn replay(ring: &RingMap, tail: &[u8]) {
    let mut tail = tail[..tail.len().min(RING_BYTES_MIN)].to_vec();
    // Every place where something may begin is made to begin well.
    for from in (0..tail.len()).step_by(8) {
        let rest = &mut tail[from..];
        let position = (FROM + from as u64).to_le_bytes();
        match rest {
            [b'R', b'L', b'G', b'0', ..] if rest.len() >= GROUP_HEADER_BYTES => {
                rest[8..16].copy_from_slice(&position);
                repair_group(seed(), rest);
            }
            [b'R', b'L', b'F', b'0', ..] if rest.len() >= 32 => {
                rest[8..16].copy_from_slice(&position);
                repair_frame(seed(), rest);
            }
            _ => {}
        }
    }
    ring.store(FROM, &tail);
    let segment_end = FROM + (1 << 20);
    let groups = ring_groups(ring, seed(), EPOCH, FROM, segment_end);
    let mut next = FROM;
    for (header, bytes) in &groups {
        assert_eq!((header.position.0, header.epoch), (next, EPOCH));
        assert!(header.used_len as usize > GROUP_HEADER_BYTES || header.used_len as usize == 64);
        assert_eq!(bytes.len() as u64, header.group_len());
        assert!(bytes.len().is_multiple_of(GROUP_ALIGN) && bytes.len() <= ring.len());
        assert!(bytes[header.used_len as usize..].iter().all(|byte| *byte == 0));
        assert_eq!(header.encode(seed())[..], bytes[..GROUP_HEADER_BYTES]);
        check_frames(header, bytes);
        next = if header.last { segment_end } else { next + header.group_len() };
    }
    let total: usize = groups.iter().map(|(_, bytes)| bytes.len()).sum();
    assert!(total <= ring.len() + GROUP_ALIGN, "{total} bytes out of a ring");
}
