//! The two calls of the enrolment service: Join with a join token, Renew with
//! the identity that is held. Invariant: each makes a fresh P-256 key, and what
//! comes back is used only if it is a certificate for that key.

use std::time::Duration;

use nla_domain::{error::ErrorKind, secret::Secret};
use nla_proto::{
    failure::Failure,
    tls::{
        TlsError,
        client::{self, ClientTls},
    },
    v1::{Certificate, JoinRequest, RenewRequest, enrolment_client::EnrolmentClient},
};
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256};
use tokio::time::timeout;
use tonic::{Response, Status};

use super::{Enrolled, IdentityError, token::Token};

/// The control plane signs at once; more than this means that it hangs.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);

struct Request {
    key_pem: Secret,
    csr_pem: String,
}

fn request() -> Result<Request, rcgen::Error> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    // The control plane ignores names in requests; it knows who asks.
    let csr_pem = CertificateParams::default().serialize_request(&key)?.pem()?;
    Ok(Request { key_pem: Secret::new(key.serialize_pem()), csr_pem })
}

/// Spends a join token.
pub(super) async fn join(url: &str, token: &Token) -> Result<Enrolled, IdentityError> {
    let request = request()?;
    let tls = ClientTls::pinned(token.token.ca_pin())?;
    let channel = client::connect(url, &tls).await.map_err(sort)?;
    let message = JoinRequest { join_token: token.token.to_text().expose().to_owned(), csr_pem: request.csr_pem };
    let response = answer(timeout(CALL_TIMEOUT, EnrolmentClient::new(channel).join(message)).await)?;
    let enrolled = accept(request.key_pem, response.certificate, Some(token.hash))?;
    if enrolled.edge_id().as_str() != response.edge_id {
        return Err(TlsError::Identity("it is for another edge than the answer says").into());
    }
    Ok(enrolled)
}

/// A new key and certificate for the same edge.
pub(super) async fn renew(url: &str, tls: &ClientTls, current: &Enrolled) -> Result<Enrolled, IdentityError> {
    let request = request()?;
    let channel = client::connect(url, tls).await.map_err(sort)?;
    let message = RenewRequest { csr_pem: request.csr_pem };
    let response = answer(timeout(CALL_TIMEOUT, EnrolmentClient::new(channel).renew(message)).await)?;
    let enrolled = accept(request.key_pem, response.certificate, current.join_token_hash())?;
    if enrolled.edge_id() != current.edge_id() {
        return Err(TlsError::Identity("it is for another edge").into());
    }
    Ok(enrolled)
}

fn accept(key: Secret, certificate: Option<Certificate>, hash: Option<[u8; 32]>) -> Result<Enrolled, IdentityError> {
    let certificate = certificate.ok_or(TlsError::Identity("there is none in the answer"))?;
    let enrolled = Enrolled::new(key, certificate.chain_pem, certificate.ca_bundle_pem, hash)?;
    // rustls checks that the certificate is for the key.
    let (identity, roots) = enrolled.tls()?;
    ClientTls::new(&identity, &roots)?;
    Ok(enrolled)
}

fn answer<T>(outcome: Result<Result<Response<T>, Status>, tokio::time::error::Elapsed>) -> Result<T, IdentityError> {
    match outcome {
        Ok(Ok(response)) => Ok(response.into_inner()),
        Ok(Err(status)) => Err(sort(Failure::from_status(&status))),
        Err(_) => {
            let text = format!("no answer within {}s", CALL_TIMEOUT.as_secs());
            Err(IdentityError::Unreachable(Failure::new(ErrorKind::TimedOut, text)))
        }
    }
}

fn sort(failure: Failure) -> IdentityError {
    // A server that shows the wrong authority will not show the right one on
    // the next try; everything else about a connection may pass.
    let wrong_server = failure.message.contains("invalid peer certificate");
    match failure.kind {
        ErrorKind::Unavailable | ErrorKind::TimedOut | ErrorKind::Overloaded | ErrorKind::RateLimited
            if !wrong_server =>
        {
            IdentityError::Unreachable(failure)
        }
        _ => IdentityError::Refused(failure),
    }
}
