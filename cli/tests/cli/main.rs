//! Runs the real `nlactl` from outside: alone (`local`) and against a server
//! that misbehaves as planned (`awkward`).

mod awkward;
mod local;
mod server;
mod support;
