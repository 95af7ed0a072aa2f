//! Rows in memory: those that were read and are not told yet, those that are not written yet.

use rusqlite::types::ValueRef;

/// The cells of some rows, their bytes all in one place.
#[derive(Debug, Default)]
pub(in crate::store) struct Cells {
    all: Vec<Cell>,
    bytes: Vec<u8>,
    /// Cells of a row.
    pub(in crate::store) width: usize,
    /// Rows without cells, which is what `count(*)` asks for.
    pub(in crate::store) lone_rows: usize,
}

#[derive(Clone, Copy, Debug)]
pub(in crate::store) enum Cell {
    Null,
    Integer(i64),
    Real(f64),
    /// From there on, so many bytes.
    Text(usize, usize),
    Blob(usize, usize),
}

/// One of them.
#[derive(Clone, Copy)]
pub(in crate::store) struct RowOf<'c> {
    cells: &'c [Cell],
    bytes: &'c [u8],
}

impl<'c> RowOf<'c> {
    pub(in crate::store) fn cell(self, place: Option<usize>) -> ValueRef<'c> {
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
    /// No rows yet, of so many cells each.
    pub(in crate::store) fn of_width(width: usize) -> Self {
        Self {
            width,
            ..Self::default()
        }
    }

    pub(in crate::store) fn clear(&mut self) {
        self.all.clear();
        self.bytes.clear();
        self.lone_rows = 0;
    }

    pub(in crate::store) fn push(&mut self, value: ValueRef<'_>) {
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
    pub(in crate::store) fn size(&self) -> usize {
        self.bytes.len()
    }

    pub(in crate::store) fn count(&self) -> usize {
        self.all
            .len()
            .checked_div(self.width)
            .unwrap_or(self.lone_rows)
    }

    /// Appends a number.
    #[inline]
    pub(in crate::store) fn push_number(&mut self, value: Option<i64>) {
        self.all.push(value.map_or(Cell::Null, Cell::Integer));
    }

    /// Appends numbers.
    #[inline]
    pub(in crate::store) fn push_numbers(&mut self, values: &[Option<i64>]) {
        let cells = values.iter().copied();
        self.all
            .extend(cells.map(|value| value.map_or(Cell::Null, Cell::Integer)));
    }

    /// The cell at that place of all, row by row.
    #[inline]
    pub(in crate::store) fn at(&self, index: usize) -> ValueRef<'_> {
        let all = RowOf {
            cells: &self.all,
            bytes: &self.bytes,
        };
        all.cell(Some(index))
    }

    /// Cells of all rows.
    pub(in crate::store) fn cell_count(&self) -> usize {
        self.all.len()
    }

    /// A bit for each column that has something in the last row; the last bit stands for all from there
    /// on.
    pub(in crate::store) fn used_by_last(&self) -> u64 {
        let begin = self.all.len().saturating_sub(self.width);
        let last = self.all.get(begin..).unwrap_or_default();
        let bits = last.iter().zip(0_u32..).map(|(cell, column)| {
            let is_there = !matches!(cell, Cell::Null);
            u64::from(is_there) << column.min(63)
        });
        bits.fold(0, std::ops::BitOr::bitor)
    }

    /// Those of some columns, a bit each, in which every row has the same number, or nothing.
    pub(in crate::store) fn same_in_all(&self, columns: u64) -> u64 {
        let mut rows = self.all.chunks(self.width.max(1));
        let first = rows.next().unwrap_or_default();
        let mut same = columns;
        for row in rows {
            let mut left = same;
            while left != 0 {
                let column = left.trailing_zeros();
                let index = usize::try_from(column).unwrap_or(usize::MAX);
                let is_same = match (first.get(index), row.get(index)) {
                    (Some(Cell::Null), Some(Cell::Null)) => true,
                    (Some(Cell::Integer(first)), Some(Cell::Integer(here))) => first == here,
                    _ => false,
                };
                if !is_same {
                    same &= !(1 << column);
                }
                left &= left - 1;
            }
        }
        same
    }

    /// Makes room for so many rows before the first.
    pub(in crate::store) fn expect(&mut self, row_count: usize) {
        if self.all.capacity() == 0 {
            self.all.reserve(row_count.saturating_mul(self.width));
        }
    }

    /// Adds one to a number; says whether there is one.
    pub(in crate::store) fn count_up(&mut self, row: usize, place: usize) -> bool {
        let index = row.saturating_mul(self.width).saturating_add(place);
        match self.all.get_mut(index) {
            Some(Cell::Integer(number)) => {
                *number = number.saturating_add(1);
                true
            }
            _ => false,
        }
    }

    /// Gives back memory that a few long texts took.
    pub(in crate::store) fn shrink(&mut self, size: usize) {
        self.bytes.shrink_to(size);
    }

    pub(in crate::store) fn row(&self, n: usize) -> RowOf<'_> {
        let begin = n.saturating_mul(self.width);
        let cells = self.all.get(begin..).unwrap_or_default();
        RowOf {
            cells: cells.get(..self.width).unwrap_or_default(),
            bytes: &self.bytes,
        }
    }

    pub(in crate::store) fn all(&self) -> impl Iterator<Item = ValueRef<'_>> {
        let row = RowOf {
            cells: &self.all,
            bytes: &self.bytes,
        };
        (0..self.all.len()).map(move |place| row.cell(Some(place)))
    }

    pub(in crate::store) fn set(&mut self, row: usize, place: Option<usize>, cell: Cell) {
        let index = place.map(|place| row.saturating_mul(self.width) + place);
        if let Some(there) = index.and_then(|index| self.all.get_mut(index)) {
            *there = cell;
        }
    }

    pub(in crate::store) fn set_text(&mut self, row: usize, place: Option<usize>, text: &str) {
        let cell = Cell::Text(self.bytes.len(), text.len());
        self.bytes.extend_from_slice(text.as_bytes());
        self.set(row, place, cell);
    }

    /// Keeps the rows that `keep_fn` wants.
    pub(in crate::store) fn retain(&mut self, mut keep_fn: impl FnMut(RowOf<'_>) -> bool) {
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

pub(in crate::store) fn text(value: ValueRef<'_>) -> Option<&str> {
    value.as_str().ok()
}

pub(in crate::store) fn number(value: ValueRef<'_>) -> Option<i64> {
    value.as_i64().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_the_same_in_all_rows_is_told() {
        let mut cells = Cells::of_width(4);
        for n in 0..3 {
            cells.push_numbers(&[Some(n), Some(7), None, (n > 1).then_some(7)]);
        }
        assert_eq!(cells.same_in_all(0b1111), 0b0110);
        assert_eq!(cells.same_in_all(0b1011), 0b0010);
        cells.push_numbers(&[Some(3), Some(8), None, None]);
        assert_eq!(cells.same_in_all(0b1111), 0b0100);
    }

    #[test]
    fn rows_that_are_not_wanted_leave_the_others_as_they_are() {
        let mut cells = Cells::of_width(2);
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
