pub mod conformance;
pub mod load;
pub mod traces;
