//! What a database role may do beyond reading, and whether a database's policy
//! lets it be used nevertheless. `look` reads the rows, the pipeline decides by
//! them, and `nlactl database test` shows them.
//! Invariant: a text names rights and schemas, and no host, user or secret; a
//! right that is not known here counts against the role.

use nla_domain::database::RolePolicy;

/// The statement that lists the rights: rows of a kind and a detail.
pub(super) const RIGHTS_SQL: &str = include_str!("rights.sql");

/// The row that holds the server's version instead of a right.
pub(super) const SERVER_VERSION: &str = "server_version";

/// Roles of PostgreSQL's own whose members reach beyond the database, or past
/// the rights on its tables.
const DANGEROUS_ROLES: [&str; 6] = [
    "pg_execute_server_program",
    "pg_read_server_files",
    "pg_write_server_files",
    "pg_signal_backend",
    "pg_write_all_data",
    "pg_create_subscription",
];

/// Functions that amount to one of those roles.
const DANGEROUS_FUNCTIONS: [&str; 12] = [
    "pg_read_file",
    "pg_read_file_old",
    "pg_read_binary_file",
    "pg_stat_file",
    "pg_ls_dir",
    "lo_import",
    "lo_export",
    "pg_file_write",
    "pg_file_rename",
    "pg_file_unlink",
    "pg_reload_conf",
    "dblink_connect_u",
];

/// Names in one text; the rest is counted.
const MOST_NAMES: usize = 5;

/// A right that a reader has no use for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Right {
    /// Nothing holds for it.
    Superuser,
    /// Row-level security does not hold for it.
    BypassRls,
    /// Copies the cluster.
    Replication,
    /// Makes roles.
    CreateRole,
    /// Makes databases.
    CreateDb,
    /// Member of a role that PostgreSQL ships.
    Member,
    /// Owns the database.
    DatabaseOwner,
    /// Makes schemas.
    DatabaseCreate,
    /// Makes temporary tables.
    DatabaseTemp,
    /// Owns schemas.
    SchemaOwner,
    /// Makes objects in schemas.
    SchemaCreate,
    /// Owns relations.
    RelationOwner,
    /// Owns functions.
    FunctionOwner,
    /// Changes rows or relations.
    Write,
    /// Moves sequences.
    Sequence,
    /// Calls functions that are not everybody's.
    Function,
    /// Named by a newer statement than this text.
    Unknown,
}

impl Right {
    fn read(kind: &str) -> Self {
        match kind {
            "superuser" => Self::Superuser,
            "bypassrls" => Self::BypassRls,
            "replication" => Self::Replication,
            "createrole" => Self::CreateRole,
            "createdb" => Self::CreateDb,
            "member" => Self::Member,
            "database_owner" => Self::DatabaseOwner,
            "database_create" => Self::DatabaseCreate,
            "database_temp" => Self::DatabaseTemp,
            "schema_owner" => Self::SchemaOwner,
            "schema_create" => Self::SchemaCreate,
            "relation_owner" => Self::RelationOwner,
            "function_owner" => Self::FunctionOwner,
            "write" => Self::Write,
            "sequence" => Self::Sequence,
            "function" => Self::Function,
            _ => Self::Unknown,
        }
    }

    /// Stable name for audit events.
    pub fn code(self) -> &'static str {
        match self {
            Self::Superuser => "database_role.superuser",
            Self::BypassRls => "database_role.bypassrls",
            Self::Replication => "database_role.replication",
            Self::CreateRole => "database_role.createrole",
            Self::CreateDb => "database_role.createdb",
            Self::Member => "database_role.member",
            Self::DatabaseOwner | Self::SchemaOwner | Self::RelationOwner | Self::FunctionOwner => {
                "database_role.owner"
            }
            Self::DatabaseCreate | Self::SchemaCreate => "database_role.create",
            Self::DatabaseTemp => "database_role.temporary",
            Self::Write | Self::Sequence => "database_role.write",
            Self::Function => "database_role.function",
            Self::Unknown => "database_role.unknown",
        }
    }
}

/// One right that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Which.
    pub right: Right,
    detail: String,
}

