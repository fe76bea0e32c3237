//! Database credentials that change while agents work: no call fails, nothing
//! of a password shows, and whatever goes wrong leaves a state that says what
//! to do.

#![expect(clippy::unwrap_used, reason = "what the tests share fails like a test")]

mod bench;
mod failures;
mod interrupted;
mod rotation;
mod schedule;
mod sources;
mod traffic;
