//! The programs as an operator runs them: the real binaries, with files, flags,
//! signals and exit codes.

mod binaries;
mod crash;
mod demo;
mod examples;
mod install;
mod operator;
mod plane;
mod process;
