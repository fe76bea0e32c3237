pub mod conformance;
pub mod traces;
