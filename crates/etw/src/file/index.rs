//! Where the buffers of a trace file begin, processor by processor and in the order of their times.

use std::collections::HashMap;
use std::io::{Read, Seek, SeekFrom};

use super::chain::{self, Chain};
use super::{Damage, Error};
use crate::buffer::{HEADER_SIZE, Header, SIZE_MAX};
use crate::{header, lzxpress};

/// How many buffers are known at once: 16 GiB of the usual ones. What comes after them in the file is
/// taken up when their events are through.
const BUFFERS_MAX: usize = 256 * 1024;
/// Chains there may be before the memory they take is looked at.
const CHAINS_MAX: usize = 1024;
/// Bytes of events that all chains together have in memory.
const HELD_SIZE_MAX: usize = 24 << 20;
/// Bytes of a buffer that are read to see when it begins.
const PEEK_SIZE: usize = HEADER_SIZE + 128;
/// The least distance of buffers by which a way is sought past one whose header is damaged.
const STEP_MIN: u32 = 1024;

/// A buffer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    chain: u32,
    /// Of its first event.
    stamp: i64,
    /// Where it begins in the file.
    pub(super) position: u64,
}

/// The buffers of a part of the file, by chain and stamp.
#[derive(Debug, Default)]
pub(super) struct Index {
    entries: Vec<Entry>,
    /// Where the next part begins.
    position: u64,
    /// Which chain a session and processor have.
    known: HashMap<(u16, u16), u32>,
    /// Bytes of the largest buffer a chain has to hold.
    held_size: usize,
    has_compressed: bool,
}

impl Index {
    /// The buffer at `place`.
    pub(super) fn entry(&self, place: usize) -> Option<&Entry> {
        self.entries.get(place)
    }

    /// The chains, none of which has begun.
    pub(super) fn chains(&self) -> Vec<Chain> {
        let chains = self.entries.chunk_by(|a, b| a.chain == b.chain);
        let mut begin = 0;
        let ranges = chains.map(|entries| {
            let range = begin..begin + entries.len();
            begin = range.end;
            range
        });
        ranges.map(Chain::new).collect()
    }

    /// Takes up the next part of the file. Tells whether there is one.
    pub(super) fn read_part(
        &mut self,
        input: &mut (impl Read + Seek),
        size: u64,
        buffer_size: u32,
        damage: &mut Damage,
    ) -> Result<bool, Error> {
        self.entries.clear();
        let mut peeked = Vec::with_capacity(PEEK_SIZE);
        let mut stamp = i64::MIN;
        while self.entries.len() < BUFFERS_MAX && self.position < size {
            input.seek(SeekFrom::Start(self.position))?;
            peeked.clear();
            let peek = u64::try_from(PEEK_SIZE).unwrap_or(u64::MAX);
            input.by_ref().take(peek).read_to_end(&mut peeked)?;
            let header = Header::read(&peeked).ok().filter(Header::has_size);
            let Some(header) = header else {
                self.pass_over(&peeked, size, buffer_size, damage);
                continue;
            };
            if let Some(first) = first_stamp(&header, &peeked) {
                stamp = first;
            }
            self.has_compressed |= header.is_compressed();
            let held_size = if header.is_compressed() {
                header.unpacked_size()
            } else {
                header.unpacked_size().min(chain::WINDOW_SIZE)
            };
            self.held_size = self.held_size.max(held_size);
            let chain = self.chain_of(&header, damage);
            self.entries.push(Entry {
                chain,
                stamp,
                position: self.position,
            });
            self.position += u64::from(header.size);
        }
        self.fold(damage);
        // Stable, so that what has no stamp of its own stays behind what it stood behind.
        self.entries.sort_by_key(|entry| (entry.chain, entry.stamp));
        Ok(!self.entries.is_empty())
    }

    fn chain_of(&mut self, header: &Header, damage: &mut Damage) -> u32 {
        let key = (header.logger_id, header.processor);
        let next = self.known.len();
        if next < CHAINS_MAX {
            let next = u32::try_from(next).unwrap_or(0);
            return *self.known.entry(key).or_insert(next);
        }
        self.known.get(&key).copied().unwrap_or_else(|| {
            damage.is_folded = true;
            0
        })
    }

    /// Takes as many chains for one as it needs for all of them to have their buffers in memory.
    fn fold(&mut self, damage: &mut Damage) {
        let count_max = (HELD_SIZE_MAX / self.held_size.max(1)).max(1);
        if self.known.len() > count_max {
            damage.is_folded = true;
            let count_max = u32::try_from(count_max).unwrap_or(u32::MAX);
            for entry in &mut self.entries {
                entry.chain %= count_max;
            }
        }
    }

    /// Goes on behind what is no buffer: where the next one would stand if all have the size that the
    /// file tells. Packed buffers have sizes of their own; behind a damaged one nothing is found.
    fn pass_over(&mut self, peeked: &[u8], size: u64, buffer_size: u32, damage: &mut Damage) {
        let left = size.saturating_sub(self.position);
        let is_tail = peeked.len() < HEADER_SIZE;
        let is_step = (STEP_MIN..=SIZE_MAX).contains(&buffer_size);
        if is_tail || self.has_compressed || !is_step {
            damage.unread_size += left;
            self.position = size;
            return;
        }
        let is_empty = peeked.iter().all(|byte| *byte == 0);
        if is_empty {
            damage.empty_buffers += 1;
        } else {
            damage.damaged_buffers += 1;
        }
        let step = u64::from(buffer_size);
        self.position = (self.position / step + 1).saturating_mul(step);
    }
}

/// The stamp of a buffer's first event.
fn first_stamp(header: &Header, peeked: &[u8]) -> Option<i64> {
    let events = peeked.get(HEADER_SIZE..)?;
    if !header.is_compressed() {
        return header::stamp(events);
    }
    let mut unpacked = Vec::with_capacity(32);
    // What is packed beyond these bytes is cut off, and so is what it refers to; both are of no matter.
    let _damaged = lzxpress::unpack(events, 32, &mut unpacked);
    header::stamp(&unpacked)
}
