//! The SQLSTATE values that the edge acts on (PostgreSQL manual, appendix A),
//! and what each class means for a caller. Used by `error` and `connect`.

use super::wire::Reported;

/// 57014: cancelled by a timeout or by a request to cancel.
pub(crate) const QUERY_CANCELED: &str = "57014";
/// 55P03: `lock_timeout` passed.
pub(crate) const LOCK_NOT_AVAILABLE: &str = "55P03";
/// 28P01: wrong password.
pub(crate) const INVALID_PASSWORD: &str = "28P01";
/// 28000: no entry in `pg_hba.conf`, or a role that may not log in.
pub(crate) const INVALID_AUTHORIZATION: &str = "28000";
/// 3D000: no database of that name.
pub(crate) const INVALID_CATALOG_NAME: &str = "3D000";
/// 53300: `max_connections` or the role's own limit is reached.
pub(crate) const TOO_MANY_CONNECTIONS: &str = "53300";
/// 57P03: starting up, shutting down or in recovery.
pub(crate) const CANNOT_CONNECT_NOW: &str = "57P03";

/// No such relation, function, type or operator, column, schema: what the
/// guard knew of the database may be out of date.
const UNDEFINED: [&str; 5] = ["42P01", "42883", "42704", "42703", "3F000"];

/// Whether PostgreSQL did not find something that a statement names.
pub(crate) fn is_undefined(code: &str) -> bool {
    UNDEFINED.contains(&code)
}

/// 08P01: what PgBouncer says to a start-up message that it cannot take.
const PROTOCOL_VIOLATION: &str = "08P01";

/// True when a pooler refuses a login for its `options`. PgBouncer has a code of
/// its own for it, others only words.
pub(crate) fn refuses_options(reported: &Reported) -> bool {
    let message = reported.message.to_ascii_lowercase();
    let names = |word: &str| message.contains(word);
    reported.code == PROTOCOL_VIOLATION
        || (reported.fatal && (names("startup parameter") || names("option") || names("default_transaction_read_only")))
}

/// What an error says about, judged by the first two characters of its code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// The caller's statement: its message may be shown.
    Statement,
    /// The server has no room for it now.
    Resources,
    /// The server or the connection is going away.
    Connection,
    /// The inside of the server: its message may name files, hosts or other
    /// sessions and stays out of the answer.
    Server,
}

/// The class of a code. A class that is not named here is the server's own
/// affair, so that no message gets out by default.
pub(crate) fn class(code: &str) -> Class {
    match code.get(..2).unwrap_or("") {
        "0A" | "20" | "21" | "22" | "23" | "24" | "25" | "26" | "2F" | "34" | "38" | "39" | "3F" | "40" | "42"
        | "44" | "54" | "55" | "P0" => Class::Statement,
        "53" => Class::Resources,
        "08" | "28" | "3D" => Class::Connection,
        // Of class 57 only the cancellation is about the statement.
        "57" if code == QUERY_CANCELED => Class::Statement,
        "57" => Class::Connection,
        _ => Class::Server,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes() {
        let cases = [
            ("42P01", Class::Statement),
            ("22012", Class::Statement),
            ("57014", Class::Statement),
            ("57P01", Class::Connection),
            ("53200", Class::Resources),
            ("58P01", Class::Server),
            ("HV000", Class::Server),
            ("XX000", Class::Server),
            ("", Class::Server),
            ("é", Class::Server),
        ];
        for (code, expected) in cases {
            assert_eq!(class(code), expected, "{code}");
        }
    }
}
