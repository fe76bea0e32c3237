//! The edge's way to PostgreSQL, on a real server: values, limits, ends,
//! containment and TLS. It calls the tools in process; the snapshot is made
//! here, without a control plane.

mod bench;
mod containment;
mod ends;
mod limits;
mod login;
mod tools;
mod values;
