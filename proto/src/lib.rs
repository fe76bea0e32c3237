//! The wire: messages and services generated from `nla/v1/*.proto`, their
//! conversions to and from the domain, errors as gRPC carries them, the mTLS
//! channels and listeners over which all of it travels, and how the programs at
//! both ends of it start.

pub mod backup;
pub mod convert;
pub mod failure;
pub mod files;
pub mod startup;
pub mod tls;

/// Messages, clients and servers of `nla.v1`.
pub mod v1 {
    #![allow(
        clippy::all,
        unreachable_pub,
        missing_debug_implementations,
        rustdoc::invalid_html_tags,
        reason = "generated code"
    )]
    tonic::include_proto!("nla.v1");
}

mod redacted;

/// Encoded `google.protobuf.FileDescriptorSet` of all services, for gRPC
/// reflection and for tests that walk every RPC.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
