//! The rotation of many tokens: the plan, and what came of it.

use std::path::PathBuf;

use nla_domain::secret::Secret;
use serde::{Serialize, Serializer};

use crate::output::{Cell, Show, Table};

/// Which tokens are to be replaced.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Plan {
    pub(crate) tokens: Vec<Planned>,
    pub(crate) skipped: Vec<Skipped>,
    /// A run that was begun before goes on.
    pub(crate) begun_before: bool,
}

/// One that is.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Planned {
    pub(crate) id: String,
    pub(crate) owner: String,
    pub(crate) purpose: String,
}

/// One that fits and is not.
#[derive(Debug, Serialize)]
pub(crate) struct Skipped {
    pub(crate) id: String,
    pub(crate) why: String,
}

impl Plan {
    /// The plan of a run that was begun before.
    pub(crate) fn again(tokens: Vec<String>) -> Self {
        let tokens = tokens.into_iter().map(|id| Planned { id, ..Default::default() }).collect();
        Self { tokens, skipped: vec![], begun_before: true }
    }

    /// The tokens to be replaced.
    pub(crate) fn ids(&self) -> Vec<String> {
        self.tokens.iter().map(|token| token.id.clone()).collect()
    }

    /// A line for each token, and how many there are.
    pub(crate) fn lines(&self) -> Vec<String> {
        let (count, skipped) = (self.tokens.len(), self.skipped.len());
        if self.begun_before {
            return vec![format!("A rotation of {count} tokens that was begun before goes on.")];
        }
        let planned = self.tokens.iter().map(|token| format!("  {}  {}  {}", token.id, token.owner, token.purpose));
        let left_out = self.skipped.iter().map(|token| format!("  {}  skipped: {}", token.id, token.why));
        let total = format!("{count} tokens to replace, {skipped} skipped");
        planned.chain(left_out).chain([total]).collect()
    }
}

impl Show for Plan {
    fn table(&self) -> Table {
        let table = self.tokens.iter().fold(Table::list(["ID", "OWNER", "PURPOSE", "PLAN"]), |table, token| {
            table.row([
                Cell::whole(&token.id),
                Cell::text(&token.owner),
                Cell::text(&token.purpose),
                Cell::text("replace"),
            ])
        });
        let table = self.skipped.iter().fold(table, |table, token| {
            table.row([Cell::whole(&token.id), Cell::text("-"), Cell::text("-"), Cell::text(&token.why)])
        });
        table.line(format_args!("{} tokens to replace, {} skipped", self.tokens.len(), self.skipped.len()))
    }

    fn essence(&self) -> Vec<String> {
        self.ids()
    }
}

/// What came of a rotation of many tokens.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Rotated {
    pub(crate) tokens: Vec<RotatedToken>,
    pub(crate) skipped: Vec<Skipped>,
    pub(crate) failed: Vec<Failed>,
    /// Not tried any more.
    pub(crate) left: Vec<String>,
    /// Edges that did not confirm the end of the old tokens in time.
    pub(crate) unconfirmed: Vec<String>,
}

/// A new token.
#[derive(Debug, Default, Serialize)]
pub(crate) struct RotatedToken {
    /// Empty when it was made by the run before.
    pub(crate) id: String,
    pub(crate) predecessor: String,
    #[serde(serialize_with = "exposed")]
    pub(crate) token_text: Option<Secret>,
    pub(crate) token_file: Option<PathBuf>,
}

/// A token that could not be replaced.
#[derive(Debug, Serialize)]
pub(crate) struct Failed {
    pub(crate) id: String,
    pub(crate) error: String,
}

/// Shown for the only time.
fn exposed<S: Serializer>(secret: &Option<Secret>, serializer: S) -> Result<S::Ok, S::Error> {
    match secret {
        Some(secret) => serializer.serialize_str(secret.expose()),
        None => serializer.serialize_none(),
    }
}

impl Show for Rotated {
    fn table(&self) -> Table {
        let table = self.tokens.iter().fold(Table::list(["OLD", "NEW", "FILE"]), |table, token| {
            let file = token.token_file.as_ref().map(|file| file.display().to_string()).unwrap_or_default();
            table.row([Cell::whole(&token.predecessor), super::or_dash(&token.id), Cell::text(file)])
        });
        let table = self.failed.iter().fold(table, |table, failed| {
            table.row([Cell::whole(&failed.id), Cell::text("-"), Cell::text(format_args!("failed: {}", failed.error))])
        });
        table.line(format_args!(
            "{} replaced, {} skipped, {} failed, {} left",
            self.tokens.len(),
            self.skipped.len(),
            self.failed.len(),
            self.left.len()
        ))
    }

    fn essence(&self) -> Vec<String> {
        self.tokens
            .iter()
            .filter_map(|token| token.token_file.as_ref())
            .map(|file| file.display().to_string())
            .collect()
    }
}
