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
//! the statement arrives; and for a server of [`Rules::server_major`] or of the
//! catalog's version.
//!
//! # With a catalog and without
//!
//! A name alone does not say which overload, operator, cast or view the server
//! picks. With [`Rules::catalog`] everything that a name can stand for in the
//! database is judged by what it runs, and the verdict holds under the search path
//! of [`CheckedSql::search_path`]. Without it names alone decide: what PostgreSQL
//! does not ship is refused, and a function of the database's own that shares a
//! name with an allowed one, or is reached without a name, is not seen.

pub mod catalog;
mod check;
mod checked;
mod decided;
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
pub use decided::Decision;
pub use explain::{ExplainFormat, ExplainOptions, explain};
pub use parser::{Parser, ParserConfig, ParserError};
pub use refusal::{Position, Refusal, Rule};
pub use rules::{HARD_MAX_SQL_BYTES, Rules};
