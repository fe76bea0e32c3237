//! A whole NLA on one machine, for the demo and the tests: a private PostgreSQL
//! with sample data, a control plane, edges and a client. Nothing in the other
//! programs depends on it.

mod certificate;
pub mod demo;
pub mod mcp;
pub mod port;
pub mod postgres;
pub mod sample;
pub mod system;
