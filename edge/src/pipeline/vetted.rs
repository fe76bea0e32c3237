//! Gate 5: what this edge knows of the database, and whether the database's
//! policy lets its database role be used. Made for each call that reaches a
//! database.
//! Invariant: only [`Vetted::of`] makes one, so that nothing is judged or run
//! under a database role whose rights are not known or not allowed.

use std::sync::Arc;

use nla_domain::{database::Database, error::ErrorKind, policy::Grant};

use super::{Failure, permit::Permit};
use crate::pg::{self, Finding, Inspected, Inspector};

/// A permit for a database whose role is known and allowed.
#[derive(Debug)]
pub(super) struct Vetted {
    permit: Permit,
    known: Arc<Inspected>,
}

impl Vetted {
    pub(super) async fn of(permit: Permit, inspector: &Inspector) -> Result<Self, Failure> {
        let known = inspector.facts(permit.grant()).await.map_err(|error| Failure::of_database(&error))?;
        allow(permit.grant(), &known)?;
        Ok(Self { permit, known })
    }

    /// Puts newer knowledge in place of the old.
    pub(super) fn renew(&mut self, known: Arc<Inspected>) -> Result<(), Failure> {
        allow(self.permit.grant(), &known)?;
        self.known = known;
        Ok(())
    }

    pub(super) fn permit(&self) -> &Permit {
        &self.permit
    }

    pub(super) fn grant(&self) -> &Grant {
        self.permit.grant()
    }

    pub(super) fn known(&self) -> &Arc<Inspected> {
        &self.known
    }
}

fn allow(grant: &Grant, known: &Inspected) -> Result<(), Failure> {
    let refused = pg::refused(grant.database.role_policy, &known.findings);
    let Some(first) = refused.first() else { return Ok(()) };
    let hint = "No statement will be run until that is mended. Tell the operator of this service.";
    let mut failure = Failure::new(ErrorKind::DatabaseRoleRefused, refusal(&grant.database, &refused)).with_hint(hint);
    failure.rule = Some(first.right.code());
    Err(failure)
}

/// What is wrong with the database role, and what the operator does about it.
pub(super) fn refusal(database: &Database, refused: &[&Finding]) -> String {
    let (name, policy) = (&database.name, database.role_policy);
    format!(
        "the database {name} is not used, because NLA's database role for it is more than its role policy \
         ({policy}) allows: it {}. Operator: `nlactl database grant-sql {name}` prints the statements that make a \
         database role which only reads; set it with `nlactl credential set {name}`",
        pg::summary(refused)
    )
}
