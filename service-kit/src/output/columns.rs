//! Rows as plain columns, which is what a table is in a pipe. Pure.
//!
//! A cell is made fit to be shown, and measured, when its row is taken, on whatever thread that is; what is left for the thread
//! that prints is to set the cells one beside the other.

use unicode_width::UnicodeWidthStr as _;

use super::plain_text;
use super::ready::room;
use super::table::{CELL_LIMIT, Row};

/// Spaces between two columns.
const GAP: usize = 2;

/// Rows, cell by cell, not laid out yet.
#[derive(Debug)]
pub(super) struct Columns {
    /// Cells of a row.
    count: usize,
    /// The cells, one behind the other.
    text: String,
    cells: Vec<Cell>,
}

#[derive(Debug, Clone, Copy)]
struct Cell {
    /// Its end in the text; the end of the one before is its beginning.
    end: usize,
    /// Columns of a terminal it takes.
    width: usize,
}

impl Columns {
    /// No rows yet, of so many cells each.
    pub(super) fn new(count: usize) -> Self {
        Self { count, text: String::new(), cells: Vec::new() }
    }

    /// Takes the next row.
    pub(super) fn push<T: Row>(&mut self, row: &T) {
        let before = self.cells.len();
        row.cells().iter().for_each(|cell| self.add(cell));
        debug_assert_eq!(self.cells.len() - before, self.count, "a row has a cell for each heading");
    }

    /// Rows there are.
    pub(super) fn len(&self) -> usize {
        self.cells.len() / self.count
    }

    /// Moves its first rows, up to so many, behind those of another.
    pub(super) fn move_to(&mut self, other: &mut Self, most: usize) {
        let moved = most.min(self.len()) * self.count;
        let end = moved.checked_sub(1).map_or(0, |last| self.cells[last].end);
        let behind = other.text.len();
        other.text.push_str(&self.text[..end]);
        other.cells.extend(self.cells.drain(..moved).map(|cell| Cell { end: behind + cell.end, ..cell }));
        self.text.drain(..end);
        self.cells.iter_mut().for_each(|cell| cell.end -= end);
    }

    /// Makes room for so many rows like those there are. Text that need not grow is not copied.
    pub(super) fn reserve(&mut self, rows: usize) {
        let Some(row) = self.text.len().checked_div(self.len()) else { return };
        self.text.reserve(room(row, rows));
        self.cells.reserve(room(self.count * size_of::<Cell>(), rows) / size_of::<Cell>());
    }

    /// Sets the rows in columns at least as wide as `widths`, which are brought up to date, and is empty then. The first page,
    /// where there are no widths, begins with the headings.
    pub(super) fn lay_out(&mut self, headings: &[&str], widths: &mut Vec<usize>) -> String {
        let mut heads = Self::new(self.count);
        if widths.is_empty() {
            headings.iter().for_each(|heading| heads.add(&heading.to_uppercase()));
        }
        widths.resize(self.count, 0);
        for row in heads.rows().chain(self.rows()) {
            widths.iter_mut().zip(row).for_each(|(width, cell)| *width = cell.width.max(*width));
        }
        let line = widths.iter().sum::<usize>() + GAP * self.count;
        let mut out = String::with_capacity(line * (heads.len() + self.len()));
        heads.write(widths, &mut out);
        self.write(widths, &mut out);
        self.text.clear();
        self.cells.clear();
        out
    }

    fn rows(&self) -> impl Iterator<Item = &[Cell]> {
        self.cells.chunks(self.count)
    }

    /// Sets the rows in columns of these widths.
    fn write(&self, widths: &[usize], out: &mut String) {
        let mut begin = 0;
        for row in self.rows() {
            let start = out.len();
            for (cell, width) in row.iter().zip(widths) {
                out.push_str(&self.text[begin..cell.end]);
                out.extend(std::iter::repeat_n(' ', width + GAP - cell.width));
                begin = cell.end;
            }
            out.truncate(start + out[start..].trim_end().len());
            out.push('\n');
        }
    }

    fn add(&mut self, cell: &str) {
        let begin = self.text.len();
        plain_text::add_one_line(&mut self.text, cell, CELL_LIMIT);
        let added = &self.text[begin..];
        // Nearly every cell is of letters that take a column each.
        let width = if added.is_ascii() { added.len() } else { added.width() };
        self.cells.push(Cell { end: self.text.len(), width });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::table::tests::Run;

    fn columns(rows: &[Run]) -> Columns {
        let mut columns = Columns::new(2);
        rows.iter().for_each(|row| columns.push(row));
        columns
    }

    #[test]
    fn a_column_is_as_wide_as_its_widest_cell_looks() {
        let mut widths = Vec::new();
        let text =
            columns(&[Run("ä", "x"), Run("漢字", "y"), Run("", "")]).lay_out(Run::headings(), &mut widths);
        assert_eq!(text, "RUN   STATE\nä     x\n漢字  y\n\n");
        assert_eq!(widths, [4, 5]);
    }

    #[test]
    fn a_later_page_has_no_headings_and_columns_as_wide() {
        let mut widths = vec![6, 4];
        assert_eq!(columns(&[Run("a", "x")]).lay_out(Run::headings(), &mut widths), "a       x\n");
        assert_eq!(columns(&[Run("longest", "x")]).lay_out(Run::headings(), &mut widths), "longest  x\n");
    }

    #[test]
    fn rows_that_were_moved_are_the_same_rows() {
        let rows = || [Run("a", "b"), Run("cc", "d"), Run("e", "ff")];
        let (mut from, mut to) = (columns(&rows()), columns(&[]));
        from.move_to(&mut to, 0);
        from.move_to(&mut to, 2);
        assert_eq!((from.len(), to.len()), (1, 2));
        from.move_to(&mut to, 2);
        assert_eq!((from.len(), to.len()), (0, 3));
        let text = |mut columns: Columns| columns.lay_out(Run::headings(), &mut Vec::new());
        assert_eq!(text(to), text(columns(&rows())));
    }
}
