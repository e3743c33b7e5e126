//! The fuzz target of what C hands in: structs that say their own size, and records. Compiled for
//! tests, and by `tests/fuzz`. Memory is exactly as long as is said, so that a sanitizer, and
//! valgrind, see a byte read too many.

use ringlog::Record;

use crate::input::{self, ringlog_bytes, ringlog_header, ringlog_record};
use crate::options::{ringlog_open_options, ringlog_topic_options};
use crate::sized::{self, Plain};

/// No struct is longer; see `sized`.
const SIZE_MAX: usize = 64 << 10;
const RECORDS_MAX: usize = 6;

/// Takes any bytes: which struct, the size it says it has, and what is in it.
pub(crate) fn c_options(data: &[u8]) {
    let Some((which, rest)) = data.split_first() else { return };
    match which % 3 {
        0 => options(rest, |options: &ringlog_open_options| {
            // Read as bytes, it may be anything; C gives a function or none.
            let options = ringlog_open_options { log: None, ..*options };
            drop(options.options());
        }),
        1 => options(rest, |options: &ringlog_topic_options| {
            drop(options.spec("topic"));
        }),
        _ => records(rest),
    }
}

/// Memory that begins on a boundary of eight bytes and is exactly `len` bytes long.
fn memory(len: usize, bytes: &[u8]) -> Vec<u64> {
    assert!(len.is_multiple_of(8));
    let mut words = vec![0_u64; len / 8];
    for (word, chunk) in words.iter_mut().zip(bytes.chunks(8)) {
        let mut whole = [0; 8];
        whole[..chunk.len()].copy_from_slice(chunk);
        *word = u64::from_le_bytes(whole);
    }
    words
}

/// The bytes of a struct.
fn bytes_of<T: Plain>(value: &T) -> &[u8] {
    // SAFETY: a `Plain` has no padding, so each of its bytes has a value.
    unsafe { std::slice::from_raw_parts((&raw const *value).cast(), size_of::<T>()) }
}

fn options<T: Plain>(bytes: &[u8], with: impl Fn(&T)) {
    let said = memory(8, bytes)[0];
    let size = usize::try_from(said).unwrap_or(usize::MAX);
    // Whatever is no size must be refused by it alone.
    let is_one = (8..=SIZE_MAX).contains(&size) && size.is_multiple_of(8);
    let words = memory(if is_one { size } else { 8 }, bytes);
    // SAFETY: aligned, and readable for as many bytes as the first field says, or that is no size.
    let read = unsafe { sized::read_options(words.as_ptr().cast::<T>()) };
    let Ok(value) = read else { return };
    assert!(is_one && size >= T::FIRST_SIZE, "a struct of {size} bytes");
    let ours = size_of::<T>().min(size);
    let given: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    assert_eq!(bytes_of(&value)[..ours], given[..ours], "what was given");
    assert!(bytes_of(&value)[ours..].iter().all(|byte| *byte == 0), "what was not given");
    assert!(given[ours..].iter().all(|byte| *byte == 0), "asked for more than there is");
    with(&value);
    longer_says_the_same::<T>(&words, ours);
}

/// A newer header's struct whose new fields are zero.
fn longer_says_the_same<T: Plain>(words: &[u64], ours: usize) {
    let mut longer = words.to_vec();
    longer.resize(longer.len().max(size_of::<T>() / 8) + 3, 0);
    if longer.len() * 8 > SIZE_MAX {
        return;
    }
    longer[0] = longer.len() as u64 * 8;
    // SAFETY: as long as it says.
    let read = unsafe { sized::read_options(longer.as_ptr().cast::<T>()) };
    let value = read.unwrap_or_else(|_| panic!("{}: refused only for its length", T::NAME));
    assert_eq!(bytes_of(&value)[8..ours], {
        let given: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        given[8..ours].to_vec()
    });
}

/// Numbers of an input, one byte each, zero when it has ended.
struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn byte(&mut self) -> usize {
        let first = self.0.split_off_first();
        first.map_or(0, |byte| usize::from(*byte))
    }
}

