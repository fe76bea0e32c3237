//! What the system does under load, measured with real processes, sockets and
//! certificates. `src/bin/load.rs` runs one target: a module of this folder with
//! `Arguments` and `run`. Invariant: a figure stands beside a reference of the
//! same run, and every answer that is timed is checked.

pub mod bare;
mod enrol;
pub mod fanout;
mod figures;
mod follower;
mod plane;
