//! What edges follow: the published state ([`published`]), who follows it
//! ([`registry`]), one stream to one edge ([`session`]), what is known of an
//! edge beyond its streams ([`known`]) and the proof that a revision holds on
//! all of them ([`receipt`]). The state is encoded once per revision, and a
//! slow or dead edge delays nobody else.

mod bucket;
#[cfg(test)]
mod candidates;
mod commits;
mod encode;
mod items;
mod known;
mod probe;
mod published;
mod publisher;
mod receipt;
mod registry;
mod session;
mod tombstones;

pub(crate) use published::Published;
pub(crate) use publisher::Publisher;
pub(crate) use registry::{Began, Connected, Registry};
pub(crate) use session::{Session, SyncContext};
