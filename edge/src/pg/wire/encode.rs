//! What a session sends, put together before it is written at once.
//! `execute` builds a [`Call`], `login` the messages of a login.
//! Invariant: all messages of a call stand before one Sync, and only unnamed
//! statements and portals are used, so that nothing of it stays on the server
//! and a transaction pooler in between may choose any of its connections.

use std::io;

use bytes::BytesMut;
use postgres_protocol::{IsNull, message::frontend};

/// Statements for one round trip, which the server runs in order and of which it
/// skips all that come after one that fails.
#[derive(Debug, Default)]
pub(crate) struct Call(BytesMut);

impl Call {
    /// Adds a statement whose rows nobody describes.
    ///
    /// # Errors
    /// A NUL in a text.
    pub(crate) fn control(&mut self, sql: &str, parameters: &[&str]) -> io::Result<()> {
        frontend::parse("", sql, [], &mut self.0)?;
        self.bind(parameters)?;
        frontend::execute("", 0, &mut self.0)
    }

    /// Adds a statement with the description of its columns and at most
    /// `max_rows` rows.
    ///
    /// # Errors
    /// A NUL in the text.
    pub(crate) fn statement(&mut self, sql: &str, max_rows: u32) -> io::Result<()> {
        frontend::parse("", sql, [], &mut self.0)?;
        frontend::describe(b'S', "", &mut self.0)?;
        self.bind(&[])?;
        // 0 would mean all rows.
        let max_rows = i32::try_from(max_rows).unwrap_or(i32::MAX).max(1);
        frontend::execute("", max_rows, &mut self.0)
    }

    /// Parameters and results are text, which is what an empty list of formats
    /// says.
    fn bind(&mut self, parameters: &[&str]) -> io::Result<()> {
        let write = |value: &&str, out: &mut BytesMut| {
            out.extend_from_slice(value.as_bytes());
            Ok(IsNull::No)
        };
        frontend::bind("", "", [], parameters, write, [], &mut self.0).map_err(|error| match error {
            frontend::BindError::Conversion(error) => io::Error::other(error),
            frontend::BindError::Serialization(error) => error,
        })
    }

    /// All of it and the one Sync.
    pub(super) fn finish(mut self) -> BytesMut {
        frontend::sync(&mut self.0);
        self.0
    }
}

/// A simple query, which is its own Sync.
pub(super) fn query(sql: &str) -> io::Result<BytesMut> {
    let mut out = BytesMut::new();
    frontend::query(sql, &mut out)?;
    Ok(out)
}
