//! Rows that were read and not yet told.

use rusqlite::types::ValueRef;

/// The cells of some rows, their bytes all in one place.
#[derive(Debug, Default)]
pub(super) struct Cells {
    all: Vec<Cell>,
    bytes: Vec<u8>,
    /// Cells of a row.
    pub(super) width: usize,
    /// Rows without cells, which is what `count(*)` asks for.
    pub(super) lone_rows: usize,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Cell {
    Null,
    Integer(i64),
    Real(f64),
    /// From there on, so many bytes.
    Text(usize, usize),
    Blob(usize, usize),
}

/// One of them.
#[derive(Clone, Copy)]
pub(super) struct RowOf<'c> {
    cells: &'c [Cell],
    bytes: &'c [u8],
}

impl<'c> RowOf<'c> {
    pub(super) fn cell(self, place: Option<usize>) -> ValueRef<'c> {
        let cell = place.and_then(|place| self.cells.get(place));
        let bytes = |begin: usize, size| self.bytes.get(begin..begin + size).unwrap_or_default();
        match cell.copied().unwrap_or(Cell::Null) {
            Cell::Null => ValueRef::Null,
            Cell::Integer(value) => ValueRef::Integer(value),
            Cell::Real(value) => ValueRef::Real(value),
            Cell::Text(begin, size) => ValueRef::Text(bytes(begin, size)),
            Cell::Blob(begin, size) => ValueRef::Blob(bytes(begin, size)),
        }
    }
}

impl Cells {
    pub(super) fn clear(&mut self) {
        self.all.clear();
        self.bytes.clear();
        self.lone_rows = 0;
    }

    pub(super) fn push(&mut self, value: ValueRef<'_>) {
        let cell = match value {
            ValueRef::Null => Cell::Null,
            ValueRef::Integer(value) => Cell::Integer(value),
            ValueRef::Real(value) => Cell::Real(value),
            ValueRef::Text(bytes) => Cell::Text(self.bytes.len(), bytes.len()),
            ValueRef::Blob(bytes) => Cell::Blob(self.bytes.len(), bytes.len()),
        };
        if let ValueRef::Text(bytes) | ValueRef::Blob(bytes) = value {
            self.bytes.extend_from_slice(bytes);
        }
        self.all.push(cell);
    }

    /// Bytes of their texts.
    pub(super) fn size(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn count(&self) -> usize {
        self.all
            .len()
            .checked_div(self.width)
            .unwrap_or(self.lone_rows)
    }

    pub(super) fn row(&self, n: usize) -> RowOf<'_> {
        let begin = n.saturating_mul(self.width);
        let cells = self.all.get(begin..).unwrap_or_default();
        RowOf {
            cells: cells.get(..self.width).unwrap_or_default(),
            bytes: &self.bytes,
        }
    }

    pub(super) fn all(&self) -> impl Iterator<Item = ValueRef<'_>> {
        let row = RowOf {
            cells: &self.all,
            bytes: &self.bytes,
        };
        (0..self.all.len()).map(move |place| row.cell(Some(place)))
    }

    pub(super) fn set(&mut self, row: usize, place: Option<usize>, cell: Cell) {
        let index = place.map(|place| row.saturating_mul(self.width) + place);
        if let Some(there) = index.and_then(|index| self.all.get_mut(index)) {
            *there = cell;
        }
    }

    pub(super) fn set_text(&mut self, row: usize, place: Option<usize>, text: &str) {
        let cell = Cell::Text(self.bytes.len(), text.len());
        self.bytes.extend_from_slice(text.as_bytes());
        self.set(row, place, cell);
    }

    /// Keeps the rows that `keep_fn` wants.
    pub(super) fn retain(&mut self, mut keep_fn: impl FnMut(RowOf<'_>) -> bool) {
        let mut kept = 0;
        for n in 0..self.count() {
            if !keep_fn(self.row(n)) {
                continue;
            }
            if kept < n {
                let from = n * self.width;
                self.all
                    .copy_within(from..from + self.width, kept * self.width);
            }
            kept += 1;
        }
        self.all.truncate(kept * self.width);
    }
}

pub(super) fn text(value: ValueRef<'_>) -> Option<&str> {
    value.as_str().ok()
}

pub(super) fn number(value: ValueRef<'_>) -> Option<i64> {
    value.as_i64().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_that_are_not_wanted_leave_the_others_as_they_are() {
        let mut cells = Cells {
            width: 2,
            ..Cells::default()
        };
        for n in 0..5 {
            cells.push(ValueRef::Integer(n));
            cells.push(ValueRef::Text(n.to_string().as_bytes()));
        }
        cells.retain(|row| number(row.cell(Some(0))).is_some_and(|n| n % 2 == 0));
        cells.set_text(1, Some(1), "two");
        let texts: Vec<_> = (0..cells.count())
            .map(|n| text(cells.row(n).cell(Some(1))).unwrap().to_owned())
            .collect();
        assert_eq!(texts, ["0", "two", "4"]);
        assert!(matches!(cells.row(9).cell(Some(0)), ValueRef::Null));
    }
}
