//! What edges follow: the published state ([`published`]), who follows it
//! ([`registry`]) and one stream to one edge ([`session`]). The state is
//! encoded once per revision, and a slow or dead edge delays nobody else.

mod encode;
mod items;
mod probe;
mod published;
mod publisher;
mod registry;
mod session;
mod tombstones;

pub(crate) use published::Published;
pub(crate) use publisher::Publisher;
pub(crate) use registry::{Connected, Registry};
pub(crate) use session::{Session, SyncContext};
