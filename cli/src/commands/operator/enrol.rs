//! A new operator's folder: key and request made here, certificate fetched, and
//! a context that works at once. Nothing stays behind when a step fails.

use std::{path::Path, time::Duration};

use nla_domain::{id::OperatorName, operator::Level};
use nla_proto::{
    convert, files,
    v1::{self, operators_client::OperatorsClient},
};
use zeroize::Zeroizing;

use crate::{
    commands::wire_span,
    context::{CONFIG_FILE, ConfigFile, Entry},
    exit::CliError,
    output::views::operator::{NewOperator, Operator},
    session::Session,
};

const KEY: &str = "operator.key";
const CERTIFICATE: &str = "operator.crt";
const CA: &str = "ca.crt";

/// Removes the folder again unless the operator was created.
struct Folder<'a> {
    path: &'a Path,
    keep: bool,
}

impl Drop for Folder<'_> {
    fn drop(&mut self) {
        if !self.keep {
            // We made it, and nobody else knows it yet.
            let _ = std::fs::remove_dir_all(self.path);
        }
    }
}

/// Creates the operator and writes its folder.
///
/// # Errors
/// [`CliError`] when the folder exists or cannot be written, or when the
/// control plane refuses.
pub(super) async fn create(
    session: &Session,
    name: &OperatorName,
    level: Level,
    out: &Path,
    lifetime: Option<Duration>,
) -> Result<NewOperator, CliError> {
    if out.symlink_metadata().is_ok() {
        return Err(CliError::usage(format!("{} exists already and is not written into", out.display()))
            .with_next("name a folder that does not exist yet"));
    }
    files::create_private_dir(out).map_err(|source| CliError::local("cannot make the folder", source))?;
    let mut folder = Folder { path: out, keep: false };
    let write = |file: &str, bytes: &[u8], private: bool| {
        let path = out.join(file);
        let result = if private { files::write_private(&path, bytes) } else { files::write_public(&path, bytes) };
        result.map_err(|source| CliError::local("cannot write the operator's folder", source))
    };

    let key = new_key()?;
    write(KEY, Zeroizing::new(key.serialize_pem()).as_bytes(), true)?;
    let request = v1::CreateOperatorRequest {
        idempotency_key: session.key(),
        name: name.to_string(),
        level: convert::level(level).into(),
        csr_pem: signing_request(&key)?,
        lifetime: wire_span(lifetime),
    };
    let answer = session
        .call(&format!("create operator {name}"), request, async |channel, request| {
            OperatorsClient::new(channel).create(request).await
        })
        .await?;
    write(CERTIFICATE, answer.certificate_pem.as_bytes(), false)?;
    write(CA, answer.ca_bundle_pem.as_bytes(), false)?;
    let entry = Entry {
        name: name.to_string(),
        url: session.url().to_owned(),
        certificate: CERTIFICATE.into(),
        key: KEY.into(),
        ca: CA.into(),
    };
    let config = ConfigFile { current_context: Some(name.to_string()), contexts: vec![entry] };
    config.write(&out.join(CONFIG_FILE))?;
    folder.keep = true;
    Ok(NewOperator { operator: Operator::from_wire(answer.operator.unwrap_or_default()), config_dir: out.to_owned() })
}

/// A key for an operator's certificate.
pub(super) fn new_key() -> Result<rcgen::KeyPair, CliError> {
    rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)
        .map_err(|source| CliError::local("cannot make a key", source))
}

/// The control plane decides all names, so the request carries none.
pub(super) fn signing_request(key: &rcgen::KeyPair) -> Result<String, CliError> {
    let unnamed = |source: rcgen::Error| CliError::local("cannot make a certificate request", source);
    let mut params = rcgen::CertificateParams::new(Vec::new()).map_err(unnamed)?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.serialize_request(key).and_then(|request| request.pem()).map_err(unnamed)
}
