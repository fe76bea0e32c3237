//! What a revocation promises, tried with the real programs: stopped, killed
//! and cut off from each other. From the moment at which the receipt is
//! complete no edge admits a call, whatever has become of it.
#![expect(clippy::unwrap_used, reason = "a test may end at the first surprise")]

mod chaos;
mod fleet;
mod link;
mod partition;
mod stopped;