impl Finding {
    pub(super) fn read(kind: &str, detail: &str) -> Self {
        Self { right: Right::read(kind), detail: detail.to_owned() }
    }

    /// Whether it reaches beyond the database or past its own protection;
    /// every other right is merely more than a reader needs.
    pub fn is_dangerous(&self) -> bool {
        match self.right {
            Right::Superuser | Right::BypassRls | Right::Replication | Right::CreateRole | Right::Unknown => true,
            Right::Member => DANGEROUS_ROLES.contains(&self.detail.as_str()),
            Right::Function => DANGEROUS_FUNCTIONS.contains(&self.detail.as_str()),
            _ => false,
        }
    }

    /// What the database role is, has or may do: the end of a sentence that
    /// begins with "it".
    pub fn what(&self) -> String {
        let detail = &self.detail;
        let attribute = |name: &str| match detail.as_str() {
            "" => format!("has {name}"),
            _ => format!("may take a role that has {name} (SET ROLE)"),
        };
        match self.right {
            Right::Superuser if detail.is_empty() => "is a superuser".to_owned(),
            Right::Superuser => "may become a superuser (SET ROLE)".to_owned(),
            Right::BypassRls => attribute("BYPASSRLS"),
            Right::Replication => attribute("REPLICATION"),
            Right::CreateRole => attribute("CREATEROLE"),
            Right::CreateDb => attribute("CREATEDB"),
            Right::Member => format!("is a member of {detail}"),
            Right::DatabaseOwner => "owns the database".to_owned(),
            Right::DatabaseCreate => "may create schemas in the database".to_owned(),
            Right::DatabaseTemp => "may create temporary tables".to_owned(),
            Right::SchemaOwner => format!("owns {}", schemas(detail)),
            Right::SchemaCreate => format!("may create objects in {}", schemas(detail)),
            Right::RelationOwner => format!("owns {detail} relations"),
            Right::FunctionOwner => format!("owns {detail} functions"),
            Right::Write => format!("may write to {detail} relations"),
            Right::Sequence => format!("may advance {detail} sequences"),
            Right::Function => format!("may call {detail}()"),
            Right::Unknown => "has a right that this edge does not know".to_owned(),
        }
    }

    /// Why that matters or what takes it away.
    fn remedy(&self) -> String {
        match self.right {
            Right::Superuser => "no limit of PostgreSQL holds for it; give NLA a role of its own".to_owned(),
            Right::BypassRls => "row-level security does not hold for it (ALTER ROLE ... NOBYPASSRLS)".to_owned(),
            Right::Replication => "it can copy the whole cluster (ALTER ROLE ... NOREPLICATION)".to_owned(),
            Right::CreateRole => "it can give itself rights (ALTER ROLE ... NOCREATEROLE)".to_owned(),
            Right::CreateDb => "it can create databases (ALTER ROLE ... NOCREATEDB)".to_owned(),
            Right::Member => format!("REVOKE {} FROM it, or from the role through which it has it", self.detail),
            Right::DatabaseOwner | Right::SchemaOwner | Right::RelationOwner | Right::FunctionOwner => {
                "an owner can change and drop what it owns; give NLA a role that owns nothing".to_owned()
            }
            Right::DatabaseCreate => "REVOKE CREATE ON DATABASE ...".to_owned(),
            Right::DatabaseTemp => "REVOKE TEMPORARY ON DATABASE ... FROM PUBLIC".to_owned(),
            Right::SchemaCreate => "REVOKE CREATE ON SCHEMA ..., also FROM PUBLIC".to_owned(),
            Right::Write => "REVOKE all but SELECT".to_owned(),
            Right::Sequence => "REVOKE USAGE, UPDATE ON SEQUENCE ...".to_owned(),
            Right::Function => "REVOKE EXECUTE ON FUNCTION ...".to_owned(),
            Right::Unknown => "use an edge of this release's version or later".to_owned(),
        }
    }

    /// A line for the operator.
    pub fn warning(&self) -> String {
        format!("the database role {}: {}", self.what(), self.remedy())
    }
}

