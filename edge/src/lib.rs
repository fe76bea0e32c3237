
pub mod mcp;
