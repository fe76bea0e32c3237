//! Backups with the real programs: the drill (`drill`), and processes that are
//! killed in the middle (`killed`).

#[path = "../programs/binaries.rs"]
mod binaries;
mod drill;
mod killed;
#[path = "../programs/plane.rs"]
#[allow(dead_code, reason = "the tests of the programs use the rest")]
mod plane;
#[path = "../programs/process.rs"]
#[allow(dead_code, reason = "the tests of the programs use the rest")]
mod process;
