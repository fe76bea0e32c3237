//! What becomes of rows as they arrive. `execute` feeds a [`Sink`]: [`RowSet`]
//! writes the answer to a caller in both of its forms at once, [`Cells`] keeps
//! the few rows of the edge's own catalog queries.
//! Invariant: a sink holds no more than its limits, and an answer that was cut
//! says at what.

use tokio_postgres::types::{Kind, Type};

use super::{
    error::PgError,
    json::{self, Shape},
    wire::{Field, Row},
};

/// A column of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// As the statement names it; names may repeat.
    pub name: String,
    /// As PostgreSQL names it, `int4[]` for an array.
    pub type_name: String,
    shape: Shape,
}

/// Why an answer does not hold all rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// The row limit.
    Rows,
    /// The byte limit.
    Bytes,
}

impl Cut {
    /// The name in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rows => "rows",
            Self::Bytes => "bytes",
        }
    }
}

/// Takes rows.
pub trait Sink: Send {
    /// Comes once, before any row.
    fn begin(&mut self, columns: Vec<Column>);
    /// Takes one row; `Some` ends the reading.
    ///
    /// # Errors
    /// When a value cannot be read as text.
    fn row(&mut self, row: &Row<'_>) -> Result<Option<Cut>, PgError>;
}

/// The columns of an answer. PostgreSQL describes a type by its number; `named`
/// knows the numbers of the database's own types.
pub(crate) fn columns(fields: Vec<Field>, named: impl Fn(u32) -> Option<String>) -> Vec<Column> {
    let column = |field: Field| {
        let built_in = Type::from_oid(field.type_oid);
        let type_name = match &built_in {
            Some(kind) => type_name(kind),
            None => named(field.type_oid).unwrap_or_else(|| format!("unknown (OID {})", field.type_oid)),
        };
        Column { name: field.name, type_name, shape: built_in.as_ref().map_or(Shape::Text, Shape::of) }
    };
    fields.into_iter().map(column).collect()
}

fn type_name(kind: &Type) -> String {
    match kind.kind() {
        Kind::Array(element) => format!("{}[]", type_name(element)),
        _ => kind.name().to_owned(),
    }
}

fn text<'a>(value: Option<&'a [u8]>, at: usize, name: &str) -> Result<Option<&'a str>, PgError> {
    let text = value.map(str::from_utf8).transpose();
    text.map_err(|_| PgError::NotUtf8 { column: at + 1, name: name.to_owned() })
}

/// The rows of an answer: as JSON and as text.
#[derive(Debug)]
pub struct RowSet {
    max_rows: u32,
    max_bytes: usize,
    columns: Vec<Column>,
    json: Vec<u8>,
    text: String,
    rows: u32,
    value_bytes: u64,
    cut: Option<Cut>,
}

impl RowSet {
    /// At most `max_rows` rows and `max_bytes` bytes of JSON.
    pub fn new(max_rows: u32, max_bytes: u64) -> Self {
        Self {
            max_rows,
            max_bytes: usize::try_from(max_bytes).unwrap_or(usize::MAX),
            columns: Vec::new(),
            json: b"[".to_vec(),
            text: String::new(),
            rows: 0,
            value_bytes: 0,
            cut: None,
        }
    }

    /// Its columns; empty until the statement was prepared.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// Rows that it takes at most.
    pub fn max_rows(&self) -> u32 {
        self.max_rows
    }

    /// Rows in the answer.
    pub fn row_count(&self) -> u32 {
        self.rows
    }

    /// Bytes of values as PostgreSQL sent them.
    pub fn value_bytes(&self) -> u64 {
        self.value_bytes
    }

    /// Where the answer was cut.
    pub fn cut(&self) -> Option<Cut> {
        self.cut
    }

    /// Marks an answer that ended early for a reason outside of the rows.
    pub(crate) fn set_cut(&mut self, cut: Cut) {
        self.cut = Some(cut);
    }

    /// All rows as one JSON array of arrays, without its closing bracket.
    pub(crate) fn open_json(&self) -> &[u8] {
        &self.json
    }

    /// A header line and the rows in PostgreSQL's COPY text format.
    pub(crate) fn into_text(self) -> String {
        self.text
    }
}

impl Sink for RowSet {
    fn begin(&mut self, columns: Vec<Column>) {
        for (at, column) in columns.iter().enumerate() {
            if at > 0 {
                self.text.push('\t');
            }
            push_copy_text(&mut self.text, &column.name);
        }
        self.text.push('\n');
        self.columns = columns;
    }

