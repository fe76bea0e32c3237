//! What the bodies of messages hold: errors, columns, rows. `execute` and
//! `login` read them.
//! Invariant: no body, however it was cut or forged, makes a reader panic.

use super::WireError;

/// An error of the server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Reported {
    /// The server ends the session with it.
    pub(crate) fatal: bool,
    /// SQLSTATE.
    pub(crate) code: String,
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
    /// Characters from the start of the statement, the first being 1.
    pub(crate) position: Option<usize>,
}

impl Reported {
    /// Takes what can be read: a long body comes without its end.
    pub(crate) fn read(body: &[u8]) -> Self {
        let mut reported = Self::default();
        let mut rest = body;
        while let Some((&kind, value)) = rest.split_first() {
            if kind == 0 {
                break;
            }
            let end = value.iter().position(|&byte| byte == 0).unwrap_or(value.len());
            let text = String::from_utf8_lossy(&value[..end]);
            match kind {
                // The severity, in the server's language and in English.
                b'S' | b'V' => reported.fatal |= matches!(&*text, "FATAL" | "PANIC"),
                b'C' => reported.code = code(&text),
                b'M' => reported.message = text.into_owned(),
                b'H' => reported.hint = Some(text.into_owned()),
                b'P' => reported.position = text.parse().ok(),
                _ => {}
            }
            rest = value.get(end + 1..).unwrap_or_default();
        }
        reported
    }
}

/// An SQLSTATE has five digits or upper-case letters (manual, appendix A). What
/// does not is no server's, and counts as its internal error.
fn code(text: &str) -> String {
    let is_code = text.len() == 5 && text.bytes().all(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase());
    if is_code { text } else { "XX000" }.to_owned()
}

/// A column as the server describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) type_oid: u32,
}

/// Table, number in it, type, its size and modifier, format.
const FIELD_BYTES: usize = 4 + 2 + 4 + 2 + 4 + 2;
const TYPE_AT: usize = 4 + 2;

/// The columns of an answer.
pub(crate) fn fields(body: &[u8]) -> Result<Vec<Field>, WireError> {
    let (count, mut rest) = body.split_first_chunk::<2>().ok_or(WireError::Protocol)?;
    let count = usize::from(u16::from_be_bytes(*count));
    let mut fields = Vec::with_capacity(count.min(rest.len() / FIELD_BYTES));
    for _ in 0..count {
        let end = rest.iter().position(|&byte| byte == 0).ok_or(WireError::Protocol)?;
        let name = String::from_utf8_lossy(&rest[..end]).into_owned();
        let (facts, others) = rest[end + 1..].split_first_chunk::<FIELD_BYTES>().ok_or(WireError::Protocol)?;
        let type_oid = facts[TYPE_AT..].first_chunk::<4>().ok_or(WireError::Protocol)?;
        fields.push(Field { name, type_oid: u32::from_be_bytes(*type_oid) });
        rest = others;
    }
    if rest.is_empty() { Ok(fields) } else { Err(WireError::Protocol) }
}

/// A row as the server sent it.
#[derive(Debug, Clone, Copy)]
pub struct Row<'a> {
    count: usize,
    /// Each value with its length before it; walked once already.
    values: &'a [u8],
}

impl<'a> Row<'a> {
    /// Checks every length, so that reading the values cannot fail.
    pub(crate) fn read(body: &'a [u8]) -> Result<Self, WireError> {
        let (count, values) = body.split_first_chunk::<2>().ok_or(WireError::Protocol)?;
        let count = usize::from(u16::from_be_bytes(*count));
        let mut rest = values;
        for _ in 0..count {
            (_, rest) = split_value(rest).ok_or(WireError::Protocol)?;
        }
        if rest.is_empty() { Ok(Self { count, values }) } else { Err(WireError::Protocol) }
    }

    /// Values in the row.
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// The values, in PostgreSQL's text form; `None` is NULL.
    pub(crate) fn values(&self) -> impl Iterator<Item = Option<&'a [u8]>> + use<'a> {
        let mut rest = self.values;
        std::iter::from_fn(move || {
            let (value, others) = split_value(rest)?;
            rest = others;
            Some(value)
        })
    }
}

/// One value, which is NULL with a length of -1.
fn split_value(bytes: &[u8]) -> Option<(Option<&[u8]>, &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    match i32::from_be_bytes(*length) {
        -1 => Some((None, rest)),
        length => {
            let (value, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
            Some((Some(value), rest))
        }
    }
}
