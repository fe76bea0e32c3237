//! What a revocation promises, tried with the real programs: stopped, killed
//! and cut off from each other. From the moment at which the receipt is
//! complete no edge admits a call, whatever has become of it.
#![expect(clippy::unwrap_used, reason = "a test may end at the first surprise")]

#[path = "../programs/binaries.rs"]
mod binaries;
mod chaos;
mod fleet;
mod link;
mod partition;
#[path = "../programs/plane.rs"]
#[expect(dead_code, reason = "the tests of the programs use more of it")]
mod plane;
#[path = "../programs/process.rs"]
mod process;
mod stopped;
