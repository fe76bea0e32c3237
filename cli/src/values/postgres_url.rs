//! `postgres://` URLs, as far as a database definition needs them. A password
//! in one is refused: an argument stands in the shell's history and in the
//! process list, so it has already been shown to others.

use nla_domain::database::SslMode;

use crate::exit::CliError;

/// What a URL says about a database.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct PostgresUrl {
    pub(crate) host: String,
    pub(crate) port: Option<u16>,
    pub(crate) dbname: String,
    pub(crate) sslmode: Option<SslMode>,
    /// Not part of a database: it belongs to `nlactl credential set`.
    pub(crate) username: Option<String>,
}

impl PostgresUrl {
    /// Reads a URL. Refusals never repeat it, since it may hold a secret.
    ///
    /// # Errors
    /// [`CliError::Usage`] says which part is at fault.
    pub(crate) fn parse(url: &str) -> Result<Self, CliError> {
        let malformed = |part: &str| {
            CliError::usage(format!("--url: {part}"))
                .with_next("write postgres://HOST:PORT/DBNAME?sslmode=verify-full, or use --host, --port and --dbname")
        };
        let rest = url
            .strip_prefix("postgres://")
            .or_else(|| url.strip_prefix("postgresql://"))
            .ok_or_else(|| malformed("it must begin with postgres://"))?;
        if rest.contains('#') {
            return Err(malformed("a fragment (#) means nothing here"));
        }
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (user, location) = match authority.rsplit_once('@') {
            Some((user, location)) => (Some(user), location),
            None => (None, authority),
        };
        if user.is_some_and(|user| user.contains(':')) {
            return Err(password_refused());
        }
        let mut sslmode = None;
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            match key {
                "sslmode" => {
                    sslmode = Some(value.parse().map_err(|error| malformed(&format!("{error}")))?);
                }
                "password" | "passfile" | "sslpassword" => return Err(password_refused()),
                _ => return Err(malformed("of the parameters only sslmode is accepted")),
            }
        }
        let (host, port) = split_port(location).ok_or_else(|| malformed("the port must be 1 to 65535"))?;
        if host.contains(',') || host.is_empty() {
            return Err(malformed("it must name exactly one host"));
        }
        let decode = |text: &str| percent_decode(text).ok_or_else(|| malformed("a %-escape is malformed"));
        let dbname = decode(path)?;
        if dbname.is_empty() {
            return Err(malformed("it must name a database after the host"));
        }
        Ok(Self {
            host: decode(host)?,
            port,
            dbname,
            sslmode,
            username: user.filter(|user| !user.is_empty()).map(decode).transpose()?,
        })
    }
}

fn password_refused() -> CliError {
    CliError::usage("--url holds a password: arguments stand in the shell's history and in the process list").with_next(
        "leave it out of the URL, give it with `nlactl credential set`, and change it if others can see them",
    )
}

/// Splits `host`, `host:port`, `[::1]` and `[::1]:port`; `None` for a bad port.
fn split_port(location: &str) -> Option<(&str, Option<u16>)> {
    let (host, port) = if let Some(rest) = location.strip_prefix('[') {
        let (host, after) = rest.split_once(']')?;
        (host, if after.is_empty() { None } else { Some(after.strip_prefix(':')?) })
    } else {
        match location.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (location, None),
        }
    };
    match port {
        None => Some((host, None)),
        Some(port) => Some((host, Some(port.parse().ok().filter(|port| *port != 0)?))),
    }
}

/// The text behind `%` escapes; `None` for a malformed one.
pub(crate) fn percent_decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        if *first == b'%' {
            let hex = after.get(..2).filter(|hex| hex.iter().all(u8::is_ascii_hexdigit))?;
            bytes.push(u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok()?);
            rest = &after[2..];
        } else {
            bytes.push(*first);
            rest = after;
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepted_urls() {
        let cases = [
            ("postgres://db/shop", "db", None, "shop", None, None),
            ("postgresql://db:5433/shop", "db", Some(5433), "shop", None, None),
            ("postgres://reader@db/shop", "db", None, "shop", None, Some("reader")),
            ("postgres://db/shop?sslmode=verify-ca", "db", None, "shop", Some(SslMode::VerifyCa), None),
            ("postgres://[::1]:5432/shop", "::1", Some(5432), "shop", None, None),
            ("postgres://%2Frun%2Fpostgresql/a%20b", "/run/postgresql", None, "a b", None, None),
        ];
        for (url, host, port, dbname, sslmode, username) in cases {
            let expected = PostgresUrl {
                host: host.into(),
                port,
                dbname: dbname.into(),
                sslmode,
                username: username.map(Into::into),
            };
            assert_eq!(PostgresUrl::parse(url).unwrap(), expected, "{url}");
        }
    }

    #[test]
    fn refused_urls_are_never_repeated() {
        let cases = [
            ("postgres://u:hunter2@db/shop", "password"),
            ("postgres://db/shop?password=hunter2", "password"),
            ("postgres://hunter2,other/shop", "one host"),
            ("mysql://hunter2/shop", "postgres://"),
            ("postgres://hunter2", "database"),
            ("postgres://hunter2:0/shop", "port"),
            ("postgres://hunter2:99999/shop", "port"),
            ("postgres://db/shop?sslmode=hunter2", "sslmode"),
            ("postgres://db/shop?application_name=hunter2", "sslmode"),
            ("postgres://db/hunter2%zz", "escape"),
            ("postgres://[hunter2/shop", "port"),
            ("postgres://db/shop#hunter2", "fragment"),
            ("postgres:///shop", "one host"),
        ];
        for (url, part) in cases {
            let text = crate::exit::message(&PostgresUrl::parse(url).unwrap_err());
            assert!(text.contains(part), "{url}: {text}");
            assert!(!text.contains("hunter2"), "{url}: {text}");
        }
    }
}
