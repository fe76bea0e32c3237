//! The programs as an operator runs them: the real binaries, with files, flags,
//! signals and exit codes.
#![expect(clippy::unwrap_used, reason = "a test may end at the first surprise")]

mod crash;
mod credentials;
mod demo;
mod examples;
mod install;
mod key_rotation;
mod operator;
mod rotation;
