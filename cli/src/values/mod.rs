//! Values as people type them: times, sizes, choices and PostgreSQL URLs.

mod choice;
mod postgres_url;
mod size;
mod span;
mod when;

pub(crate) use self::{
    choice::{level, outcome, sql_audit, sslmode, tool},
    postgres_url::PostgresUrl,
    size::parse_size,
    span::parse_span,
    when::parse_when,
};
