//! What a role lets through that the guard refuses otherwise: functions,
//! relations, operators and settings by name. The guard compares these names
//! with the catalog's own, letter by letter, so their form is checked here, where
//! an operator can still be told; conversions and `nlactl` call it.

use super::Role;

/// Names in one list. A role that needs more than this wants a database role
/// with fewer rights instead.
pub const MAX_NAMES: usize = 100;
/// PostgreSQL's `NAMEDATALEN` less its terminator.
const MAX_NAME_BYTES: usize = 63;
/// What an operator's name may consist of (PostgreSQL manual, 4.1.3).
const OPERATOR_CHARACTERS: &str = "+-*/<>=~!@#%^&|`?";

/// Why a list of exceptions was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidException {
    /// Too many.
    #[error("{0} may hold at most {MAX_NAMES} names")]
    Count(&'static str),
    /// A name that cannot be what was meant.
    #[error("{value:?} {problem}")]
    Name {
        /// The list.
        field: &'static str,
        /// Place in the list, from 0.
        at: usize,
        /// The name's beginning.
        value: String,
        /// What it must be.
        problem: Malformed,
    },
}

impl InvalidException {
    /// The field that an error response points at, such as `functions[2]`.
    pub fn field(&self) -> String {
        match self {
            Self::Count(field) => (*field).to_owned(),
            Self::Name { field, at, .. } => format!("{field}[{at}]"),
        }
    }
}

/// What a name must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// A function or a relation.
    #[error(
        "must be schema.name as the catalog spells it: one dot, no quotes, no arguments, each part at most \
         {MAX_NAME_BYTES} bytes"
    )]
    Qualified,
    /// An operator.
    #[error("must be an operator's name alone, such as <% or @@@: at most {MAX_NAME_BYTES} of {OPERATOR_CHARACTERS}")]
    Operator,
    /// A setting.
    #[error("must be a setting's name in lower case, such as work_mem or shop.region")]
    Setting,
}

/// Checks the name of a function or of a relation.
///
/// # Errors
/// [`Malformed`] says what it must be.
pub fn check_qualified(text: &str) -> Result<(), Malformed> {
    let part = |part: &str| {
        let wrong = |c: char| c.is_control() || matches!(c, '.' | '"' | '(' | ')');
        !part.is_empty() && part.len() <= MAX_NAME_BYTES && !part.contains(wrong) && part.trim() == part
    };
    // A name that holds a dot itself could be read in two ways.
    match text.split_once('.') {
        Some((schema, name)) if part(schema) && part(name) => Ok(()),
        _ => Err(Malformed::Qualified),
    }
}

/// Checks an operator's name.
///
/// # Errors
/// [`Malformed`] says what it must be.
pub fn check_operator(text: &str) -> Result<(), Malformed> {
    let fits = (1..=MAX_NAME_BYTES).contains(&text.len());
    let comment = text.contains("--") || text.contains("/*");
    if fits && !comment && text.chars().all(|c| OPERATOR_CHARACTERS.contains(c)) {
        return Ok(());
    }
    Err(Malformed::Operator)
}

/// Checks a setting's name.
///
/// # Errors
/// [`Malformed`] says what it must be.
pub fn check_setting(text: &str) -> Result<(), Malformed> {
    let part = |part: &str| {
        let first = |c: char| c.is_ascii_lowercase() || c == '_';
        part.starts_with(first) && part.chars().all(|c| first(c) || c.is_ascii_digit() || c == '$')
    };
    if text.len() <= MAX_NAME_BYTES && text.split('.').all(part) { Ok(()) } else { Err(Malformed::Setting) }
}

