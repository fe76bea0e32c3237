//! Contexts: which control plane, and as whom. They stand in `config.yaml` of
//! one folder, as `nla-control-plane init` and `nlactl operator create` write
//! it. This file finds the folder and picks the context; `file` reads and writes.

mod file;
mod pair;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use nla_domain::clock::Timestamp;
use nla_proto::tls::{
    Identity, Roots, TlsError,
    client::ClientTls,
    peer::{Peer, PeerCertificate},
};

use crate::{args::Globals, exit::CliError, output::relative};

pub(crate) use self::{
    file::{ConfigFile, Entry},
    pair::Staged,
};

/// The file with the contexts, in a configuration folder.
pub(crate) const CONFIG_FILE: &str = "config.yaml";

/// A context that is ready to connect with.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) url: String,
    pub(crate) tls: ClientTls,
    /// The name in the certificate.
    pub(crate) operator: String,
    /// When the certificate ends.
    pub(crate) expires_at: Timestamp,
}

/// From then on each command reminds of the renewal.
const REMIND_WITHIN: Duration = Duration::from_secs(30 * 24 * 3600);

/// Where the contexts are.
#[derive(Debug, Clone)]
pub(crate) struct ConfigDir(PathBuf);

impl ConfigDir {
    /// The folder that `--config-dir`, `NLA_CONFIG_DIR` or the system's
    /// conventions name.
    ///
    /// # Errors
    /// When there is not even a home folder.
    pub(crate) fn find(globals: &Globals) -> Result<Self, CliError> {
        let variable = |name: &str| std::env::var_os(name).map(PathBuf::from);
        locate(globals.config_dir.clone(), variable("XDG_CONFIG_HOME"), variable("HOME")).map(Self).ok_or_else(|| {
            CliError::usage("there is no home folder to look for contexts in")
                .with_next("name a folder with --config-dir")
        })
    }

    /// The file with the contexts.
    pub(crate) fn file(&self) -> PathBuf {
        self.0.join(CONFIG_FILE)
    }

    /// The folder itself.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

/// `given` already holds the flag or `NLA_CONFIG_DIR`.
fn locate(given: Option<PathBuf>, xdg: Option<PathBuf>, home: Option<PathBuf>) -> Option<PathBuf> {
    let filled = |path: &PathBuf| !path.as_os_str().is_empty();
    // The XDG specification has relative paths ignored.
    let xdg = xdg.filter(|path| path.is_absolute());
    given
        .filter(filled)
        .or_else(|| xdg.map(|path| path.join("nla")))
        .or_else(|| home.filter(filled).map(|path| path.join(".config/nla")))
}

impl Context {
    /// The context that the options name, with its key and certificates read.
    ///
    /// # Errors
    /// [`CliError`] says which file or name is at fault.
    pub(crate) fn resolve(globals: &Globals) -> Result<Self, CliError> {
        let (entry, folder) = Self::locate(globals)?;
        Self::load(&entry, &folder)
    }

    /// The entry that the options name, and the folder that its paths count from.
    pub(crate) fn locate(globals: &Globals) -> Result<(Entry, PathBuf), CliError> {
        let dir = ConfigDir::find(globals)?;
        let config = ConfigFile::read(&dir.file())?;
        let entry = config.choose(globals.context.as_deref(), &dir.file())?;
        Ok((entry.clone(), dir.path().to_owned()))
    }

    /// Reads what an entry names; relative paths count from `folder`.
    pub(crate) fn load(entry: &Entry, folder: &Path) -> Result<Self, CliError> {
        pair::settle(entry, folder)?;
        let unusable = |source| CliError::local(format!("context {:?} cannot be used", entry.name), source);
        let identity = Identity::load(&folder.join(&entry.certificate), &folder.join(&entry.key)).map_err(unusable)?;
        let ca = nla_proto::files::read_public(&folder.join(&entry.ca)).map_err(|error| unusable(error.into()))?;
        let roots = Roots::from_pem(&ca).map_err(unusable)?;
        let tls = ClientTls::new(&identity, &roots).map_err(unusable)?;
        let own = identity.chain().first().ok_or_else(|| unusable(TlsError::Identity("there is no certificate")))?;
        let certificate = PeerCertificate::from_der(own).map_err(unusable)?;
        let operator = match certificate.peer {
            Peer::Operator(name) => name.to_string(),
            Peer::Edge(_) | Peer::ControlPlane => {
                return Err(unusable(TlsError::Identity("it is no operator's")));
            }
        };
        Ok(Self { url: entry.url.clone(), tls, operator, expires_at: certificate.not_after })
    }

    /// What to tell whose certificate ends soon, or has ended.
    pub(crate) fn reminder(&self, now: Timestamp) -> Option<String> {
        let Self { operator, expires_at, .. } = self;
        if *expires_at > now.plus(REMIND_WITHIN) {
            return None;
        }
        let when = relative(*expires_at, now);
        Some(if *expires_at > now {
            format!("Your certificate expires {when}: renew it with `nlactl operator renew`.")
        } else {
            format!(
                "Your certificate expired {when}: on the control plane's machine, `nla-control-plane operator-certificate {operator} --out DIR` makes a new one for an admin; admins make the others anew."
            )
        })
    }
}

/// Replaces the authorities that a context trusts by those that the control
/// plane has told, in one step.
///
/// # Errors
/// [`CliError::Local`]; those before are still there.
pub(crate) fn put_authorities(entry: &Entry, folder: &Path, bundle_pem: &str) -> Result<(), CliError> {
    // An older control plane tells none.
    if bundle_pem.is_empty() {
        return Ok(());
    }
    Roots::from_pem(bundle_pem.as_bytes())
        .map_err(|source| CliError::local("the control plane's authorities cannot be used", source))?;
    nla_proto::files::write_public(&folder.join(&entry.ca), bundle_pem.as_bytes())
        .map_err(|source| CliError::local("cannot write the authorities", source))
}

/// The same, unless they are there already. Answers whether they were not.
///
/// # Errors
/// [`CliError::Local`]; those before are still there.
pub(crate) fn refresh_authorities(entry: &Entry, folder: &Path, bundle_pem: &str) -> Result<bool, CliError> {
    let present = std::fs::read(folder.join(&entry.ca)).ok();
    if bundle_pem.is_empty() || present.is_some_and(|present| present == bundle_pem.as_bytes()) {
        return Ok(false);
    }
    put_authorities(entry, folder, bundle_pem).map(|()| true)
}

#[cfg(test)]
mod tests;
