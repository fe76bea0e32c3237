//! What is done to a store while the service is stopped: checks and restores.
//! Each says what it did, and what to do next.

use std::{
    fs::File,
    io::{BufReader, Write as _, stdout},
    path::Path,
    sync::Arc,
};

use anyhow::{Context as _, Result};
use nla_control_plane::{
    config::Config,
    crypto::{Kek, KekFile},
    store::{Locked, RestoreError, RestoreOptions, Restored, Store, StoreError, StoreOptions, restore as put_back},
};
use nla_domain::{clock::SystemClock, hex};

use crate::arguments::VerifyBackupArgs;

/// Backups are read once, from their beginning to their end.
const READ_BYTES: usize = 1 << 20;

fn open(file: &Path) -> Result<Locked<BufReader<File>>> {
    let opened = File::open(file).with_context(|| format!("cannot read {}", file.display()))?;
    Ok(Locked::open(BufReader::with_capacity(READ_BYTES, opened), file)?)
}

/// Checks a store that nobody has open.
pub(crate) async fn verify(config: Config) -> Result<()> {
    let options = StoreOptions::new(&config.data_dir, Arc::new(SystemClock));
    let key_file = KekFile::new(&config.key_file, &config.data_dir);
    let store = Store::open_with(options, &key_file).map_err(|error| match error {
        StoreError::InUse { .. } => anyhow::Error::from(error)
            .context("cannot check the store (`nlactl system verify` checks one that is served)"),
        error => error.into(),
    })?;
    let checked = store.verify().await;
    store.close().await;
    let report = checked?;
    writeln!(
        stdout(),
        "The store is sound: revision {}, {} records, {} audit events.",
        report.revision,
        report.records,
        report.audit_events
    )?;
    Ok(())
}

/// Checks a backup as a restore does.
pub(crate) fn verify_backup(args: &VerifyBackupArgs) -> Result<()> {
    let what = || format!("{} cannot be restored", args.file.display());
    let backup = open(&args.file).with_context(what)?;
    // Where the data folder was is not known here; the key is apart from the file.
    let kek = Kek::load(&args.key_file, &args.file)?;
    let report = backup.unlock(&kek).and_then(|backup| backup.verify()).with_context(what)?;
    write!(stdout(), "{} is whole and can be restored with this key:\n{report}", args.file.display())?;
    Ok(())
}

/// Puts a backup in place.
pub(crate) fn restore(file: &Path, config: &Config, replace: bool) -> Result<()> {
    let what = || format!("{} was not restored", file.display());
    let backup = open(file).with_context(what)?;
    let kek = Kek::load(&config.key_file, &config.data_dir)?;
    let options = RestoreOptions { store: StoreOptions::new(&config.data_dir, Arc::new(SystemClock)), replace };
    let restored = put_back(backup, &kek, &options).map_err(|error| match error {
        RestoreError::Store(StoreError::Exists { dir }) => {
            anyhow::anyhow!("{} exists: --replace moves it aside and puts the backup in its place", dir.display())
        }
        error => error.into(),
    });
    let restored = restored.with_context(what)?;
    show(&restored, config)?;
    Ok(())
}

fn show(restored: &Restored, config: &Config) -> std::io::Result<()> {
    let mut out = stdout();
    writeln!(out, "Restored {}:\n{}", restored.dir.display(), restored.report)?;
    writeln!(
        out,
        "The store has the new epoch {} and takes up its revisions from there.",
        hex::encode(&restored.epoch.0)
    )?;
    if let Some(moved) = &restored.moved {
        writeln!(out, "The former store is in {}; remove it when you are sure.", moved.display())?;
    }
    if restored.join_tokens > 0 {
        writeln!(out, "{} open join tokens were made void: make new ones.", restored.join_tokens)?;
    }
    let list = |names: &[String]| if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    write!(
        out,
        "
Check these: what was changed or revoked after the backup is as it was at the backup.
  operators let in   {}
  edges let in       {}

Next:
  nla-control-plane --data-dir {}
  nlactl system status     (tokens that connected edges saw revoked are revoked again)
  nlactl operator list     (revoke again whom you had revoked)
  nlactl edge list         (the same; edges that joined since must join again)
  nlactl credential list   (set again passwords that were changed since)
  nlactl ca status         (after a replaced authority the one of the backup is back: whoever holds a
                            certificate of the new one joins or is enrolled again, the first admin by
                            `nla-control-plane operator-certificate NAME`)
  nlactl system backup     (backups from before need the key-encryption key of their time)
",
        list(&restored.operators),
        list(&restored.edges),
        config.data_dir.display()
    )
}