impl Role {
    /// Checks the four lists of exceptions.
    ///
    /// # Errors
    /// [`InvalidException`] names the list and the place in it.
    pub fn validate(&self) -> Result<(), InvalidException> {
        type Check = fn(&str) -> Result<(), Malformed>;
        let lists: [(&'static str, &[String], Check); 4] = [
            ("functions", &self.functions, check_qualified),
            ("relations", &self.relations, check_qualified),
            ("operators", &self.operators, check_operator),
            ("settings", &self.settings, check_setting),
        ];
        for (field, names, check) in lists {
            if names.len() > MAX_NAMES {
                return Err(InvalidException::Count(field));
            }
            for (at, name) in names.iter().enumerate() {
                let value = || name.chars().take(80).collect();
                check(name).map_err(|problem| InvalidException::Name { field, at, value: value(), problem })?;
            }
        }
        Ok(())
    }

    /// True when no list names anything.
    pub fn is_without_exceptions(&self) -> bool {
        [&self.functions, &self.relations, &self.operators, &self.settings].iter().all(|names| names.is_empty())
    }

    /// This role with the exceptions of the other one as well.
    #[must_use]
    pub fn with_exceptions_of(mut self, other: &Self) -> Self {
        let add = |names: &mut Vec<String>, more: &[String]| {
            let new: Vec<_> = more.iter().filter(|name| !names.contains(name)).cloned().collect();
            names.extend(new);
        };
        add(&mut self.functions, &other.functions);
        add(&mut self.relations, &other.relations);
        add(&mut self.operators, &other.operators);
        add(&mut self.settings, &other.settings);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::role::SqlAudit;

    fn role() -> Role {
        Role {
            name: "r".parse().unwrap(),
            description: String::new(),
            databases: vec![],
            tools: vec![],
            allow_explain_analyze: false,
            max_rows: None,
            sql_audit: SqlAudit::Full,
            functions: vec![],
            relations: vec![],
            operators: vec![],
            settings: vec![],
        }
    }

    #[test]
    fn forms() {
        let long = "x".repeat(64);
        let qualified = [
            ("shop.total", true),
            ("pg_catalog.pg_stat_activity", true),
            ("Shop.Order Items", true),
            ("läden.größe", true),
            ("total", false),
            ("shop.", false),
            (".total", false),
            ("a.b.c", false),
            ("\"Shop\".total", false),
            ("shop.total(int)", false),
            ("shop. total", false),
            ("shop.to\ntal", false),
            ("", false),
        ];
        for (text, accepted) in qualified {
            assert_eq!(check_qualified(text).is_ok(), accepted, "{text:?}");
        }
        assert!(check_qualified(&format!("s.{}", &long[1..])).is_ok());
        assert!(check_qualified(&format!("s.{long}")).is_err());
        let operators = [
            ("<%", true),
            ("@@@", true),
            ("", false),
            ("like", false),
            ("shop.+", false),
            ("< %", false),
            ("--", false),
            ("/*", false),
        ];
        for (text, accepted) in operators {
            assert_eq!(check_operator(text).is_ok(), accepted, "{text:?}");
        }
        let settings = [
            ("work_mem", true),
            ("shop.region", true),
            ("Work_Mem", false),
            ("1x", false),
            ("a..b", false),
            ("", false),
            ("a b", false),
            ("ü", false),
        ];
        for (text, accepted) in settings {
            assert_eq!(check_setting(text).is_ok(), accepted, "{text:?}");
        }
    }

    #[test]
    fn a_refusal_names_list_and_place() {
        let names = |list: &[&str]| list.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let cases = [
            (Role { functions: names(&["a.b", "c"]), ..role() }, "functions[1]"),
            (Role { relations: names(&["a"]), ..role() }, "relations[0]"),
            (Role { operators: names(&["<", "x"]), ..role() }, "operators[1]"),
            (Role { settings: names(&["X"]), ..role() }, "settings[0]"),
            (Role { operators: vec!["<".into(); MAX_NAMES + 1], ..role() }, "operators"),
        ];
        for (role, field) in cases {
            assert_eq!(role.validate().unwrap_err().field(), field);
        }
        assert_eq!(Role { operators: vec!["<".into(); MAX_NAMES], ..role() }.validate(), Ok(()));
    }

    #[test]
    fn exceptions_add_up() {
        let a = Role { functions: vec!["s.f".into()], settings: vec!["x".into()], ..role() };
        let b = Role { functions: vec!["s.f".into(), "s.g".into()], operators: vec!["<%".into()], ..role() };
        let both = a.with_exceptions_of(&b);
        assert_eq!(both.functions, ["s.f", "s.g"]);
        assert_eq!((both.operators, both.settings), (vec!["<%".to_owned()], vec!["x".to_owned()]));
    }
}
