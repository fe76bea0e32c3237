//! Which functions only compute, by name: the allow-list generated from
//! PostgreSQL 14 to 18 (`builtin.txt`, see `tools/`) and the reviewed refusals
//! (`refused.txt`). Called by `walk` for each call and each attribute that may
//! be one. Invariant: a name that stands in neither list is not built-in.

use std::collections::HashMap;
use std::sync::LazyLock;

/// What the lists know about a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// A built-in of this server that only computes.
    Allowed,
    /// Does more than compute.
    Refused(Class),
    /// Not a built-in of this server.
    Unknown,
}

macro_rules! classes {
    ($($name:ident = $word:literal, $does:literal, $hint:literal;)+) => {
        /// Why a function is refused.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Class {
            $($name,)+
        }

        impl Class {
            fn parse(word: &str) -> Option<Self> {
                match word {
                    $($word => Some(Self::$name),)+
                    _ => None,
                }
            }

            /// Completes "the function f() ...".
            pub(crate) fn does(self) -> &'static str {
                match self {
                    $(Self::$name => $does,)+
                }
            }

            pub(crate) fn hint(self) -> &'static str {
                match self {
                    $(Self::$name => $hint,)+
                }
            }
        }
    };
}

classes! {
    Extension = "extension", "belongs to an extension and reaches beyond the query", "Remove the call; query tables and views directly with SELECT, and pivot with count(*) FILTER (WHERE ...).";
    File = "file", "reads files of the database server or tells where they are", "Remove the call; only tables and views can be queried.";
    Internal = "internal", "is for PostgreSQL's own use", "Remove the call; query tables and views directly with SELECT.";
    LargeObject = "large_object", "works on large objects", "Remove the call; large objects cannot be used here.";
    Lock = "lock", "takes or shows locks", "Remove the call; no lock is needed to read.";
    Notify = "notify", "sends or shows notifications", "Remove the call; nothing can be notified from here.";
    Query = "query", "runs SQL that is given as text or as a name", "Write the inner query directly in the statement, for example as a sub-select.";
    Replication = "replication", "works on replication", "Remove the call; replication cannot be used here.";
    Sequence = "sequence", "reads or advances a sequence", "Remove the call; to see the largest value in use, select max(column) from the table.";
    Server = "server", "shows or changes the server's configuration or state", "Remove the call; SHOW server_version and version() tell the version.";
    Session = "session", "shows or ends other sessions", "Remove the call; other sessions can neither be seen nor ended from here.";
    Setting = "setting", "changes a setting of the session", "Remove the call; settings cannot be changed from here.";
    Sleep = "sleep", "only waits", "Remove the call.";
    Snapshot = "snapshot", "exports a snapshot", "Remove the call.";
    Source = "source", "shows the source of functions", "Use pg_get_function_arguments() and pg_get_function_result() for a function's signature.";
    Statistics = "statistics", "shows or resets statistics of the server", "For tables and indexes select from pg_stat_user_tables or pg_stat_user_indexes instead.";
    Upgrade = "upgrade", "is for upgrades of the server", "Remove the call.";
    Wal = "wal", "works on the write-ahead log or on backups", "Remove the call.";
    Write = "write", "assigns or inspects transaction numbers", "Use pg_current_snapshot() if you need a snapshot's numbers.";
    Xml = "xml", "can run for minutes without a way to stop it", "Select the XML value as it is and take it apart on your side.";
}

struct Lists {
    /// First and last major version that ships the name.
    builtin: HashMap<&'static str, (u16, u16)>,
    refused: HashMap<&'static str, Class>,
}

static LISTS: LazyLock<Lists> = LazyLock::new(|| Lists {
    builtin: lines(include_str!("builtin.txt"))
        .filter_map(|line| {
            let mut part = line.split(' ');
            let name = part.next()?;
            Some((name, (part.next()?.parse().ok()?, part.next()?.parse().ok()?)))
        })
        .collect(),
    refused: lines(include_str!("refused.txt"))
        .filter_map(|line| {
            let (name, class) = line.split_once(' ')?;
            Some((name, Class::parse(class)?))
        })
        .collect(),
});

fn lines(text: &'static str) -> impl Iterator<Item = &'static str> {
    text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'))
}

/// Judges a name that is unqualified or qualified by `pg_catalog`.
pub(crate) fn verdict(name: &str, server_major: u16) -> Verdict {
    if let Some(class) = refused(name) {
        return Verdict::Refused(class);
    }
    match LISTS.builtin.get(name) {
        Some((since, until)) if (*since..=*until).contains(&server_major.clamp(14, 18)) => Verdict::Allowed,
        _ => Verdict::Unknown,
    }
}

/// Whether any supported version ships an allowed built-in of that name.
pub(crate) fn is_builtin(name: &str) -> bool {
    LISTS.builtin.contains_key(name)
}

/// Whether a refused name is one of PostgreSQL's own functions, rather than an
/// extension's or one that only looks like them.
pub(crate) fn is_builtin_refusal(name: &str) -> bool {
    LISTS.refused.get(name).is_some_and(|class| *class != Class::Extension)
}

/// The class of a name that is refused wherever it stands.
pub(crate) fn refused(name: &str) -> Option<Class> {
    if let Some(class) = LISTS.refused.get(name) {
        return Some(*class);
    }
    // Whole families, so that a member that nobody listed is caught as well.
    const FAMILIES: &[(&str, Class)] = &[
        ("binary_upgrade_", Class::Upgrade),
        ("dblink", Class::Extension),
        ("crosstab", Class::Extension),
        ("lo_", Class::LargeObject),
        ("pg_read_", Class::File),
        ("pg_ls_", Class::File),
        ("pg_file_", Class::File),
        ("pg_advisory_", Class::Lock),
        ("pg_try_advisory_", Class::Lock),
        ("pg_stat_", Class::Statistics),
        ("pg_replication_", Class::Replication),
        ("pg_logical_", Class::Replication),
        ("pg_terminate_", Class::Session),
        ("pg_cancel_", Class::Session),
        ("pg_sleep", Class::Sleep),
    ];
    FAMILIES.iter().find(|(prefix, _)| name.starts_with(prefix)).map(|(_, class)| *class)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_lists_is_read() {
        assert_eq!(LISTS.builtin.len(), lines(include_str!("builtin.txt")).count());
        assert_eq!(LISTS.refused.len(), lines(include_str!("refused.txt")).count());
    }

    #[test]
    fn no_name_stands_in_both_lists() {
        for name in LISTS.builtin.keys() {
            assert_eq!(refused(name), None, "{name}");
        }
    }

    #[test]
    fn what_a_newer_server_ships_is_unknown_on_an_older_one() {
        assert_eq!(verdict("any_value", 15), Verdict::Unknown);
        assert_eq!(verdict("any_value", 16), Verdict::Allowed);
        assert_eq!(verdict("uuidv7", 18), Verdict::Allowed);
        assert_eq!(verdict("lower", 14), Verdict::Allowed);
        assert_eq!(verdict("path_center", 15), Verdict::Unknown);
    }
}
