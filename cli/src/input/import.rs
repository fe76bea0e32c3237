//! Credentials that already stand somewhere: in a `.pgpass` file (PostgreSQL
//! manual, 34.16) or in a connection URI. Never in an argument.
//! Invariant: a file that others may read is refused, and no refusal repeats
//! what it holds.

use std::{
    io::{self, IsTerminal as _, Read},
    path::{Path, PathBuf},
};

use clap::Args;
use nla_domain::secret::Secret;
use nla_proto::{files, v1};
use zeroize::Zeroizing;

use crate::{
    exit::CliError,
    values::{PostgresUrl, percent_decode},
};

/// Longer than any URI.
const MAX_URI_BYTES: u64 = 8_192;

/// Where a login is taken from.
#[derive(Debug, Args)]
#[group(multiple = false)]
pub(crate) struct Import {
    /// Take name and password from a .pgpass file, by the database's host, port and name [default: $PGPASSFILE or ~/.pgpass]
    #[arg(long, value_name = "FILE", num_args = 0..=1, conflicts_with = "PasswordSource")]
    from_pgpass: Option<Option<PathBuf>>,
    /// Take name and password from a postgres:// URI in this file (mode 0600), or from stdin (-)
    #[arg(long, value_name = "FILE", conflicts_with = "PasswordSource")]
    from_uri: Option<PathBuf>,
}

impl Import {
    /// True when a source was named.
    pub(crate) fn is_given(&self) -> bool {
        self.from_pgpass.is_some() || self.from_uri.is_some()
    }

    /// The login for that database; `username` narrows it.
    ///
    /// # Errors
    /// [`CliError`] when there is none, or the source is not private.
    pub(crate) fn read(&self, database: &v1::Database, username: Option<&str>) -> Result<(String, Secret), CliError> {
        if let Some(path) = &self.from_uri {
            return from_uri(&read_uri(path)?, database, username);
        }
        let path = match self.from_pgpass.clone().flatten() {
            Some(path) => path,
            None => default_pgpass()?,
        };
        let bytes =
            files::read_private(&path).map_err(|source| CliError::local("cannot use the .pgpass file", source))?;
        let text = std::str::from_utf8(&bytes).map_err(|_| CliError::usage("the .pgpass file is not valid UTF-8"))?;
        from_pgpass(text, database, username).ok_or_else(|| {
            let (host, port, dbname) = (&database.host, database.port, &database.dbname);
            let message = format!("{} has no line with a name for {host}:{port}:{dbname}", path.display());
            CliError::usage(message).with_next("add host:port:database:username:password, or give --username")
        })
    }
}

fn default_pgpass() -> Result<PathBuf, CliError> {
    if let Some(path) = std::env::var_os("PGPASSFILE").filter(|path| !path.is_empty()) {
        return Ok(path.into());
    }
    let home = std::env::var_os("HOME").filter(|home| !home.is_empty());
    let home = home.ok_or_else(|| CliError::usage("HOME is not set, so that --from-pgpass needs a file"))?;
    Ok(Path::new(&home).join(".pgpass"))
}

/// The first line that fits decides, as for libpq.
fn from_pgpass(text: &str, database: &v1::Database, username: Option<&str>) -> Option<(String, Secret)> {
    let port = database.port.to_string();
    let fits = |field: &str, value: &str| field == "*" || field == value;
    text.lines().filter(|line| !line.starts_with('#')).find_map(|line| {
        let fields = fields(line)?;
        let [host, at, dbname, user, password] = &fields;
        let here = fits(host, &database.host) && fits(at, &port) && fits(dbname, &database.dbname);
        let user = match (user.as_str(), username) {
            ("*", None) => return None,
            ("*", Some(wanted)) => wanted,
            (user, Some(wanted)) if user != wanted => return None,
            (user, _) => user,
        };
        here.then(|| (user.to_owned(), Secret::new(password.as_str())))
    })
}

/// Five fields between colons; a backslash makes the next character ordinary.
fn fields(line: &str) -> Option<[Zeroizing<String>; 5]> {
    let mut fields: [Zeroizing<String>; 5] = Default::default();
    let (mut at, mut characters) = (0, line.chars());
    while let Some(character) = characters.next() {
        match character {
            '\\' => fields[at].push(characters.next()?),
            // The password is the rest of the line up to a further colon.
            ':' if at == 4 => break,
            ':' => at += 1,
            other => fields[at].push(other),
        }
    }
    (at == 4 && !fields[4].is_empty()).then_some(fields)
}

fn read_uri(path: &Path) -> Result<Zeroizing<String>, CliError> {
    let bytes = if path.as_os_str() == "-" {
        if io::stdin().is_terminal() {
            return Err(
                CliError::usage("--from-uri - would show what you type on this terminal").with_next("pipe it in")
            );
        }
        let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_URI_BYTES as usize + 1));
        let read = io::stdin().lock().take(MAX_URI_BYTES + 1).read_to_end(&mut bytes);
        read.map_err(|source| CliError::local("cannot read the URI from stdin", source))?;
        bytes
    } else {
        files::read_private(path).map_err(|source| CliError::local("cannot use the URI's file", source))?
    };
    let text = std::str::from_utf8(&bytes).map_err(|_| CliError::usage("the URI is not valid UTF-8"))?;
    Ok(Zeroizing::new(text.trim().to_owned()))
}

