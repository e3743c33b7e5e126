//! The codecs of a record batch, each framed as Kafka's producers write it and read as its
//! consumers do. Only the records are compressed, never the batch's header.
//!
//! | codec | framing |
//! |---|---|
//! | gzip | a gzip stream; several in a row are one |
//! | snappy | blocks of 32 KiB behind the header of `snappy-java`; a bare block is read, too |
//! | lz4 | the LZ4 frame format, blocks of 64 KiB that stand alone; linked ones are read, too |
//! | zstd | a zstd frame; several in a row are one |
//!
//! Hostile bytes cost no more than the limit: output is counted as it comes, and what a length
//! claims is reserved only as far as so many compressed bytes could make it true. The one exception
//! is zstd's window, which is reserved as claimed, up to `limits::DECOMPRESSED_BYTES_MAX`, and
//! touched only as far as it is used.

use std::io::{Read, Write};

use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use lz4_flex::frame::{BlockMode, BlockSize, FrameDecoder, FrameEncoder, FrameInfo};
use ruzstd::decoding::StreamingDecoder;
use ruzstd::encoding::CompressionLevel;

use super::record_batch::BatchError;
use crate::config::Compression;
use crate::limits::DECOMPRESSED_BYTES_MAX;

/// How `snappy-java` begins: its magic, its version, the oldest version that reads it.
const XERIAL_MAGIC: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
const XERIAL_VERSIONS: [u8; 8] = [0, 0, 0, 1, 0, 0, 0, 1];
const XERIAL_HEADER_BYTES: usize = XERIAL_MAGIC.len() + XERIAL_VERSIONS.len();
/// Its block size.
const XERIAL_BLOCK_BYTES: usize = 32 << 10;
/// A snappy element of three bytes makes at most 64: what claims more is no snappy.
const SNAPPY_RATIO_MAX: usize = 22;

/// Appends the compressed `plain` to `out`.
pub(super) fn compress(
    codec: Compression,
    plain: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), BatchError> {
    let failed = |_| BatchError::Codec { codec };
    match codec {
        Compression::None => out.extend_from_slice(plain),
        Compression::Gzip => {
            let mut encoder = GzEncoder::new(out, flate2::Compression::default());
            encoder.write_all(plain).and_then(|()| encoder.finish().map(drop)).map_err(failed)?;
        }
        Compression::Snappy => snappy(plain, out)?,
        Compression::Lz4 => {
            let info =
                FrameInfo::new().block_size(BlockSize::Max64KB).block_mode(BlockMode::Independent);
            let mut encoder = FrameEncoder::with_frame_info(info, out);
            encoder.write_all(plain).map_err(failed)?;
            encoder.finish().map_err(|_| BatchError::Codec { codec })?;
        }
        Compression::Zstd => ruzstd::encoding::compress(plain, out, CompressionLevel::Fastest),
    }
    Ok(())
}

fn snappy(plain: &[u8], out: &mut Vec<u8>) -> Result<(), BatchError> {
    let mut encoder = snap::raw::Encoder::new();
    out.extend_from_slice(&XERIAL_MAGIC);
    out.extend_from_slice(&XERIAL_VERSIONS);
    for block in plain.chunks(XERIAL_BLOCK_BYTES) {
        let at = out.len();
        let body = at + size_of::<u32>();
        out.resize(body + snap::raw::max_compress_len(block.len()), 0);
        let len = encoder
            .compress(block, &mut out[body..])
            .map_err(|_| BatchError::Codec { codec: Compression::Snappy })?;
        out[at..body].copy_from_slice(&(len as u32).to_be_bytes());
        out.truncate(body + len);
    }
    Ok(())
}

/// What `bytes` were before they were compressed, if that is not longer than `max`.
pub(crate) fn decompress(
    codec: Compression,
    bytes: &[u8],
    max: usize,
) -> Result<Vec<u8>, BatchError> {
    let mut out = Vec::new();
    match codec {
        Compression::None => {
            if bytes.len() > max {
                return Err(BatchError::Expands { max });
            }
            out.extend_from_slice(bytes);
        }
        Compression::Gzip => read(&mut MultiGzDecoder::new(bytes), codec, max, &mut out)?,
        Compression::Snappy => unsnappy(bytes, max, &mut out)?,
        Compression::Lz4 => {
            let mut decoder = FrameDecoder::new(bytes);
            // It ends with each frame, and goes on with the next.
            loop {
                let before = decoder.get_ref().len();
                read(&mut decoder, codec, max, &mut out)?;
                match decoder.get_ref().len() {
                    0 => break,
                    left if left == before => return Err(BatchError::Codec { codec }),
                    _ => {}
                }
            }
        }
        Compression::Zstd => {
            let mut rest = bytes;
            while !rest.is_empty() {
                let window = DECOMPRESSED_BYTES_MAX as u64;
                let decoder = StreamingDecoder::new_with_max_window_size(&mut rest, window);
                let mut decoder = decoder.map_err(|_| BatchError::Codec { codec })?;
                read(&mut decoder, codec, max, &mut out)?;
            }
        }
    }
    Ok(out)
}

/// Reads to the end, or until there is more than `max`.
fn read(
    from: &mut impl Read,
    codec: Compression,
    max: usize,
    out: &mut Vec<u8>,
) -> Result<(), BatchError> {
    let room = (max - out.len()) as u64;
    from.take(room + 1).read_to_end(out).map_err(|_| BatchError::Codec { codec })?;
    if out.len() > max { Err(BatchError::Expands { max }) } else { Ok(()) }
}

fn unsnappy(bytes: &[u8], max: usize, out: &mut Vec<u8>) -> Result<(), BatchError> {
    let bad = BatchError::Codec { codec: Compression::Snappy };
    if !bytes.starts_with(&XERIAL_MAGIC) {
        return unsnappy_block(bytes, max, out);
    }
    // The versions in the header have never meant anything else.
    let mut rest = bytes.get(XERIAL_HEADER_BYTES..).ok_or(bad)?;
    while !rest.is_empty() {
        let (len, after) = rest.split_first_chunk::<4>().ok_or(bad)?;
        rest = after;
        let block = rest.split_off(..u32::from_be_bytes(*len) as usize).ok_or(bad)?;
        unsnappy_block(block, max, out)?;
    }
    Ok(())
}

fn unsnappy_block(block: &[u8], max: usize, out: &mut Vec<u8>) -> Result<(), BatchError> {
    let bad = BatchError::Codec { codec: Compression::Snappy };
    let len = snap::raw::decompress_len(block).map_err(|_| bad)?;
    if len > max - out.len() {
        return Err(BatchError::Expands { max });
    }
    if len > block.len().saturating_mul(SNAPPY_RATIO_MAX) {
        return Err(bad);
    }
    let at = out.len();
    out.resize(at + len, 0);
    snap::raw::Decoder::new().decompress(block, &mut out[at..]).map_err(|_| bad)?;
    Ok(())
}

#[cfg(test)]
mod tests;
