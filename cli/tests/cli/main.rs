//! Runs the real `nlactl` from outside: alone (`local`), against a server that
//! misbehaves as planned (`awkward`), and against a real control plane (`flow`,
//! `renewal`, and `operations`, which runs docs/operations.md).

#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod awkward;
mod check;
mod control_plane;
mod flow;
mod local;
mod operations;
mod renewal;
mod server;
mod support;
mod tokens;
