use proptest::prelude::*;

use super::*;
use crate::format::record_batch::{Form, Record, check, encode_as};
use crate::limits::DECOMPRESSED_BYTES_MAX;

const CODECS: [Compression; 4] =
    [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];

fn compressed(codec: Compression, plain: &[u8]) -> Vec<u8> {
    let mut out = vec![7];
    compress(codec, plain, &mut out).unwrap();
    assert_eq!(out.remove(0), 7, "appended");
    out
}

fn text(len: usize) -> Vec<u8> {
    (0..len).map(|at| b"a queue of words, words, words "[at % 31] ^ (at >> 12) as u8).collect()
}

#[test]
fn what_goes_in_comes_out_and_is_smaller() {
    for codec in CODECS {
        for len in [0, 1, 100, XERIAL_BLOCK_BYTES, XERIAL_BLOCK_BYTES + 1, 1_000_000] {
            let plain = text(len);
            let out = compressed(codec, &plain);
            assert!(len < 1000 || out.len() < len / 2, "{codec}: {len} to {}", out.len());
            assert!(decompress(codec, &out, len).unwrap() == plain, "{codec}, {len}");
        }
    }
}

#[test]
fn the_framing_is_kafkas() {
    let plain = text(100_000);
    let starts = |codec, start: &[u8]| assert!(compressed(codec, &plain).starts_with(start));
    starts(Compression::Gzip, &[0x1f, 0x8b, 8]);
    starts(Compression::Snappy, b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01");
    // Version 1, blocks that stand alone, 64 KiB: all that Kafka's own reader takes.
    starts(Compression::Lz4, &[0x04, 0x22, 0x4d, 0x18, 0b0110_0000, 4 << 4]);
    starts(Compression::Zstd, &[0x28, 0xb5, 0x2f, 0xfd]);
}

#[test]
fn several_streams_in_a_row_are_one_and_a_bare_snappy_block_is_read() {
    let (one, two) = (text(5000), text(70_000));
    for codec in [Compression::Gzip, Compression::Lz4, Compression::Zstd] {
        let both = [compressed(codec, &one), compressed(codec, &two)].concat();
        assert!(decompress(codec, &both, 75_000).unwrap() == [&one[..], &two].concat(), "{codec}");
    }
    let bare = snap::raw::Encoder::new().compress_vec(&two).unwrap();
    assert!(decompress(Compression::Snappy, &bare, 70_000).unwrap() == two);
}

#[test]
fn a_bomb_costs_no_more_than_the_limit() {
    let zeros = vec![0; 8 << 20];
    for codec in CODECS {
        let bomb = compressed(codec, &zeros);
        let max = 1 << 20;
        assert_eq!(decompress(codec, &bomb, max), Err(BatchError::Expands { max }), "{codec}");
        assert_eq!(decompress(codec, &bomb, zeros.len()).unwrap().len(), zeros.len(), "{codec}");
    }
    // Lengths that nothing stands behind.
    let claims = [0xff, 0xff, 0xff, 0x0f];
    let max = DECOMPRESSED_BYTES_MAX;
    let snappy = |bytes: &[u8]| decompress(Compression::Snappy, bytes, max);
    assert_eq!(snappy(&claims), Err(BatchError::Codec { codec: Compression::Snappy }));
    let mut out = Vec::new();
    assert!(unsnappy_block(&claims, max, &mut out).is_err());
    assert_eq!(out.capacity(), 0, "nothing is reserved for a claim");
    let beyond = [0xff, 0xff, 0xff, 0xff, 0x0f];
    assert_eq!(snappy(&beyond), Err(BatchError::Expands { max }));
    let block = [&XERIAL_MAGIC[..], &XERIAL_VERSIONS, &[0x7f, 0xff, 0xff, 0xff, 0]].concat();
    assert!(snappy(&block).is_err());
    // A zstd frame of one segment of 4 GiB.
    let zstd = [0x28, 0xb5, 0x2f, 0xfd, 0b1010_0000, 0xff, 0xff, 0xff, 0xff, 1, 0, 0];
    assert!(decompress(Compression::Zstd, &zstd, max).is_err());
}

#[test]
fn a_truncation_invents_nothing() {
    let plain = text(3000);
    for codec in CODECS {
        let whole = compressed(codec, &plain);
        for len in 1..whole.len() {
            let cut = decompress(codec, &whole[..len], 1 << 20);
            // Snappy's blocks stand alone, and lz4's need not be told that they end: without the
            // last there is less, and no error. The batch's record count tells.
            assert!(cut.is_err() || plain.starts_with(&cut.unwrap()), "{codec}, {len}");
        }
    }
}

#[test]
fn compressed_batches_pass_the_check_and_damage_does_not() {
    let value = text(2000);
    let records = [Record::new(&value).key(b"k"), Record::new(b"").timestamp_ms(9)];
    for compression in CODECS {
        let mut batch = Vec::new();
        let form = Form { compression, ..Form::default() };
        assert_eq!(encode_as(&records, form, 5, &mut batch), Ok(9));
        assert!(batch.len() < 1000, "{compression}");
        let header = check(&batch).unwrap();
        assert_eq!(header.compression(), Ok(compression));
        let plain = header.plain(&batch).unwrap();
        let read: Vec<_> = header.records(&plain).map(Result::unwrap).collect();
        assert_eq!((read[0].value(), read[1].timestamp_ms()), (Some(&value[..]), 9));
        for bit in 21 * 8..batch.len() * 8 {
            let mut flipped = batch.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(check(&flipped).is_err(), "{compression}, bit {bit}");
        }
    }
}

proptest! {
    #[test]
    fn hostile_bytes_never_panic_nor_exceed_the_limit(
        bytes in prop::collection::vec(any::<u8>(), 0..400),
        max in 0_usize..5000,
    ) {
        for codec in CODECS {
            if let Ok(plain) = decompress(codec, &bytes, max) {
                prop_assert!(plain.len() <= max);
            }
        }
    }

    #[test]
    fn damaged_streams_never_panic_nor_exceed_the_limit(
        words in prop::collection::vec(
            prop::sample::select(vec!["ab", "queue", "\0\0\0", "x"]), 0..2000),
        noise in prop::collection::vec(any::<u8>(), 0..300),
        flips in prop::collection::vec((any::<prop::sample::Index>(), 1..=255_u8), 1..8),
        cut in any::<prop::sample::Index>(),
    ) {
        let plain = [words.concat().into_bytes(), noise].concat();
        for codec in CODECS {
            let mut bytes = compressed(codec, &plain);
            for (at, bits) in &flips {
                let at = at.index(bytes.len());
                bytes[at] ^= bits;
            }
            for bytes in [&bytes[..], &bytes[..cut.index(bytes.len())]] {
                if let Ok(out) = decompress(codec, bytes, 20_000) {
                    prop_assert!(out.len() <= 20_000);
                }
            }
        }
    }
}
