//! What bad input gets from a real edge and a real control plane: a clear
//! answer or a closed connection, and never anything lost. After each piece of
//! it the next good request is answered, and in the end every good request is
//! in the audit log. All loops are bounded, and nothing leaves loopback.
#![expect(clippy::unwrap_used, reason = "a test may end at the first surprise")]

mod bench;
mod control_plane;
mod flood;
mod guard_corpus;
mod raw;
mod requests;
mod secrets;
mod slow;
mod wire;
