//! The guard with what a real database holds: functions, operators, types, views
//! and policies that no name in the text gives away.
#![expect(clippy::unwrap_used, reason = "a test may end at the first surprise")]

mod attacks;
mod corpus;
mod edge;
