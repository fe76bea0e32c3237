//! The control plane of NLA: what is stored, who may change it, and how edges
//! hear of it.

pub mod crypto;
pub mod pki;
pub mod store;
