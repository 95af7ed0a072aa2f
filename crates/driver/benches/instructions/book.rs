//! The design of the book: an allocation an event, a linked list under a fast mutex, and a read that
//! takes the items one by one. The baseline that the driver has to beat.
//!
//! What the kernel does for this design is its cost and counts, at the lowest price: the pool is the
//! C library's `malloc`, and the mutex is one that nobody else wants.

#![expect(clippy::linkedlist, reason = "it is the design that is measured")]

use std::collections::LinkedList;
use std::hint::black_box;
use std::sync::{Mutex, PoisonError};

/// The most items that wait; then the oldest goes.
const ITEMS_MAX: usize = 1024;

/// An item with a text of `N` bytes, in one allocation with its links.
struct Item<const N: usize> {
    time: i64,
    kind: u16,
    size: u16,
    process_id: u32,
    thread_id: u32,
    parent_process_id: u32,
    text: [u8; N],
}

/// The driver's globals.
#[derive(Default)]
struct Book<const N: usize> {
    items: Mutex<LinkedList<Item<N>>>,
}

/// Plays rounds of events with a text of `N` bytes, each round read at its end.
pub(crate) fn record<const N: usize>(rounds: u32, events: u32) {
    let book = Book {
        items: Mutex::new(LinkedList::new()),
    };
    let text = [0x61; N];
    let mut buffer = vec![0; 256 * 1024];
    for round in 0..rounds {
        for number in 0..events {
            notify(black_box(&book), black_box(round * events + number), &text);
        }
        let size = read(black_box(&book), black_box(&mut buffer));
        assert_eq!(
            size,
            usize::try_from(events).unwrap() * size_of::<Item<N>>()
        );
    }
}

/// The notify routine.
#[inline(never)]
fn notify<const N: usize>(book: &Book<N>, number: u32, text: &[u8; N]) {
    push(
        book,
        Item {
            time: i64::from(number),
            kind: 1,
            size: u16::try_from(size_of::<Item<N>>()).unwrap(),
            process_id: number,
            thread_id: number,
            parent_process_id: 4,
            text: *text,
        },
    );
}

fn push<const N: usize>(book: &Book<N>, item: Item<N>) {
    let mut items = book.items.lock().unwrap_or_else(PoisonError::into_inner);
    if items.len() >= ITEMS_MAX {
        items.pop_front();
    }
    items.push_back(item);
}

/// The read routine.
#[inline(never)]
fn read<const N: usize>(book: &Book<N>, buffer: &mut [u8]) -> usize {
    let mut size = 0;
    loop {
        let mut items = book.items.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(item) = items.pop_front() else {
            return size;
        };
        let Some(place) = buffer[size..].get_mut(..size_of::<Item<N>>()) else {
            items.push_front(item);
            return size;
        };
        drop(items);
        size += place.len();
        copy(&item, place);
    }
}

/// The item as a reader gets it.
fn copy<const N: usize>(item: &Item<N>, place: &mut [u8]) {
    place[..8].copy_from_slice(&item.time.to_le_bytes());
    place[8..10].copy_from_slice(&item.kind.to_le_bytes());
    place[10..12].copy_from_slice(&item.size.to_le_bytes());
    place[12..16].copy_from_slice(&item.process_id.to_le_bytes());
    place[16..20].copy_from_slice(&item.thread_id.to_le_bytes());
    place[20..24].copy_from_slice(&item.parent_process_id.to_le_bytes());
    place[24..][..N].copy_from_slice(&item.text);
}
