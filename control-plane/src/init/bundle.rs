//! What the first operator gets: certificate, key, authorities and a
//! configuration for `nlactl`; and the control plane's configuration file.

use std::{net::IpAddr, path::Path};

use nla_proto::{
    files::{self, FileError},
    startup::Format,
};
use serde::Serialize;
use zeroize::Zeroizing;

use crate::{
    config::{Config, ConfigError},
    pki::Issued,
};

/// A fresh key and the request for its certificate.
pub(super) struct OperatorKey {
    key_pem: Zeroizing<String>,
    csr_pem: String,
}

impl OperatorKey {
    pub(super) fn generate() -> Result<Self, rcgen::Error> {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
        // The authority ignores names in the request.
        let csr = rcgen::CertificateParams::default().serialize_request(&key)?;
        Ok(Self { key_pem: Zeroizing::new(key.serialize_pem()), csr_pem: csr.pem()? })
    }

    pub(super) fn csr_pem(&self) -> &str {
        &self.csr_pem
    }
}

/// `config.yaml` as `nlactl` reads it.
#[derive(Serialize)]
struct Contexts<'a> {
    current_context: &'a str,
    contexts: [Context<'a>; 1],
}

#[derive(Serialize)]
struct Context<'a> {
    name: &'a str,
    url: &'a str,
    certificate: &'a str,
    key: &'a str,
    ca: &'a str,
}

/// Writes the bundle's folder.
pub(super) fn write(
    folder: &Path,
    issued: &Issued,
    ca_pem: &str,
    key: &OperatorKey,
    url: &str,
) -> Result<(), FileError> {
    files::create_private_dir(folder)?;
    files::write_private(&folder.join("operator.key"), key.key_pem.as_bytes())?;
    files::write_public(&folder.join("operator.crt"), issued.certificate_pem.as_bytes())?;
    files::write_public(&folder.join("ca.crt"), ca_pem.as_bytes())?;
    write_operator_config(folder, url)
}

/// Writes `config.yaml` into an operator's folder, with this URL of the
/// control plane. Also for those who learn the port only after the start.
///
/// # Errors
/// When the file cannot be written.
///
/// # Panics
/// Never: plain texts always serialise.
pub fn write_operator_config(folder: &Path, url: &str) -> Result<(), FileError> {
    let context = Context { name: "default", url, certificate: "operator.crt", key: "operator.key", ca: "ca.crt" };
    let contexts = Contexts { current_context: "default", contexts: [context] };
    let yaml = serde_yaml_ng::to_string(&contexts).expect("plain texts serialise");
    files::write_private(&folder.join("config.yaml"), yaml.as_bytes())
}

/// Where operators reach the control plane: its address, or, when it listens
/// on all of them, the first of its names.
pub(super) fn url(config: &Config) -> String {
    let ip = config.listen.ip();
    let host = match config.names.first() {
        Some(name) if ip.is_unspecified() => name.clone(),
        None if ip.is_unspecified() => "localhost".to_owned(),
        _ => ip.to_string(),
    };
    let host = if host.parse::<IpAddr>().is_ok_and(|ip| ip.is_ipv6()) { format!("[{host}]") } else { host };
    format!("https://{host}:{}", config.listen.port())
}

/// The control plane's configuration file, in the form of its ending.
///
/// # Errors
/// [`ConfigError::Format`] when the ending is none that can be read back.
///
/// # Panics
/// Never: plain values always serialise.
pub(super) fn configuration(config: &Config, path: &Path) -> Result<String, ConfigError> {
    #[derive(Serialize)]
    struct File<'a> {
        data_dir: String,
        key_file: String,
        listen: String,
        enrolment_listen: String,
        names: &'a [String],
        trust_domain: &'a str,
    }
    let file = File {
        data_dir: config.data_dir.to_string_lossy().into_owned(),
        key_file: config.key_file.to_string_lossy().into_owned(),
        listen: config.listen.to_string(),
        enrolment_listen: config.enrolment_listen.to_string(),
        names: &config.names,
        trust_domain: &config.trust_domain,
    };
    let text = match Format::of(path)? {
        Format::Yaml => serde_yaml_ng::to_string(&file).expect("plain values serialise"),
        Format::Toml => toml::to_string(&file).expect("plain values serialise"),
    };
    Ok(format!("# Configuration of nla-control-plane. Every other key has a default.\n{text}"))
}
