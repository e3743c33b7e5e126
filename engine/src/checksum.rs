//! CRC-32C, the checksum of Kafka's record batches and of our own headers.

use crc_fast::{CrcAlgorithm, Digest};

/// Of these bytes.
#[inline]
pub(crate) fn crc32c(bytes: &[u8]) -> u32 {
    crc_fast::crc32_iscsi(bytes)
}

/// Of the bytes that `before` is of, followed by these.
#[inline]
pub(crate) fn crc32c_append(before: u32, bytes: &[u8]) -> u32 {
    let state = u64::from(!before);
    let mut digest = Digest::new_with_init_state(CrcAlgorithm::Crc32Iscsi, state);
    digest.update(bytes);
    digest.finalize() as u32
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn it_is_what_everybody_calls_crc32c() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(crc32c(b""), 0);
    }

    /// The kernel goes other ways by length and alignment.
    #[test]
    fn every_length_is_as_another_implementation_has_it() {
        let bytes: Vec<u8> =
            (0..5000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        for len in 0..4200 {
            let part = &bytes[len % 64..][..len];
            assert_eq!(crc32c(part), ::crc32c::crc32c(part), "{len} bytes");
            let (head, tail) = part.split_at(len / 3);
            assert_eq!(crc32c_append(crc32c(head), tail), crc32c(part), "{len} bytes in two");
        }
    }

    proptest! {
        #[test]
        fn in_parts_or_at_once_it_is_the_same(
            bytes in prop::collection::vec(any::<u8>(), 0..70_000),
            at in any::<prop::sample::Index>(),
        ) {
            let (head, tail) = bytes.split_at(at.index(bytes.len() + 1));
            let whole = ::crc32c::crc32c(&bytes);
            prop_assert_eq!(crc32c(&bytes), whole);
            prop_assert_eq!(crc32c_append(crc32c(head), tail), whole);
        }
    }
}
