
pub mod conformance;
