//! Parsers for options with a fixed list of values. They name the values in
//! `--help`, in refusals and in shell completion.

use clap::builder::{PossibleValuesParser, TypedValueParser};
use nla_domain::{
    audit::Outcome,
    database::{RolePolicy, SslMode},
    operator::Level,
    role::{SqlAudit, Tool},
};

fn one_of<T>(all: &'static [T], name: fn(T) -> &'static str) -> impl TypedValueParser<Value = T>
where
    T: Copy + Send + Sync + 'static,
{
    let names: Vec<_> = all.iter().map(|value| name(*value)).collect();
    PossibleValuesParser::new(names).map(move |text| {
        let found = all.iter().copied().find(|value| name(*value) == text);
        found.expect("clap lets only the listed names pass")
    })
}

const SSL_MODES: [SslMode; 4] = [SslMode::Disable, SslMode::Require, SslMode::VerifyCa, SslMode::VerifyFull];

/// Operator levels.
pub(crate) fn level() -> impl TypedValueParser<Value = Level> {
    one_of(&Level::ALL, Level::as_str)
}

/// Tools of an edge.
pub(crate) fn tool() -> impl TypedValueParser<Value = Tool> {
    one_of(&Tool::ALL, Tool::as_str)
}

/// How much of a statement the audit log keeps.
pub(crate) fn sql_audit() -> impl TypedValueParser<Value = SqlAudit> {
    one_of(&SqlAudit::ALL, SqlAudit::as_str)
}

/// TLS modes towards PostgreSQL.
pub(crate) fn sslmode() -> impl TypedValueParser<Value = SslMode> {
    one_of(&SSL_MODES, SslMode::as_str)
}

/// What is done about a database role that may do more than read.
pub(crate) fn role_policy() -> impl TypedValueParser<Value = RolePolicy> {
    one_of(&RolePolicy::ALL, RolePolicy::as_str)
}

/// How a call ended.
pub(crate) fn outcome() -> impl TypedValueParser<Value = Outcome> {
    one_of(&Outcome::ALL, Outcome::as_str)
}
