//! What one statement, one token and one crash may cost the others: a real edge
//! over real sockets in front of a real PostgreSQL, watched by a superuser's
//! session. Each file is one promise; each test has a system of its own.

#![expect(clippy::unwrap_used, reason = "what the tests share fails like a test")]

mod bench;
mod bombs;
mod cancels;
mod crashes;
mod names;
mod neighbours;
mod sizes;
mod state;
mod unstoppable;