fn schemas(names: &str) -> String {
    let all: Vec<&str> = names.split(", ").collect();
    let more = match all.len().saturating_sub(MOST_NAMES) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let word = if all.len() == 1 { "schema" } else { "schemas" };
    format!("{word} {}{more}", all[..all.len().min(MOST_NAMES)].join(", "))
}

/// What a superuser is a member of or may write to says nothing more.
pub(super) fn essential(mut findings: Vec<Finding>) -> Vec<Finding> {
    if let Some(at) = findings.iter().position(|finding| finding.right == Right::Superuser) {
        findings = vec![findings.swap_remove(at)];
    }
    // What is refused is to be read first.
    findings.sort_by_key(|finding| !finding.is_dangerous());
    findings
}

/// The findings for which the policy refuses the database role.
pub fn refused(policy: RolePolicy, findings: &[Finding]) -> Vec<&Finding> {
    let counts = |finding: &&Finding| match policy {
        RolePolicy::RefuseSuperuser => finding.is_dangerous(),
        RolePolicy::Refuse => true,
        RolePolicy::Warn => false,
    };
    findings.iter().filter(counts).collect()
}

/// The refused findings in one line.
pub fn summary(refused: &[&Finding]) -> String {
    let mut text = refused.iter().take(MOST_NAMES).map(|finding| finding.what()).collect::<Vec<_>>().join("; it ");
    if refused.len() > MOST_NAMES {
        text.push_str(&format!("; and {} more", refused.len() - MOST_NAMES));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(kind: &str, detail: &str) -> Finding {
        Finding::read(kind, detail)
    }

    #[test]
    fn each_policy_refuses_its_own() {
        let cases = [
            (finding("superuser", ""), true),
            (finding("superuser", "by SET ROLE"), true),
            (finding("bypassrls", ""), true),
            (finding("replication", ""), true),
            (finding("createrole", "by SET ROLE"), true),
            (finding("member", "pg_execute_server_program"), true),
            (finding("member", "pg_write_all_data"), true),
            (finding("function", "pg_read_file"), true),
            (finding("of a later release", ""), true),
            (finding("createdb", ""), false),
            (finding("member", "pg_monitor"), false),
            (finding("member", "pg_maintain"), false),
            (finding("function", "pg_stat_reset"), false),
            (finding("database_owner", ""), false),
            (finding("database_create", ""), false),
            (finding("database_temp", ""), false),
            (finding("schema_owner", "shop"), false),
            (finding("schema_create", "public"), false),
            (finding("relation_owner", "3"), false),
            (finding("function_owner", "1"), false),
            (finding("write", "3"), false),
            (finding("sequence", "1"), false),
        ];
        for (finding, dangerous) in cases {
            let of = |policy| refused(policy, std::slice::from_ref(&finding)).len() == 1;
            assert_eq!(finding.is_dangerous(), dangerous, "{finding:?}");
            assert_eq!(of(RolePolicy::RefuseSuperuser), dangerous, "{finding:?}");
            assert!(of(RolePolicy::Refuse) && !of(RolePolicy::Warn), "{finding:?}");
            assert!(finding.right.code().starts_with("database_role."));
            assert!(finding.warning().len() > finding.what().len() + 20, "{}", finding.warning());
        }
    }

    #[test]
    fn a_superuser_is_only_that_and_dangers_come_first() {
        let found = essential(vec![finding("database_temp", ""), finding("superuser", ""), finding("write", "7")]);
        assert_eq!(found, [finding("superuser", "")]);
        let found = essential(vec![finding("write", "7"), finding("bypassrls", ""), finding("member", "pg_monitor")]);
        assert_eq!(found[0].right, Right::BypassRls);
        let all: Vec<&Finding> = found.iter().collect();
        assert_eq!(summary(&all), "has BYPASSRLS; it may write to 7 relations; it is a member of pg_monitor");
    }

    #[test]
    fn long_lists_are_cut() {
        let text = finding("schema_create", "a, b, c, d, e, f, g").what();
        assert_eq!(text, "may create objects in schemas a, b, c, d, e and 2 more");
    }
}
