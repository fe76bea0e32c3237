//! Values as people type them: times, sizes, choices, labels, selections of
//! tokens, names of exceptions, tables and PostgreSQL URLs.

mod choice;
mod exception;
mod label;
mod life;
mod postgres_url;
mod relation;
mod size;
mod span;
mod token_filter;
mod when;

pub(crate) use self::{
    choice::{level, outcome, role_policy, sql_audit, sslmode, tool},
    exception::{parse_operator, parse_qualified, parse_setting},
    label::parse_label,
    life::{Life, parse_life},
    postgres_url::PostgresUrl,
    relation::{RelationName, parse_name},
    size::{parse_server_size, parse_size},
    span::parse_span,
    token_filter::{TokenFilter, parse_token_filter},
    when::parse_when,
};
