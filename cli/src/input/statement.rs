//! A statement to look at: from the command line, from stdin or from a file.
//! What PostgreSQL would refuse is the guard's to say; here ends only what is no
//! text at all.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use crate::exit::CliError;

/// Far beyond what the guard reads, so that its own limit is what people meet.
const MAX_BYTES: u64 = 16 << 20;

/// Where a statement comes from.
#[derive(Debug)]
pub(crate) enum Source<'a> {
    Given(&'a str),
    Stdin,
    File(&'a Path),
}

impl<'a> Source<'a> {
    /// `-` is stdin.
    pub(crate) fn of(sql: Option<&'a str>, file: Option<&'a PathBuf>) -> Result<Self, CliError> {
        match (sql, file) {
            (Some("-"), None) => Ok(Self::Stdin),
            (Some(sql), None) => Ok(Self::Given(sql)),
            (None, Some(file)) => Ok(Self::File(file)),
            _ => Err(CliError::usage("which statement? Give it in quotes, as - for stdin, or with --file")),
        }
    }

    /// The text.
    ///
    /// # Errors
    /// When it cannot be read, is no UTF-8, or is much too long.
    pub(crate) fn read(&self) -> Result<String, CliError> {
        let (what, bytes) = match self {
            Self::Given(sql) => return Ok((*sql).to_owned()),
            Self::Stdin => ("stdin".to_owned(), bounded(io::stdin().lock(), MAX_BYTES)),
            Self::File(path) => (path.display().to_string(), read_file(path, MAX_BYTES)),
        };
        let bytes = bytes.map_err(|source| CliError::local(format!("cannot read {what}"), source))?;
        let bytes = bytes.ok_or_else(|| {
            CliError::usage(format!("{what} holds more than {} MiB; a statement is far shorter", MAX_BYTES >> 20))
        })?;
        String::from_utf8(bytes).map_err(|error| {
            let at = error.utf8_error().valid_up_to();
            CliError::usage(format!("{what} is not UTF-8 from byte {at} on; edges accept UTF-8 only"))
        })
    }
}

/// A whole file, or `None` when it is longer than that.
///
/// # Errors
/// As the system says.
pub(crate) fn read_file(path: &Path, max_bytes: u64) -> io::Result<Option<Vec<u8>>> {
    bounded(File::open(path)?, max_bytes)
}

fn bounded(source: impl Read, max_bytes: u64) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    source.take(max_bytes + 1).read_to_end(&mut bytes)?;
    Ok((bytes.len() as u64 <= max_bytes).then_some(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_from() {
        let file = PathBuf::from("f");
        assert!(matches!(Source::of(Some("-"), None), Ok(Source::Stdin)));
        assert!(matches!(Source::of(Some("SELECT 1"), None), Ok(Source::Given("SELECT 1"))));
        assert!(matches!(Source::of(None, Some(&file)), Ok(Source::File(_))));
        assert!(Source::of(None, None).is_err());
    }

    #[test]
    fn no_more_than_the_bound() {
        assert_eq!(bounded(&b"abc"[..], 3).unwrap(), Some(b"abc".to_vec()));
        assert_eq!(bounded(&b"abcd"[..], 3).unwrap(), None);
    }
}
