//! Values as people type them: times, sizes, choices, names of exceptions,
//! tables and PostgreSQL URLs.

mod choice;
mod exception;
mod postgres_url;
mod relation;
mod size;
mod span;
mod when;

pub(crate) use self::{
    choice::{level, outcome, role_policy, sql_audit, sslmode, tool},
    exception::{parse_operator, parse_qualified, parse_setting},
    postgres_url::{PostgresUrl, percent_decode},
    relation::{RelationName, parse_name},
    size::{parse_server_size, parse_size},
    span::parse_span,
    when::parse_when,
};
