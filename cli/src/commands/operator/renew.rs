//! A new certificate for the caller: key and request made here, tried with a
//! call of their own, and only then put in the place of the old files. The old
//! certificate ends last, so that no failure on the way locks the caller out.

use std::time::Duration;

use nla_domain::clock::{SystemClock, WallClock as _};
use nla_proto::v1::{self, operators_client::OperatorsClient, system_client::SystemClient};
use zeroize::Zeroizing;

use super::enrol;
use crate::{
    args::Globals,
    context::{self, Context, Staged},
    exit::CliError,
    output::{Output, views::operator::Renewal},
    session::Session,
};

/// Renews; with `within` only when the certificate ends by then.
///
/// # Errors
/// [`CliError`] says whether the old files are still in use.
pub(super) async fn renew(globals: &Globals, output: &Output, within: Option<Duration>) -> Result<(), CliError> {
    let (entry, folder) = Context::locate(globals)?;
    let context = Context::load(&entry, &folder)?;
    if within.is_some_and(|within| context.expires_at > SystemClock.now().plus(within)) {
        return output.result(&Renewal::new(&context.operator, false, context.expires_at));
    }
    let session = Session::to(&context, globals.timeout)?;
    let key = enrol::new_key()?;
    let request = v1::RenewOperatorRequest { idempotency_key: session.key(), csr_pem: enrol::signing_request(&key)? };
    let answer = session
        .call("renew the certificate", request, async |channel, request| {
            OperatorsClient::new(channel).renew(request).await
        })
        .await?;

    let key_pem = Zeroizing::new(key.serialize_pem());
    let staged = Staged::write(&entry, &folder, answer.certificate_pem.as_bytes(), key_pem.as_bytes())?;
    let renewed = Context::load(&staged.entry(&entry), &folder)?;
    let session = Session::to(&renewed, globals.timeout)?;
    session
        .call("use the new certificate, so the old one stays", v1::StatusRequest {}, async |channel, request| {
            SystemClient::new(channel).status(request).await
        })
        .await?;
    // First: with these authorities the old pair works as well as the new one.
    context::put_authorities(&entry, &folder, &answer.ca_bundle_pem)?;
    staged.install()?;

    let request = v1::FinishRenewalRequest { idempotency_key: session.key() };
    let finished = session
        .call("end the old certificate", request, async |channel, request| {
            OperatorsClient::new(channel).finish_renewal(request).await
        })
        .await;
    output.result(&Renewal::new(&renewed.operator, true, renewed.expires_at))?;
    finished.map(drop).map_err(|source| {
        CliError::local(
            format!("the new certificate is in place, and the old one stays valid until {}", context.expires_at),
            source,
        )
        .with_next("run `nlactl operator renew` again, which ends it")
    })
}
