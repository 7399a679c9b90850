//! Rows for people: a light table on a terminal, the same columns without any decoration in a pipe ([`Columns`]).

use comfy_table::{Attribute, Cell, ColumnConstraint, ContentArrangement, Table, Width, presets};

use super::columns::Columns;
use super::plain_text;

/// Longest cell, in characters; whoever needs more takes JSON.
pub(super) const CELL_LIMIT: usize = 160;

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

impl Look {
    /// Plain columns, which nobody wants styled or fitted.
    fn is_plain(self) -> bool {
        !self.is_terminal && !self.has_colour
    }
}

/// Rows that are laid out together.
#[derive(Debug)]
pub(super) enum Page<T> {
    Plain(Columns),
    Styled(Vec<T>),
}

impl<T: Row> Page<T> {
    /// A page of no rows yet.
    pub(super) fn new(look: Look) -> Self {
        if look.is_plain() {
            Self::Plain(Columns::new(T::headings().len()))
        } else {
            Self::Styled(Vec::new())
        }
    }

    /// Takes the next row.
    pub(super) fn push(&mut self, row: T) {
        match self {
            Self::Plain(columns) => columns.push(&row),
            Self::Styled(rows) => rows.push(row),
        }
    }

    /// Makes room for so many rows like those there are.
    pub(super) fn reserve(&mut self, rows: usize) {
        match self {
            Self::Plain(columns) => columns.reserve(rows),
            Self::Styled(page) => page.reserve(rows),
        }
    }

    /// Rows there are.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Plain(columns) => columns.len(),
            Self::Styled(rows) => rows.len(),
        }
    }

    /// Moves its first rows, up to so many, behind those of another page of the same look.
    pub(super) fn move_to(&mut self, other: &mut Self, most: usize) {
        match (self, other) {
            (Self::Plain(from), Self::Plain(to)) => from.move_to(to, most),
            (Self::Styled(from), Self::Styled(to)) => to.extend(from.drain(..most.min(from.len()))),
            (from, to) => unreachable!("{} rows of one look among {} of another", from.len(), to.len()),
        }
    }

    /// Lays the rows out in columns at least as wide as `widths`, which are brought up to date, and is empty then. The first
    /// page, where there are no widths, begins with the headings.
    pub(super) fn lay_out(&mut self, look: Look, widths: &mut Vec<usize>) -> String {
        match self {
            Self::Plain(columns) => columns.lay_out(T::headings(), widths),
            Self::Styled(rows) => styled(&std::mem::take(rows), look, widths),
        }
    }
}

/// A whole table.
pub(super) fn render<T: Row>(rows: &[T], look: Look) -> String {
    if look.is_plain() {
        let mut columns = Columns::new(T::headings().len());
        rows.iter().for_each(|row| columns.push(row));
        columns.lay_out(T::headings(), &mut Vec::new())
    } else {
        styled(rows, look, &mut Vec::new())
    }
}

fn styled<T: Row>(rows: &[T], look: Look, widths: &mut Vec<usize>) -> String {
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
        *width = usize::from(needed).max(*width);
        if !is_first && !look.is_terminal {
            let least = u16::try_from(*width + 2).unwrap_or(u16::MAX);
            column.set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(least)));
        }
    }
    let mut text = table.trim_fmt();
    text.push('\n');
    text
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::output) struct Run(pub(in crate::output) &'static str, pub(in crate::output) &'static str);

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
        assert_eq!(render::<Run>(&[], PIPE), "RUN  STATE\n");
    }

    #[test]
    fn columns_are_the_same_with_and_without_style_page_by_page() {
        let pages = [
            vec![Run("a", "ä\tb"), Run("漢字", ""), Run("", "a long cell with  spaces \u{3000}")],
            vec![Run("", ""), Run("a wider one", "x\u{a0}")],
            vec![Run("e\u{301}", "\u{200b}")],
        ];
        let (mut plain_widths, mut styled_widths) = (Vec::new(), Vec::new());
        for rows in pages {
            let with_style = styled(&rows, PIPE, &mut styled_widths);
            let mut page = Page::new(PIPE);
            rows.into_iter().for_each(|row| page.push(row));
            assert_eq!(page.lay_out(PIPE, &mut plain_widths), with_style);
            assert_eq!(plain_widths, styled_widths);
        }
    }

    #[test]
    fn untrusted_text_is_shown_not_obeyed() {
        for look in [PIPE, Look { is_terminal: true, ..PIPE }] {
            let text = render(&[Run("\u{1b}[31m", "a\nb")], look);
            assert!(!text.contains('\u{1b}'));
            assert_eq!(text.lines().count(), 2);
        }
    }

    #[test]
    fn headings_are_bold_only_with_colour() {
        let look = Look { has_colour: true, ..PIPE };
        assert!(render(&[Run("a", "b")], look).contains("\u{1b}[1m"));
        assert!(!render(&[Run("a", "b")], PIPE).contains('\u{1b}'));
    }
}
