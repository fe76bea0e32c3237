//! Tokens by what they have in common, as options of a command.

use clap::Args;
use nla_domain::id::{DatabaseName, RoleName};
use nla_proto::v1;

use crate::exit::CliError;

/// All conditions that are given have to hold.
#[derive(Debug, Args)]
pub(super) struct Selector {
    /// All tokens of this owner
    #[arg(long, group = "which", conflicts_with = "all_matching")]
    owner: Option<String>,
    /// All tokens with this role
    #[arg(long, group = "which", conflicts_with = "all_matching")]
    role: Option<RoleName>,
    /// All tokens that may use this database
    #[arg(long, group = "which", conflicts_with = "all_matching")]
    database: Option<DatabaseName>,
    /// The same as one text: owner=...,role=...,database=...
    #[arg(long, group = "which", value_name = "CONDITIONS")]
    all_matching: Option<String>,
}

impl Selector {
    /// What was asked for; `None` when it was nothing.
    ///
    /// # Errors
    /// [`CliError::Usage`] when the text cannot be read.
    pub(super) fn filter(&self) -> Result<Option<v1::TokenFilter>, CliError> {
        if let Some(text) = &self.all_matching {
            return read(text).map(Some);
        }
        let text = |name: Option<String>| name.unwrap_or_default();
        let filter = v1::TokenFilter {
            owner: text(self.owner.clone()),
            role: text(self.role.as_ref().map(ToString::to_string)),
            database: text(self.database.as_ref().map(ToString::to_string)),
            ..Default::default()
        };
        Ok((filter != v1::TokenFilter::default()).then_some(filter))
    }
}

fn read(text: &str) -> Result<v1::TokenFilter, CliError> {
    let mut filter = v1::TokenFilter::default();
    for condition in text.split(',') {
        let malformed = || {
            let message = format!("{condition:?} is no condition: write owner=..., role=... or database=...");
            CliError::usage(message).with_next("for example --all-matching 'owner=etl,database=shop'")
        };
        let (name, value) = condition.split_once('=').ok_or_else(malformed)?;
        let place = match name.trim() {
            "owner" => &mut filter.owner,
            "role" => &mut filter.role,
            "database" => &mut filter.database,
            _ => return Err(malformed()),
        };
        // A second one, or none at all, must not widen what is meant.
        if !place.is_empty() || value.trim().is_empty() {
            return Err(malformed());
        }
        value.trim().clone_into(place);
    }
    Ok(filter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions() {
        let filter = read("owner=etl, database=shop").unwrap();
        assert_eq!((filter.owner.as_str(), filter.database.as_str(), filter.role.as_str()), ("etl", "shop", ""));
        for malformed in ["", "etl", "owner=", "owner=a,owner=b", "owner=a,", "colour=red", "owner=a,,role=b"] {
            assert!(read(malformed).is_err(), "{malformed:?}");
        }
    }
}
