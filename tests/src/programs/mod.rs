//! The programs as an operator runs them: the real binaries, with files, flags,
//! signals and exit codes. Several suites start, kill and restart them.
#![expect(clippy::unwrap_used, reason = "what tests share fails like a test")]

pub mod binaries;
pub mod plane;
pub mod process;
