//! How an operator's certificate is replaced before it ends. `operators`
//! serves it. Two steps, so that no lost answer locks anybody out: a new
//! certificate is issued beside the one in use, and FinishRenewal, or another
//! renewal, called with the new one ends the old. Name and level are the store's.

use std::time::Duration;

use nla_domain::{error::ErrorKind, id::OperatorName};
use nla_proto::{convert, failure::Failure, v1};
use tonic::Request;

use super::{change::Recorder, operators::DEFAULT_LIFETIME, view};
use crate::{
    allowance::Allowances,
    authz::Caller,
    pki::slots,
    store::{CertificateRecord, Draft, OperatorRecord},
};

/// Renewals of one operator before the rate applies, and then. A revision each,
/// and anyone with a certificate may ask.
const BURST: u32 = 10;
const REFILL: Duration = Duration::from_secs(60);

/// Who renews, and with which certificate the call came.
pub(super) struct Renewing {
    pub(super) name: OperatorName,
    serial: Vec<u8>,
}

pub(super) fn allowances() -> Allowances {
    Allowances::new(BURST, REFILL)
}

impl Renewing {
    /// The caller of a request that has passed the gate.
    pub(super) fn of<M>(request: &Request<M>, allowances: &Allowances) -> Result<Self, Failure> {
        let caller = Caller::of(request)?;
        let (name, _) = caller.operator()?;
        if allowances.take(name.as_str()).is_none() {
            let message = "this operator renews too often: wait a minute";
            return Err(Failure::new(ErrorKind::RateLimited, message));
        }
        Ok(Self { name: name.clone(), serial: caller.serial().to_owned() })
    }

    /// The operator, with the certificate of this call as the one in use: what
    /// the gate has seen may have changed since.
    fn present(&self, draft: &Draft<'_>) -> Result<(OperatorRecord, OperatorRecord), Failure> {
        let refuse = |message| Failure::new(ErrorKind::PermissionDenied, message);
        let stored = draft.state().operators.get(&self.name).ok_or_else(|| refuse("this operator does not exist"))?;
        let before = stored.value.clone();
        if before.revoked.is_some() {
            return Err(refuse("this operator was revoked"));
        }
        let replaced = || refuse("this operator's certificate was replaced by another one");
        let held: CertificateRecord = before.held(&self.serial).ok_or_else(replaced)?.clone();
        let next = before.next.clone().filter(|_| held.serial == before.certificate.serial);
        Ok((before.clone(), OperatorRecord { certificate: held, next, ..before }))
    }
}

/// Issues a certificate beside the one of this call.
pub(super) fn renew(
    draft: &mut Draft<'_>,
    recorder: &Recorder,
    caller: &Renewing,
    csr_pem: &str,
) -> Result<v1::RenewOperatorResponse, Failure> {
    let (before, mut record) = caller.present(draft)?;
    let issued = slots::signing(draft.state())?.issue_operator(csr_pem, &caller.name, draft.now(), DEFAULT_LIFETIME)?;
    let expires_at = Some(convert::timestamp(issued.record.not_after));
    record.next = Some(issued.record);
    write(draft, recorder, &before, record);
    let ca_bundle_pem = slots::bundle_pem(draft.state());
    Ok(v1::RenewOperatorResponse { certificate_pem: issued.certificate_pem, expires_at, ca_bundle_pem })
}

/// Ends the certificate before the one of this call.
pub(super) fn finish(
    draft: &mut Draft<'_>,
    recorder: &Recorder,
    caller: &Renewing,
) -> Result<v1::OperatorView, Failure> {
    let (before, record) = caller.present(draft)?;
    if record.next.is_some() {
        let message = "a renewal is finished with the new certificate, and this is the old one";
        return Err(Failure::new(ErrorKind::FailedPrecondition, message));
    }
    if record == before {
        // Done before: a repeat, or nothing was under way.
        let missing = || Failure::not_found("operator", caller.name.as_str());
        let stored = draft.state().operators.get(&caller.name).ok_or_else(missing)?;
        return Ok(view::operator(&record, &stored.meta));
    }
    Ok(write(draft, recorder, &before, record))
}

fn write(
    draft: &mut Draft<'_>,
    recorder: &Recorder,
    before: &OperatorRecord,
    record: OperatorRecord,
) -> v1::OperatorView {
    let (old, new) = (view::operator_json(before), view::operator_json(&record));
    recorder.record(draft, format!("operator/{}", record.name), Some(old), Some(new));
    let meta = draft.put(record.clone());
    view::operator(&record, &meta)
}