fn from_uri(uri: &str, database: &v1::Database, username: Option<&str>) -> Result<(String, Secret), CliError> {
    let malformed = || {
        CliError::usage("the URI must be postgres://USER:PASSWORD@HOST:PORT/DBNAME, its special characters %-encoded")
    };
    let (scheme, rest) = uri.split_once("://").ok_or_else(malformed)?;
    let authority_end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (login, _) = rest[..authority_end].rsplit_once('@').ok_or_else(malformed)?;
    let (user, password) = login.split_once(':').ok_or_else(malformed)?;
    // What remains is what a database is defined by; its parser refuses the rest.
    let place = PostgresUrl::parse(&format!("{scheme}://{user}@{}", &rest[login.len() + 1..]))?;
    let port = place.port.map_or(5432, u32::from);
    if place.host != database.host || port != database.port || place.dbname != database.dbname {
        let (host, at, dbname) = (&database.host, database.port, &database.dbname);
        let message = format!("the URI is not for this database, which is {dbname} at {host}:{at}");
        return Err(CliError::usage(message).with_next("use the URI of this database, or `database update`"));
    }
    let password = percent_decode(password).filter(|password| !password.is_empty()).ok_or_else(malformed)?;
    let found = place.username.ok_or_else(malformed)?;
    if username.is_some_and(|username| username != found) {
        return Err(CliError::usage("the URI names another user than --username"));
    }
    Ok((found, Secret::new(password)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn database() -> v1::Database {
        v1::Database { host: "db.example.com".into(), port: 5432, dbname: "shop".into(), ..Default::default() }
    }

    #[test]
    fn the_first_fitting_line_of_pgpass_decides() {
        let text = "# comment\nother:5432:shop:a:no\ndb.example.com:5432:stock:a:no\nshort:line\n\
                    *:5432:shop:reader:pa\\:ss\\\\word\n*:*:*:*:any";
        let cases = [
            (None, Some(("reader", "pa:ss\\word"))),
            (Some("reader"), Some(("reader", "pa:ss\\word"))),
            (Some("else"), Some(("else", "any"))),
        ];
        for (username, expected) in cases {
            let found = from_pgpass(text, &database(), username);
            let found = found.as_ref().map(|(user, password)| (user.as_str(), password.expose()));
            assert_eq!(found, expected, "{username:?}");
        }
        assert!(from_pgpass("*:*:*:*:any", &database(), None).is_none(), "nobody is named");
        assert!(from_pgpass("db.example.com:5432:shop:reader:", &database(), None).is_none());
    }

    #[test]
    fn a_uri_gives_name_and_password_of_this_database_only() {
        let cases = [
            ("postgres://reader:p%40ss@db.example.com/shop", None, Ok(("reader", "p@ss"))),
            ("postgresql://reader:hunter2@db.example.com:5432/shop?sslmode=require", None, Ok(("reader", "hunter2"))),
            ("postgres://reader:hunter2@db.example.com/shop", Some("other"), Err("--username")),
            ("postgres://reader:hunter2@db.example.com/stock", None, Err("not for this database")),
            ("postgres://reader:hunter2@elsewhere/shop", None, Err("not for this database")),
            ("postgres://reader@db.example.com/shop", None, Err("USER:PASSWORD")),
            ("postgres://db.example.com/shop?password=hunter2", None, Err("USER:PASSWORD")),
            ("hunter2", None, Err("USER:PASSWORD")),
            ("mysql://reader:hunter2@db.example.com/shop", None, Err("postgres://")),
        ];
        for (uri, username, expected) in cases {
            match (from_uri(uri, &database(), username), expected) {
                (Ok((user, password)), Ok(wanted)) => assert_eq!((user.as_str(), password.expose()), wanted, "{uri}"),
                (Err(error), Err(part)) => {
                    let text = crate::exit::message(&error);
                    assert!(text.contains(part) && !text.contains("hunter2"), "{uri}: {text}");
                }
                (found, _) => panic!("{uri}: {}", found.is_ok()),
            }
        }
    }

    #[test]
    fn a_file_that_others_may_read_is_refused() {
        use std::{fs, os::unix::fs::PermissionsExt as _};
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pgpass");
        fs::write(&path, "*:*:*:reader:hunter2\n").unwrap();
        let import = Import { from_pgpass: Some(Some(path.clone())), from_uri: None };
        for (mode, accepted) in [(0o600, true), (0o640, false), (0o604, false)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let read = import.read(&database(), None);
            assert_eq!(read.is_ok(), accepted, "{mode:o}");
            if let Err(error) = read {
                let text = crate::exit::message(&error);
                assert!(text.contains("chmod 600") && !text.contains("hunter2"), "{text}");
            }
        }
    }
}
