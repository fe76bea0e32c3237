//! The protocol revisions that are served, and which era each belongs to.
//!
//! Invariant: an unknown revision is never treated as one of ours.

use std::fmt;

/// A served revision of the Model Context Protocol, oldest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    V2025_03_26,
    V2025_06_18,
    V2025_11_25,
    V2026_07_28,
}

impl Version {
    /// Newest first: a client takes the first that it knows.
    pub const ALL: [Self; 4] = [Self::V2026_07_28, Self::V2025_11_25, Self::V2025_06_18, Self::V2025_03_26];

    /// Offered to an `initialize` that asks for something else.
    pub const NEWEST_LEGACY: Self = Self::V2025_11_25;

    /// What a request without the header means, from before the header existed.
    pub const ASSUMED: Self = Self::V2025_03_26;

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V2025_03_26 => "2025-03-26",
            Self::V2025_06_18 => "2025-06-18",
            Self::V2025_11_25 => "2025-11-25",
            Self::V2026_07_28 => "2026-07-28",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|v| v.as_str() == text)
    }

    /// No handshake, headers repeated in the body, `resultType` in each result.
    pub const fn is_modern(self) -> bool {
        matches!(self, Self::V2026_07_28)
    }

    pub const fn allows_batches(self) -> bool {
        matches!(self, Self::V2025_03_26)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
