//! Operators: people and robots that administer NLA, and what each level may do.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// What an operator may do. The levels are not a ladder from reading to
/// writing alone: an auditor reads the audit log, which holds what agents
/// asked, and an operator of tokens does not need that.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Sees tokens, roles, databases and edges, never a secret.
    Viewer,
    /// What a viewer sees, and the audit log.
    Auditor,
    /// What a viewer sees; creates and revokes tokens, rotates credentials.
    Operator,
    /// Everything, operators and edges included.
    Admin,
}

impl Level {
    /// All levels, for help texts and tests.
    pub const ALL: [Self; 4] = [Self::Viewer, Self::Auditor, Self::Operator, Self::Admin];

    /// The name on the wire, in certificates and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Auditor => "auditor",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text names no level.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("level must be viewer, auditor, operator or admin")]
pub struct UnknownLevel;

impl FromStr for Level {
    type Err = UnknownLevel;

    fn from_str(text: &str) -> Result<Self, UnknownLevel> {
        Self::ALL.into_iter().find(|level| level.as_str() == text).ok_or(UnknownLevel)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for level in Level::ALL {
            assert_eq!(level.as_str().parse(), Ok(level));
        }
        assert!("root".parse::<Level>().is_err());
    }
}
