//! Decides whether a piece of SQL only reads: SQL text + [`Rules`] ->
//! [`CheckedSql`] | [`Refusal`]. Pure and synchronous; the edge's pipeline calls
//! it (through [`Parser`], never on a request worker) before any connection is
//! leased.
//!
//! How a statement is judged, in this order:
//!
//! 1. `prescan` bounds the text in one linear pass, before any parser sees it.
//! 2. `parse` runs PostgreSQL's own grammar and cuts out the one statement.
//! 3. `walk` visits every field of every node against an allow-list; a node
//!    kind that is not named there is refused.
//!
//! Invariant: only [`check()`], [`explain()`] and [`CheckedSql::explained`] make a
//! [`CheckedSql`], so holding one proves that its text was judged.
//!
//! # What this guard takes from its caller
//!
//! The verdict holds for a session with `standard_conforming_strings = on`,
//! `client_encoding = UTF8` and `pg_catalog` searched first, all three set before
//! the statement arrives; and for a server of [`Rules::server_major`].
//!
//! # What it cannot see without catalog facts
//!
//! A name alone does not say which overload, operator or cast the server picks.
//! A function of the database's own that overloads an allowed built-in's name
//! with other argument types, a user-defined operator spelled like a built-in
//! one, a cast with a function, a view or a policy that calls one, and attribute
//! notation over a user's function are judged by name only. The read-only
//! transaction and the rights of the database role contain what those can do.

pub mod catalog;
mod check;
mod checked;
mod explain;
mod fingerprint;
mod functions;
mod operators;
mod parse;
mod parser;
mod prescan;
mod refusal;
mod relations;
mod rules;
mod settings;
mod walk;

pub use catalog::Catalog;
pub use check::{check, check_here};
pub use checked::{CheckedSql, FunctionName, RelationName, StatementKind};
pub use explain::{ExplainFormat, ExplainOptions, explain};
pub use parser::{Parser, ParserConfig, ParserError};
pub use refusal::{Position, Refusal, Rule};
pub use rules::{HARD_MAX_SQL_BYTES, Rules};
