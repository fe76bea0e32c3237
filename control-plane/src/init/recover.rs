//! The way back in when no admin's certificate is valid any more: whoever may
//! read the store and its key makes a new one, offline. Called by
//! `nla-control-plane operator-certificate`. The store's lock keeps it apart
//! from the service, and the audit event is committed with the certificate.

use std::{path::PathBuf, sync::Arc, time::Duration};

use nla_domain::{
    clock::{SystemClock, Timestamp, WallClock},
    error::ErrorKind,
    id::OperatorName,
    operator::Level,
};
use nla_proto::{failure::Failure, files::FileError, v1};

use super::{absolute, bundle, undo::Made};
use crate::{
    app::{self, StartError},
    config::Config,
    pki::{PkiError, slots},
    store::{Draft, OperatorRecord, State, Store},
};

/// As long as one that `nlactl operator renew` gets.
const LIFETIME: Duration = Duration::from_secs(90 * 24 * 3600);
/// As audit events name the program itself.
const ACTOR: &str = "control-plane";
const ACTION: &str = "operator-certificate";

/// For whom, and where to.
#[derive(Debug, Clone)]
pub struct RecoverOptions {
    /// The admin.
    pub name: OperatorName,
    /// Make the admin; otherwise it must exist.
    pub create: bool,
    /// Folder for certificate, key and `config.yaml`; must not exist.
    pub out: PathBuf,
}

/// What was made.
#[derive(Debug, Clone)]
pub struct Recovered {
    /// The folder.
    pub out: PathBuf,
    /// When the certificate ends.
    pub expires_at: Timestamp,
}

/// Why nothing was made.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// The store or its authority cannot be used, or the service runs.
    #[error(transparent)]
    Open(#[from] StartError),
    /// The folder is there.
    #[error("{} exists: it is not written into; name a folder that does not exist yet", .0.display())]
    Exists(PathBuf),
    /// There is no such operator, or one of that name where a new one is wanted.
    #[error(transparent)]
    Refused(#[from] Failure),
    /// The key cannot be made.
    #[error("cannot create the operator's key")]
    Key(#[source] rcgen::Error),
    /// The certificate cannot be made.
    #[error("cannot create the certificate")]
    Certificate(#[source] PkiError),
    /// A file cannot be written.
    #[error(transparent)]
    File(#[from] FileError),
}

/// Makes a certificate for an admin, in a folder for `nlactl`. It ends the
/// ones that this operator had.
///
/// # Errors
/// [`RecoverError`]; then nothing was left behind.
pub async fn operator_certificate(config: &Config, options: RecoverOptions) -> Result<Recovered, RecoverError> {
    if options.out.symlink_metadata().is_ok() {
        return Err(RecoverError::Exists(options.out));
    }
    let store = app::open(config, &(Arc::new(SystemClock) as Arc<dyn WallClock>)).await?;
    let made = make(config, options, &store).await;
    store.close().await;
    made
}

async fn make(config: &Config, options: RecoverOptions, store: &Store) -> Result<Recovered, RecoverError> {
    let RecoverOptions { name, create, out } = options;
    let state = store.state();
    check(&state, &name, create)?;
    let authority = app::authority(config, &state)?;
    let key = bundle::OperatorKey::generate().map_err(RecoverError::Key)?;
    let now = SystemClock.now();
    let issued = authority.issue_operator(key.csr_pem(), &name, now, LIFETIME).map_err(RecoverError::Certificate)?;
    let expires_at = issued.record.not_after;

    let mut made = Made::default();
    made.will_make(&out);
    bundle::write(&out, &issued, &slots::bundle_pem(&state), &key, &bundle::url(config))?;
    let record = OperatorRecord { name, level: Level::Admin, certificate: issued.record, next: None, revoked: None };
    store.mutate(ACTOR, move |draft| commit(draft, record, create)).await?;
    made.keep();
    Ok(Recovered { out: absolute(&out), expires_at })
}

/// Whether this name may get a certificate here.
fn check(state: &State, name: &OperatorName, create: bool) -> Result<(), Failure> {
    let refuse = |kind, text: String| Err(Failure::new(kind, text));
    match state.operators.get(name).map(|stored| &stored.value) {
        None if create => Ok(()),
        None => {
            let admins = state.operators.values().map(|stored| &stored.value);
            let admins = admins.filter(|other| other.level == Level::Admin && other.revoked.is_none());
            let admins: Vec<&str> = admins.map(|other| other.name.as_str()).take(10).collect();
            let known = if admins.is_empty() { "there is none".to_owned() } else { admins.join(", ") };
            refuse(
                ErrorKind::NotFound,
                format!("there is no operator {name}: name an admin ({known}), or make a new one with --create"),
            )
        }
        Some(_) if create => refuse(
            ErrorKind::Conflict,
            format!("the operator {name} exists or existed: leave out --create, or choose another name"),
        ),
        Some(record) if record.revoked.is_some() => refuse(
            ErrorKind::FailedPrecondition,
            format!("the operator {name} was revoked, for good: make another admin with --create"),
        ),
        Some(record) if record.level != Level::Admin => refuse(
            ErrorKind::FailedPrecondition,
            format!(
                "the operator {name} is no admin but {}: this is for admins, who make the others anew with nlactl",
                record.level
            ),
        ),
        Some(_) => Ok(()),
    }
}

fn commit(draft: &mut Draft<'_>, record: OperatorRecord, create: bool) -> Result<(), Failure> {
    check(draft.state(), &record.name, create)?;
    let before = draft.state().operators.get(&record.name).map(|stored| as_json(&stored.value));
    draft.event(v1::AdminEvent {
        actor: ACTOR.to_owned(),
        action: ACTION.to_owned(),
        object: format!("operator/{}", record.name),
        outcome: v1::Outcome::Succeeded.into(),
        before_json: before.unwrap_or_default(),
        after_json: as_json(&record),
        ..Default::default()
    });
    draft.put(record);
    Ok(())
}

fn as_json(record: &OperatorRecord) -> String {
    let expires_at = record.expires_at().to_string();
    serde_json::json!({ "level": record.level.as_str(), "expires_at": expires_at }).to_string()
}
