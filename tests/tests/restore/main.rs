//! Backups with the real programs: the drill (`drill`), processes that are
//! killed in the middle (`killed`), and docs/backup.md (`page`).
#![expect(clippy::unwrap_used, reason = "a test may end at the first surprise")]

#[path = "../programs/binaries.rs"]
mod binaries;
mod drill;
mod killed;
mod page;
#[path = "../programs/plane.rs"]
#[allow(dead_code, reason = "the tests of the programs use the rest")]
mod plane;
#[path = "../programs/process.rs"]
#[allow(dead_code, reason = "the tests of the programs use the rest")]
mod process;
