//! Tables for people: a list with a header, or the fields of one object. They
//! fit the given width by wrapping cells; identifiers are never wrapped, and
//! every text is escaped here, so that no view can forget it.

use std::fmt::Display;

use comfy_table::{Attribute, Color, ColumnConstraint, ContentArrangement, presets};
use unicode_width::UnicodeWidthStr as _;

use super::escape;

/// What a colour says, where colours are shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Tone {
    Plain,
    Good,
    Bad,
}

/// A piece of text in a table.
#[derive(Debug)]
pub(crate) struct Cell {
    text: String,
    tone: Tone,
    whole: bool,
}

impl Cell {
    /// Text, which may come from anywhere.
    pub(crate) fn text(text: impl Display) -> Self {
        Self { text: escape(&text.to_string()).into_owned(), tone: Tone::Plain, whole: false }
    }

    /// Text that is copied as a whole, so that it is never wrapped.
    pub(crate) fn whole(text: impl Display) -> Self {
        Self { whole: true, ..Self::text(text) }
    }

    /// Names, separated by commas; a dash for none.
    pub(crate) fn names(names: &[String]) -> Self {
        if names.is_empty() { Self::text("-") } else { Self::text(names.join(", ")) }
    }

    /// The same text with a colour.
    #[must_use]
    pub(crate) fn toned(mut self, tone: Tone) -> Self {
        self.tone = tone;
        self
    }
}

/// A table under construction.
#[derive(Debug)]
pub(crate) struct Table {
    header: Vec<&'static str>,
    rows: Vec<Vec<Cell>>,
    /// Lines under the table.
    footer: Vec<Footer>,
}

#[derive(Debug)]
enum Footer {
    /// Never wrapped.
    Line(String),
    /// Wrapped between words.
    Prose(String),
}

impl Table {
    /// A list of objects.
    pub(crate) fn list<const N: usize>(header: [&'static str; N]) -> Self {
        Self { header: header.into(), rows: Vec::new(), footer: Vec::new() }
    }

    /// The fields of one object.
    pub(crate) fn fields() -> Self {
        Self { header: Vec::new(), rows: Vec::new(), footer: Vec::new() }
    }

    /// Adds a row.
    #[must_use]
    pub(crate) fn row<const N: usize>(mut self, cells: [Cell; N]) -> Self {
        self.rows.push(cells.into());
        self
    }

    /// Adds a field.
    #[must_use]
    pub(crate) fn field(self, label: &str, cell: Cell) -> Self {
        self.row([Cell::whole(label), cell])
    }

    /// Adds a field unless its text is empty.
    #[must_use]
    pub(crate) fn optional(self, label: &str, text: &str) -> Self {
        if text.is_empty() { self } else { self.field(label, Cell::text(text)) }
    }

    /// Adds a line of its own under the table.
    #[must_use]
    pub(crate) fn line(mut self, text: impl Display) -> Self {
        self.footer.push(Footer::Line(escape(&text.to_string()).into_owned()));
        self
    }

    /// Adds sentences under the table, in lines that fit.
    #[must_use]
    pub(crate) fn prose(mut self, text: impl Display) -> Self {
        self.footer.push(Footer::Prose(escape(&text.to_string()).into_owned()));
        self
    }

    /// The table as text of at most `width` columns, as far as whole cells let it.
    pub(crate) fn render(self, width: u16, colour: bool) -> String {
        let mut out = String::new();
        if !self.rows.is_empty() || !self.header.is_empty() {
            self.grid(width, colour).lines().for_each(|line| {
                out.push_str(line.trim_end());
                out.push('\n');
            });
        }
        for part in &self.footer {
            match part {
                Footer::Line(line) => out.push_str(line),
                Footer::Prose(text) => out.push_str(&wrapped(text, width.into())),
            }
            out.push('\n');
        }
        out
    }

    fn grid(&self, width: u16, colour: bool) -> comfy_table::Table {
        let mut table = comfy_table::Table::new();
        // Whether stdout is a terminal was decided once, by `Output`.
        table.load_preset(presets::NOTHING).force_no_tty().set_width(width);
        table.set_content_arrangement(ContentArrangement::Dynamic);
        if colour {
            table.enforce_styling();
        }
        if !self.header.is_empty() {
            let header = self.header.iter().map(|text| comfy_table::Cell::new(text).add_attribute(Attribute::Bold));
            table.set_header(header);
        }
        for row in &self.rows {
            table.add_row(row.iter().map(|cell| {
                let shown = comfy_table::Cell::new(&cell.text);
                match cell.tone {
                    Tone::Plain => shown,
                    Tone::Good => shown.fg(Color::Green),
                    Tone::Bad => shown.fg(Color::Red),
                }
            }));
        }
        for at in 0..table.column_count() {
            let whole = self.rows.iter().any(|row| row.get(at).is_some_and(|cell| cell.whole));
            let Some(column) = table.column_mut(at) else { continue };
            column.set_padding((0, 2));
            if whole {
                column.set_constraint(ColumnConstraint::ContentWidth);
            }
        }
        table
    }
}

/// The text in lines of at most that width, as far as its words let it.
fn wrapped(text: &str, width: usize) -> String {
    let mut out = String::with_capacity(text.len() + text.len() / 40);
    let mut column = 0;
    for word in text.split(' ') {
        let length = word.width();
        if column > 0 && column + 1 + length > width {
            out.push('\n');
            column = 0;
        } else if column > 0 {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += length;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prose_is_wrapped_between_words() {
        let cases = [
            ("one two three", 7, "one two\nthree"),
            ("one two three", 80, "one two three"),
            ("areallylongword x", 5, "areallylongword\nx"),
            ("表表 表表", 6, "表表\n表表"),
            ("", 5, ""),
        ];
        for (text, width, expected) in cases {
            assert_eq!(wrapped(text, width), expected);
        }
    }

    fn table(purpose: &str) -> Table {
        Table::list(["ID", "PURPOSE", "STATUS"]).row([
            Cell::whole("abcDEF012345"),
            Cell::text(purpose),
            Cell::whole("revoked").toned(Tone::Bad),
        ])
    }

    #[test]
    fn a_table_fits_its_width_and_keeps_identifiers_whole() {
        let text = table(&"a long purpose that goes on ".repeat(12)).render(80, false);
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        assert!(text.contains("abcDEF012345") && text.contains("revoked"), "{text}");
        assert!(text.lines().count() > 3, "{text}");
    }

    #[test]
    fn layout() {
        assert_eq!(
            table("report").render(80, false),
            "ID            PURPOSE  STATUS\nabcDEF012345  report   revoked\n"
        );
        let fields = Table::fields().field("Name", Cell::text("shop")).optional("Note", "").line("last");
        assert_eq!(fields.render(80, false), "Name  shop\nlast\n");
    }

    #[test]
    fn colours_only_when_asked_for() {
        assert!(!table("x").render(80, false).contains('\u{1b}'));
        assert!(table("x").render(80, true).contains('\u{1b}'));
    }
}
