//! Whether an operator who opened a stream may still read from it.

use std::sync::Arc;

use nla_domain::{error::ErrorKind, id::OperatorName};
use nla_proto::failure::Failure;

use super::Context;
use crate::authz::Caller;

/// The reader of a stream.
pub(super) struct Standing {
    context: Arc<Context>,
    reader: OperatorName,
    serial: Vec<u8>,
}

impl Standing {
    pub(super) fn of(context: &Arc<Context>, caller: &Caller) -> Result<Self, Failure> {
        let (reader, _) = caller.operator()?;
        Ok(Self { context: Arc::clone(context), reader: reader.clone(), serial: caller.serial().to_owned() })
    }

    /// A stream may be older than its reader's dismissal, or than the end of
    /// the certificate that it was opened with.
    pub(super) fn check(&self) -> Result<(), Failure> {
        let state = self.context.store.state();
        match state.operators.get(&self.reader) {
            Some(operator) if operator.value.revoked.is_none() => {
                let refuse = |message| Err(Failure::new(ErrorKind::PermissionDenied, message));
                match operator.value.held(&self.serial) {
                    None => refuse("this operator's certificate was replaced by another one"),
                    Some(held) if held.not_after <= self.context.clock.now() => {
                        refuse("this operator's certificate has expired")
                    }
                    Some(_) => Ok(()),
                }
            }
            _ => Err(Failure::new(ErrorKind::PermissionDenied, "this operator was revoked")),
        }
    }
}
