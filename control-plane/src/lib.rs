//! The control plane of NLA: what is stored, who may change it, and how edges
//! hear of it.

mod allowance;
pub mod app;
pub mod authz;
pub mod config;
pub mod crypto;
pub mod init;
mod key_rotation;
pub mod pki;
mod postgres;
mod redacted;
mod rotation;
mod services;
mod sources;
pub mod store;
mod stream;
mod tasks;
mod uses;
