//! Makes a control plane: key, store, certificate authority, first operator
//! and configuration. Called by `nla-control-plane init` and by whoever wants
//! one in process. Nothing that exists is overwritten, and when a step fails
//! what was made before it is removed.

mod bundle;
mod kek;
mod recover;
mod undo;

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use aws_lc_rs::rand;
use nla_domain::{
    clock::{SystemClock, WallClock},
    id::OperatorName,
    operator::Level,
    pepper::Peppers,
    secret::Key32,
    snapshot::Settings,
};
use nla_proto::{
    failure::Failure,
    files::{self, FileError},
    v1,
};

use crate::{
    config::{Config, ConfigError, Overrides, StalenessBounds, beside},
    crypto::{Kek, KekError},
    pki::{Authority, PkiError},
    store::{CaSlot, Draft, OperatorRecord, Store, StoreError, StoreOptions},
};

pub use bundle::write_operator_config;
pub use kek::{RotateKekError, rotate_kek};
pub use recover::{RecoverError, RecoverOptions, Recovered, operator_certificate};
use undo::Made;

/// Lifetime of the first operator's certificate. Until there is a second admin
/// it is the only way in over the network, so it is the longest that any gets.
const OPERATOR_LIFETIME: Duration = Duration::from_secs(365 * 24 * 3600);

/// What to make, and where.
#[derive(Debug, Clone)]
pub struct InitOptions {
    /// Folder of the store; must not exist or be empty.
    pub data_dir: PathBuf,
    /// File for the key-encryption key; `<data_dir>.kek` when `None`.
    pub key_file: Option<PathBuf>,
    /// Folder for the first operator's bundle; `<data_dir>-operator` when `None`.
    pub operator_dir: Option<PathBuf>,
    /// Configuration file. One that exists is read and kept; one that does not
    /// is written. None is written when `None`.
    pub config: Option<PathBuf>,
    /// The first operator's name.
    pub operator: OperatorName,
    /// Trust domain; that of the configuration, or the default, when `None`.
    pub trust_domain: Option<String>,
    /// Names of the server; those of the configuration, or the default, when empty.
    pub names: Vec<String>,
}

impl InitOptions {
    /// The defaults for a data folder: operator `admin`, no configuration file.
    ///
    /// # Panics
    /// Never: the default name is a valid one.
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            key_file: None,
            operator_dir: None,
            config: None,
            operator: "admin".parse().expect("the default name is valid"),
            trust_domain: None,
            names: Vec::new(),
        }
    }
}

/// What was made.
#[derive(Debug, Clone)]
pub struct InitReport {
    /// Starts this control plane: pass it to [`crate::app::build`].
    pub config: Config,
    /// The first operator's bundle.
    pub operator_dir: PathBuf,
    /// The configuration file, and whether it was written now.
    pub config_file: Option<(PathBuf, bool)>,
}

impl fmt::Display for InitReport {
    /// What was made and what to do next.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let config = &self.config;
        writeln!(f, "Made a control plane:")?;
        writeln!(f, "  data       {}", config.data_dir.display())?;
        writeln!(
            f,
            "  key        {}  (without it the data cannot be read: keep a copy elsewhere)",
            config.key_file.display()
        )?;
        writeln!(
            f,
            "  operator   {}  (certificate and key of the first operator: keep private)",
            self.operator_dir.display()
        )?;
        if let Some((path, written)) = &self.config_file {
            let note = if *written { "" } else { "  (was there and is unchanged)" };
            writeln!(f, "  config     {}{note}", path.display())?;
        }
        writeln!(f, "\nNext:")?;
        match &self.config_file {
            Some((path, _)) => writeln!(f, "  nla-control-plane --config {}", path.display())?,
            None => writeln!(f, "  nla-control-plane --data-dir {}", config.data_dir.display())?,
        }
        writeln!(f, "  export NLA_CONFIG_DIR={}", self.operator_dir.display())?;
        writeln!(f, "  nlactl system status")?;
        writeln!(f, "  nlactl edge join-token edge-1")
    }
}

