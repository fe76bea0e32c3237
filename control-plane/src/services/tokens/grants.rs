//! What a new token may do: read from a request, and checked against what there
//! is to be granted.

use nla_domain::{
    id::{DatabaseName, RoleName},
    label::Labels,
    token::{Staleness, TokenLimits},
};
use nla_proto::{
    convert::{self, LimitsOrDefault},
    failure::Failure,
    v1,
};

use super::{
    super::change::{parse, text},
    labels,
    life::Life,
};
use crate::{config::TokenPolicy, store::State};

/// Names in one token.
const MAX_NAMES: usize = 100;

/// What a new token may do, read from a request.
pub(super) struct Grants {
    pub(super) owner: String,
    pub(super) purpose: String,
    pub(super) roles: Vec<RoleName>,
    pub(super) databases: Vec<DatabaseName>,
    pub(super) life: Life,
    pub(super) labels: Labels,
    pub(super) allowed_cidrs: Vec<ipnet::IpNet>,
    pub(super) staleness: Staleness,
    pub(super) limits: TokenLimits,
}

impl Grants {
    pub(super) fn read(policy: &TokenPolicy, request: v1::CreateTokenRequest) -> Result<Self, Failure> {
        text("owner", &request.owner, 1, 200)?;
        text("purpose", &request.purpose, 1, 200)?;
        if request.roles.is_empty() {
            return Err(Failure::invalid("roles", "name at least one role: without one a token can do nothing"));
        }
        Ok(Self {
            owner: request.owner,
            purpose: request.purpose,
            roles: all("roles", &request.roles)?,
            databases: all("databases", &request.databases)?,
            life: Life::read(policy, request.lifetime.as_ref(), request.never_expires)?,
            labels: labels(request.labels)?,
            allowed_cidrs: all("allowed_cidrs", &request.allowed_cidrs)?,
            staleness: match v1::Staleness::try_from(request.staleness) {
                Ok(v1::Staleness::Unspecified) => Staleness::default(),
                _ => convert::from_staleness("staleness", request.staleness)?,
            },
            limits: LimitsOrDefault::try_from(request.limits)?.0,
        })
    }

    /// Whether all that it names is there.
    pub(super) fn check(&self, state: &State) -> Result<(), Failure> {
        for role in &self.roles {
            if !state.roles.contains_key(role) {
                return Err(Failure::not_found("role", role.as_str()).with_field("roles"));
            }
        }
        for database in &self.databases {
            if !state.databases.contains_key(database) {
                return Err(Failure::not_found("database", database.as_str()).with_field("databases"));
            }
            let opened = |role: &RoleName| state.roles.get(role).is_some_and(|role| role.value.opens(database));
            if !self.roles.iter().any(opened) {
                let message = format!("none of the token's roles opens the database {database}");
                return Err(Failure::invalid("databases", message));
            }
        }
        Ok(())
    }
}

/// Parses a list without repetitions.
pub(super) fn all<T>(field: &str, texts: &[String]) -> Result<Vec<T>, Failure>
where
    T: std::str::FromStr<Err: std::fmt::Display> + PartialEq,
{
    if texts.len() > MAX_NAMES {
        return Err(Failure::invalid(field, format!("{field} may have at most {MAX_NAMES} entries")));
    }
    let mut found = Vec::with_capacity(texts.len());
    for (at, text) in texts.iter().enumerate() {
        let value = parse(&format!("{field}[{at}]"), text)?;
        if !found.contains(&value) {
            found.push(value);
        }
    }
    Ok(found)
}