/// Records of every shape, from an array whose elements are of another length than ours.
fn records(data: &[u8]) {
    let mut input = Input(data);
    let payload: Vec<u8> = data.to_vec();
    let element = [56, 64, 72, 48, 57, 0][input.byte() % 6];
    let count = input.byte() % (RECORDS_MAX + 1);
    let headers: Vec<ringlog_header> = (0..4)
        .map(|_| ringlog_header {
            key: bytes(&mut input, &payload),
            value: bytes(&mut input, &payload),
        })
        .collect();
    let mut words = vec![0_u64; element * count / 8];
    for index in 0..count {
        let n_headers = input.byte() % 5;
        let record = ringlog_record {
            key: bytes(&mut input, &payload),
            value: bytes(&mut input, &payload),
            headers: if input.byte() % 7 == 0 { std::ptr::null() } else { headers.as_ptr() },
            n_headers: if input.byte() == 255 { usize::MAX } else { n_headers.min(4) },
            timestamp_ms: [0, 1, i64::MIN, i64::MAX, -1][input.byte() % 5],
        };
        // Sizes that are refused before the first record is looked at.
        if record.n_headers == usize::MAX || !element.is_multiple_of(8) {
            continue;
        }
        let from = index * element / 8;
        for (word, at) in bytes_of(&record).chunks(8).zip(from..from + element / 8) {
            let mut whole = [0; 8];
            whole.copy_from_slice(word);
            words[at] = u64::from_le_bytes(whole);
        }
        if let Some(beyond) = words.get_mut(from + 7).filter(|_| element > 56) {
            *beyond = u64::from(input.byte() == 1);
        }
    }
    let is_longer = element > 56 && element.is_multiple_of(8);
    let beyond = (0..count).any(|at| is_longer && words[at * element / 8 + 7] != 0);
    let with = |records: &[Record<'_>]| Ok(records.len());
    // SAFETY: so many elements of that length, whose pointers lead to `headers` and `payload`.
    let taken = unsafe { input::with_records(words.as_ptr().cast(), count, element, with) };
    match taken {
        Ok(taken) => {
            assert_eq!(taken, count);
            assert!(element >= 56 && element.is_multiple_of(8) && count > 0 && !beyond);
        }
        Err(failure) => assert!(!failure.message.is_empty()),
    }
}

/// A slice of the payload, nothing, or a lie that must be seen before it is followed.
fn bytes(input: &mut Input<'_>, payload: &[u8]) -> ringlog_bytes {
    let (from, len) = (input.byte(), input.byte());
    match input.byte() % 4 {
        0 => ringlog_bytes::ABSENT,
        1 => ringlog_bytes { len, ..ringlog_bytes::ABSENT },
        2 => ringlog_bytes { len: usize::MAX - len, ..ringlog_bytes::of(Some(payload)) },
        _ => {
            let from = from.min(payload.len());
            ringlog_bytes::of(Some(&payload[from..(from + len).min(payload.len())]))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sizes of every kind, with and without something in what they cover.
    fn seeds() -> Vec<Vec<u8>> {
        let mut seeds = Vec::new();
        for which in 0..3_u8 {
            for size in [0, 8, 15, 16, 24, 88, 120, 128, 65_536, 65_544, u64::MAX] {
                for fill in [0, 1] {
                    let mut seed = vec![which];
                    seed.extend(size.to_le_bytes());
                    seed.extend([fill; 140]);
                    seeds.push(seed);
                }
            }
        }
        seeds
    }

    #[test]
    fn what_fuzzing_found_stays_found() {
        let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fuzz/corpus/c_options");
        if std::env::var_os("RINGLOG_BLESS").is_some() {
            std::fs::create_dir_all(dir).unwrap();
            for (n, seed) in seeds().iter().enumerate() {
                std::fs::write(format!("{dir}/seed-{n:02}"), seed).unwrap();
            }
        }
        let mut count = 0;
        for entry in std::fs::read_dir(dir).unwrap() {
            let data = std::fs::read(entry.unwrap().path()).unwrap();
            c_options(&data);
            for at in 0..data.len() {
                let mut damaged = data.clone();
                damaged[at] ^= 1 << (at % 8);
                c_options(&damaged);
                c_options(&data[..at]);
            }
            count += 1;
        }
        assert!(count >= seeds().len(), "{count} inputs");
    }
}