    fn row(&mut self, row: &Row<'_>) -> Result<Option<Cut>, PgError> {
        // The server was asked for one row more than the limit, to know
        // whether there is one.
        if self.rows >= self.max_rows {
            self.cut = Some(Cut::Rows);
            return Ok(self.cut);
        }
        let (json_before, text_before) = (self.json.len(), self.text.len());
        if self.rows > 0 {
            self.json.push(b',');
        }
        self.json.push(b'[');
        let (mut value_bytes, mut fits) = (0, true);
        for (at, (column, value)) in self.columns.iter().zip(row.values()).enumerate() {
            let value = text(value, at, &column.name)?;
            // Before it is written: escapes make a value up to six times as long,
            // and a row has 1,664 of them.
            if self.json.len() + value.map_or(0, str::len) > self.max_bytes {
                fits = false;
                break;
            }
            if at > 0 {
                self.json.push(b',');
                self.text.push('\t');
            }
            json::write_value(&mut self.json, column.shape, value);
            match value {
                Some(value) => push_copy_text(&mut self.text, value),
                None => self.text.push_str("\\N"),
            }
            value_bytes += value.map_or(0, |value| u64::try_from(value.len()).unwrap_or(u64::MAX));
        }
        self.json.push(b']');
        self.text.push('\n');
        if !fits || self.json.len() > self.max_bytes {
            self.json.truncate(json_before);
            self.text.truncate(text_before);
            self.cut = Some(Cut::Bytes);
            return Ok(self.cut);
        }
        self.rows += 1;
        self.value_bytes += value_bytes;
        Ok(None)
    }
}

/// COPY's text format (PostgreSQL manual, "COPY", "Text Format").
fn push_copy_text(out: &mut String, value: &str) {
    for character in value.chars() {
        match character {
            '\\' => out.push_str("\\\\"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{b}' => out.push_str("\\v"),
            other => out.push(other),
        }
    }
}

/// Rows as they are, for the edge's own queries.
#[derive(Debug, Default)]
pub struct Cells {
    names: Vec<String>,
    /// Row by row.
    pub rows: Vec<Vec<Option<String>>>,
    /// True when there were more rows than a description can hold.
    pub cut: bool,
    bytes: usize,
}

/// Above the widest catalog that a description is made from; what is beyond is
/// said to be missing.
const MOST_CELL_BYTES: usize = 4 << 20;

impl Sink for Cells {
    fn begin(&mut self, columns: Vec<Column>) {
        self.names = columns.into_iter().map(|column| column.name).collect();
    }

    fn row(&mut self, row: &Row<'_>) -> Result<Option<Cut>, PgError> {
        let mut cells = Vec::with_capacity(self.names.len());
        for (at, (name, value)) in self.names.iter().zip(row.values()).enumerate() {
            let value = text(value, at, name)?.map(str::to_owned);
            self.bytes += value.as_ref().map_or(0, String::len);
            cells.push(value);
        }
        if self.bytes > MOST_CELL_BYTES {
            self.cut = true;
            return Ok(Some(Cut::Bytes));
        }
        self.rows.push(cells);
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copy_text_escapes_what_would_be_ambiguous() {
        for (value, expected) in
            [("", ""), ("\\N", "\\\\N"), ("a\tb\nc\\", "a\\tb\\nc\\\\"), ("\u{b}\u{c}\u{8}\r", "\\v\\f\\b\\r")]
        {
            let mut out = String::new();
            push_copy_text(&mut out, value);
            assert_eq!(out, expected, "{value:?}");
        }
    }

    /// A row's body as the server sends it.
    fn body(values: &[&[u8]]) -> Vec<u8> {
        let mut body = u16::try_from(values.len()).unwrap().to_be_bytes().to_vec();
        for value in values {
            body.extend_from_slice(&u32::try_from(value.len()).unwrap().to_be_bytes());
            body.extend_from_slice(value);
        }
        body
    }

    #[test]
    fn a_row_that_does_not_fit_is_not_written_before_that_shows() {
        const MAX_BYTES: usize = 1_000;
        let mut rows = RowSet::new(10, MAX_BYTES as u64);
        let field = |n: usize| Field { name: format!("c{n}"), type_oid: 25 };
        rows.begin(columns((0..500).map(field).collect(), |_| None));
        let (small, escaped) = (body(&vec![&b""[..]; 300]), body(&vec![&[1; 900][..]; 500]));
        assert_eq!(rows.row(&Row::read(&small).unwrap()).unwrap(), None);
        let whole = (rows.json.clone(), rows.text.clone());
        assert_eq!(rows.row(&Row::read(&escaped).unwrap()).unwrap(), Some(Cut::Bytes));
        assert_eq!((rows.json.clone(), rows.text.clone()), whole, "what was there stays as it was");
        let held = rows.json.capacity() + rows.text.capacity();
        assert!(held < 10 * MAX_BYTES, "{held} bytes were written of a row of 2.7 MB");
    }
}
