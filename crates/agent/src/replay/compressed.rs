//! Logs that were compressed: gzip and Zstandard, told by their first bytes and not by their name.
//!
//! A file may be several compressed streams one after the other, as `cat a.gz b.gz` makes them.
//! What is decompressed is read piece by piece, so a small file that grows to terabytes takes time
//! and no memory; a Zstandard frame may ask for a window of [`WINDOW_SIZE_MAX`] and no more.

use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::BlockDecodingStrategy::UptoBytes;
use ruzstd::decoding::FrameDecoder;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};

/// The first bytes of a gzip stream (RFC 1952, section 2.3.1).
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// The first bytes of a Zstandard frame (RFC 8878, section 3.1.1).
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// The last three of the first four bytes of a frame to be skipped (RFC 8878, section 3.1.2); the
/// first is from 0x50 to 0x5f.
const ZSTD_SKIPPED: [u8; 3] = [0x2a, 0x4d, 0x18];

/// The most memory a Zstandard frame may ask for; `zstd --ultra -22` asks for as much.
pub const WINDOW_SIZE_MAX: u64 = 128 << 20;

/// As much as is decompressed at once.
const PIECE_SIZE: usize = 256 * 1024;

/// `input`, decompressed where it is compressed.
pub fn plain(mut input: Box<dyn BufRead + Send>) -> io::Result<Box<dyn BufRead + Send>> {
    let begin = begin(&mut input)?;
    let whole = io::Cursor::new(begin.clone()).chain(input);
    Ok(if begin.starts_with(&GZIP) {
        Box::new(BufReader::with_capacity(
            PIECE_SIZE,
            MultiGzDecoder::new(whole),
        ))
    } else if is_zstd(&begin) {
        Box::new(BufReader::with_capacity(PIECE_SIZE, Zstd::new(whole)))
    } else {
        Box::new(whole)
    })
}

/// The first four bytes, or as many as there are, taken from `input`: a pipe may give them one by
/// one.
fn begin(input: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut begin = Vec::new();
    input.take(ZSTD.len() as u64).read_to_end(&mut begin)?;
    Ok(begin)
}

fn is_zstd(begin: &[u8]) -> bool {
    begin == ZSTD || matches!(begin, [0x50..=0x5f, rest @ ..] if rest == ZSTD_SKIPPED)
}

/// The content of Zstandard frames one after the other.
struct Zstd<R> {
    input: R,
    decoder: FrameDecoder,
    /// Whether a frame has begun and not ended.
    is_inside: bool,
}

impl<R: BufRead> Zstd<R> {
    fn new(input: R) -> Self {
        let mut decoder = FrameDecoder::new();
        decoder.set_max_window_size(WINDOW_SIZE_MAX);
        Self {
            input,
            decoder,
            is_inside: false,
        }
    }

    /// Begins the next frame that holds anything; says `false` at the end of the input.
    fn next_frame(&mut self) -> io::Result<bool> {
        while !self.input.fill_buf()?.is_empty() {
            match self.decoder.init(&mut self.input) {
                Ok(()) => {
                    self.is_inside = true;
                    return Ok(true);
                }
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                    length,
                    ..
                })) => {
                    let mut skipped = (&mut self.input).take(length.into());
                    io::copy(&mut skipped, &mut io::sink())?;
                }
                Err(error) => return Err(invalid(error)),
            }
        }
        Ok(false)
    }

    /// The checksum is the frame's own word that it is whole.
    fn check(&self) -> io::Result<()> {
        let told = self.decoder.get_checksum_from_data();
        if told.is_some() && told != self.decoder.get_calculated_checksum() {
            return Err(invalid("the checksum of a zstd frame is wrong"));
        }
        Ok(())
    }
}

impl<R: BufRead> Read for Zstd<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if !self.is_inside && !self.next_frame()? {
                return Ok(0);
            }
            while self.decoder.can_collect() == 0 && !self.decoder.is_finished() {
                let piece = UptoBytes(PIECE_SIZE);
                self.decoder
                    .decode_blocks(&mut self.input, piece)
                    .map_err(invalid)?;
            }
            let size = self.decoder.read(buffer)?;
            if size > 0 || buffer.is_empty() {
                return Ok(size);
            }
            self.check()?;
            self.is_inside = false;
        }
    }
}

fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
