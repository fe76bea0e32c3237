//! Who may call what. One table ([`rules`]) and one layer (`layer`) in front
//! of all services: a method without a rule cannot be called by anyone, and a
//! service finds its [`Caller`] already proven.

mod caller;
mod layer;
mod refusals;
pub mod rules;
mod slots;

pub use caller::Caller;
pub(crate) use caller::EDGE_REPLACED;
pub(crate) use layer::{AuthorizationLayer, Gate, Listener};
pub(crate) use refusals::Refusals;
pub(crate) use slots::Slots;
