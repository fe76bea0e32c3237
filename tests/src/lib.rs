pub mod conformance;
pub mod leaks;
pub mod load;
pub mod programs;
pub mod traces;
pub mod traffic;
