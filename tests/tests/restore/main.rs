//! Backups with the real programs: the drill (`drill`), processes that are
//! killed in the middle (`killed`), and docs/backup.md (`page`).
#![expect(clippy::unwrap_used, reason = "a test may end at the first surprise")]

mod drill;
mod killed;
mod page;