/// Why nothing was made.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// Something is already there.
    #[error("{} exists: init overwrites nothing; choose another place", .0.display())]
    Exists(PathBuf),
    /// The folder above does not exist.
    #[error("the folder {} does not exist: create it first", .0.display())]
    NoParent(PathBuf),
    /// The existing configuration is another control plane's.
    #[error("{} is the configuration of {}: name another file with --config", config.display(), other.display())]
    OtherFolder {
        /// Which file.
        config: PathBuf,
        /// Its data folder.
        other: PathBuf,
    },
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The key cannot be made.
    #[error("cannot create the key-encryption key")]
    Key(#[source] KekError),
    /// A certificate cannot be made.
    #[error("cannot create the certificates")]
    Certificate(#[source] PkiError),
    /// The operator's key cannot be made.
    #[error("cannot create the operator's key")]
    OperatorKey(#[source] rcgen::Error),
    /// The store cannot be made.
    #[error("cannot create the store")]
    Store(#[source] StoreError),
    /// A file cannot be written.
    #[error(transparent)]
    File(#[from] FileError),
    /// No randomness, or a task that died.
    #[error("{0}")]
    Internal(&'static str),
}

/// Makes a control plane.
///
/// # Errors
/// [`InitError`]; then nothing was left behind.
pub async fn init(options: InitOptions) -> Result<InitReport, InitError> {
    let made = tokio::task::spawn_blocking(move || make(&options)).await;
    let (report, store) = made.map_err(|_| InitError::Internal("the initialisation was cut short"))??;
    store.close().await;
    Ok(report)
}

fn make(options: &InitOptions) -> Result<(InitReport, Store), InitError> {
    let config = configuration(options)?;
    let operator_dir = options.operator_dir.as_deref().map_or_else(|| beside(&config.data_dir, "-operator"), absolute);
    for path in [&config.key_file, &operator_dir, &config.data_dir] {
        check_place(path, path == &config.data_dir)?;
    }
    let mut made = Made::default();
    let clock: Arc<dyn WallClock> = Arc::new(SystemClock);
    let now = clock.now();

    made.will_make(&config.key_file);
    let key = Kek::create(&config.key_file, &config.data_dir).map_err(InitError::Key)?;
    let authority_record =
        Authority::generate(CaSlot::Current, &config.trust_domain, now).map_err(InitError::Certificate)?;
    let authority = Authority::from_record(&authority_record).map_err(InitError::Certificate)?;
    let request = bundle::OperatorKey::generate().map_err(InitError::OperatorKey)?;
    let issued = authority
        .issue_operator(request.csr_pem(), &options.operator, now, OPERATOR_LIFETIME)
        .map_err(InitError::Certificate)?;

    made.will_make(&operator_dir);
    bundle::write(&operator_dir, &issued, &authority.certificate_pem(), &request, &bundle::url(&config))?;
    let config_file = match &options.config {
        Some(path) if path.exists() => Some((absolute(path), false)),
        Some(path) => {
            let text = bundle::configuration(&config, path)?;
            made.will_make(path);
            files::write_public(path, text.as_bytes())?;
            Some((absolute(path), true))
        }
        None => None,
    };

    let operator = OperatorRecord {
        name: options.operator.clone(),
        level: Level::Admin,
        certificate: issued.record,
        next: None,
        revoked: None,
    };
    made.will_make(&config.data_dir);
    if config.data_dir.is_dir() {
        // It was found empty; the store makes its own, closed to others.
        let source = |source| FileError::Io { action: "replace", path: config.data_dir.clone(), source };
        std::fs::remove_dir(&config.data_dir).map_err(source)?;
    }
    let store_options = StoreOptions::new(&config.data_dir, clock);
    let (store, ()) = Store::create(
        store_options,
        &key,
        first_settings(config.staleness, authority.certificate_pem())?,
        move |draft| {
            record(draft, &operator);
            draft.put(authority_record);
            draft.put(operator);
            Ok::<(), Failure>(())
        },
    )
    .map_err(InitError::Store)?;
    made.keep();
    Ok((InitReport { config, operator_dir, config_file }, store))
}

/// The configuration that the control plane will run with.
fn configuration(options: &InitOptions) -> Result<Config, InitError> {
    let data_dir = absolute(&options.data_dir);
    let existing = options.config.as_deref().filter(|path| path.exists());
    if let Some(path) = existing {
        let other = Config::data_dir_of(path)?.filter(|other| absolute(other) != data_dir);
        if let Some(other) = other {
            return Err(InitError::OtherFolder { config: path.to_owned(), other });
        }
    }
    let overrides = Overrides {
        key_file: options.key_file.as_deref().map(absolute),
        data_dir: Some(data_dir),
        trust_domain: options.trust_domain.clone(),
        names: (!options.names.is_empty()).then(|| options.names.clone()),
        ..Overrides::default()
    };
    Ok(Config::load(existing, overrides)?)
}

/// Where the program is started must not matter later.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

fn check_place(path: &Path, may_be_an_empty_folder: bool) -> Result<(), InitError> {
    let empty = || path.read_dir().is_ok_and(|mut entries| entries.next().is_none());
    if path.symlink_metadata().is_ok() && !(may_be_an_empty_folder && empty()) {
        return Err(InitError::Exists(path.to_owned()));
    }
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() && !parent.is_dir() => {
            Err(InitError::NoParent(parent.to_owned()))
        }
        _ => Ok(()),
    }
}

fn first_settings(bounds: StalenessBounds, ca_bundle_pem: String) -> Result<Settings, InitError> {
    let mut pepper = [0; 32];
    rand::fill(&mut pepper).map_err(|_| InitError::Internal("the operating system's random generator failed"))?;
    Ok(Settings {
        strict_staleness: bounds.strict,
        standard_staleness: bounds.standard,
        ca_bundle_pem,
        ..Settings::new(Peppers::first(Key32::new(pepper)))
    })
}

fn record(draft: &mut Draft<'_>, operator: &OperatorRecord) {
    draft.event(v1::AdminEvent {
        actor: "control-plane".to_owned(),
        action: "init".to_owned(),
        object: format!("operator/{}", operator.name),
        outcome: v1::Outcome::Succeeded.into(),
        after_json: serde_json::json!({ "level": operator.level.as_str() }).to_string(),
        ..Default::default()
    });
}

#[cfg(test)]
mod tests;
