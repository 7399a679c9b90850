//! Rows for people: a light table on a terminal, the same columns without any decoration in a pipe.

use comfy_table::{Attribute, Cell, ColumnConstraint, ContentArrangement, Table, Width, presets};

use super::plain_text;

/// Longest cell, in characters; whoever needs more takes JSON.
const CELL_LIMIT: usize = 160;

/// A terminal narrower than this, or of unknown width (0), gets whole lines instead of columns of single letters.
const MIN_WIDTH: u16 = 40;

/// Something that has a line in a table.
pub trait Row {
    /// The headings, in the order of [`Row::cells`].
    fn headings() -> &'static [&'static str];
    /// One text per heading; may hold untrusted text.
    fn cells(&self) -> Vec<String>;
}

/// How a table looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Look {
    /// Fit the width of the terminal.
    pub(super) is_terminal: bool,
    /// Bold headings.
    pub(super) has_colour: bool,
}

pub(super) fn render<T: Row>(rows: &[T], look: Look) -> String {
    page(rows, look, &mut Vec::new())
}

/// Rows of a table that has more: its columns are at least as wide as `widths`, which are brought up to date. Only the
/// first page, where there are none, has headings.
pub(super) fn page<T: Row>(rows: &[T], look: Look, widths: &mut Vec<u16>) -> String {
    let is_first = widths.is_empty();
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    let is_wide = table.width().is_some_and(|width| width >= MIN_WIDTH);
    if look.is_terminal && is_wide {
        table.set_content_arrangement(ContentArrangement::Dynamic);
    } else {
        table.force_no_tty();
    }
    if look.has_colour {
        table.enforce_styling();
    }
    if is_first {
        table.set_header(T::headings().iter().map(|heading| {
            let cell = Cell::new(heading.to_uppercase());
            if look.has_colour { cell.add_attribute(Attribute::Bold) } else { cell }
        }));
    }
    for row in rows {
        table.add_row(row.cells().iter().map(|cell| plain_text::one_line(cell, CELL_LIMIT)));
    }
    widths.resize(T::headings().len(), 0);
    let needed = table.column_max_content_widths();
    for ((column, width), needed) in table.column_iter_mut().zip(widths.iter_mut()).zip(needed) {
        column.set_padding((0, 2));
        *width = needed.max(*width);
        if !is_first && !look.is_terminal {
            column.set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(*width + 2)));
        }
    }
    let mut text = table.trim_fmt();
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Run(&'static str, &'static str);

    impl Row for Run {
        fn headings() -> &'static [&'static str] {
            &["run", "state"]
        }

        fn cells(&self) -> Vec<String> {
            vec![self.0.to_owned(), self.1.to_owned()]
        }
    }

    const PIPE: Look = Look { is_terminal: false, has_colour: false };

    #[test]
    fn a_pipe_gets_plain_columns() {
        let text = render(&[Run("a", "running"), Run("longer", "completed")], PIPE);
        assert_eq!(text, "RUN     STATE\na       running\nlonger  completed\n");
    }

    #[test]
    fn untrusted_text_is_shown_not_obeyed() {
        let text = render(&[Run("\u{1b}[31m", "a\nb")], PIPE);
        assert!(!text.contains('\u{1b}'));
        assert_eq!(text.lines().count(), 2);
    }

    #[test]
    fn headings_are_bold_only_with_colour() {
        let look = Look { has_colour: true, ..PIPE };
        assert!(render(&[Run("a", "b")], look).contains("\u{1b}[1m"));
        assert!(!render(&[Run("a", "b")], PIPE).contains('\u{1b}'));
    }
}
