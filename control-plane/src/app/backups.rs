//! Backups by schedule: made beside each other in one folder, each checked as
//! a restore would check it before it gets its name, and the oldest removed
//! after that. A failure is logged, shown by `system status` and tried again;
//! it never stops the control plane.

use std::{
    convert::Infallible,
    fs::{self, File},
    io::{self, BufReader, BufWriter, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use nla_domain::{clock::Timestamp, error::with_causes, hex, id::Revision};
use nla_proto::{failure::Failure, v1};

use super::Context;
use crate::{
    config::{BackupSchedule, Config},
    crypto::{Kek, KekError},
    store::{BackupFailed, Frozen, Locked, RestoreError, StoreOptions},
};

/// How often the calendar is looked at; it, not a timer, decides.
const CHECK_INTERVAL: Duration = Duration::from_secs(30);
/// After a failure; what has failed once is seldom mended in seconds.
const RETRY_AFTER: Duration = Duration::from_secs(10 * 60);
const SUFFIX: &str = ".nlabackup";
const UNFINISHED: &str = ".part";

/// Why there is no new backup.
#[derive(Debug, thiserror::Error)]
enum ScheduleError {
    #[error("cannot {action} {}", path.display())]
    Io { action: &'static str, path: PathBuf, source: io::Error },
    #[error("the folder {} must belong to the service's user, with mode 0700 (it has {mode:03o} and uid {uid})", path.display())]
    Exposed { path: PathBuf, mode: u32, uid: u32 },
    #[error("the folder {} must lie outside of the data folder", .0.display())]
    Inside(PathBuf),
    #[error("the key-encryption key must not lie in the folder of the backups, which hold what it opens")]
    KeyBeside(#[source] KekError),
    #[error("the store cannot be backed up")]
    Backup(#[from] BackupFailed),
    #[error("the new backup does not check out")]
    Check(#[from] RestoreError),
    #[error("the key-encryption key cannot be read, without which no backup opens")]
    Key(#[source] KekError),
    #[error("the disk under {} has less than {} MiB free", .0.display(), StoreOptions::RESERVE_BYTES >> 20)]
    DiskFull(PathBuf),
    #[error("the backup cannot be recorded in the audit log")]
    Record(#[source] Failure),
    #[error("the backup was cut short by a defect")]
    Defect,
}

fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ScheduleError {
    let path = path.to_owned();
    move |source| ScheduleError::Io { action, path, source }
}

/// The task.
pub(super) struct Schedule {
    context: Arc<Context>,
    schedule: BackupSchedule,
    names: Names,
    key_file: PathBuf,
    data_dir: PathBuf,
}

impl Schedule {
    /// `None` when none is configured.
    pub(super) fn of(config: &Config, context: &Arc<Context>) -> Option<Self> {
        let schedule = config.backup.clone()?;
        let (key_file, data_dir) = (config.key_file.clone(), config.data_dir.clone());
        let names = Names::of(&context.store.id());
        Some(Self { context: Arc::clone(context), schedule, names, key_file, data_dir })
    }

    /// Makes a backup whenever one is due, for ever.
    pub(super) async fn run(self) -> Infallible {
        let clock = Arc::clone(&self.context.clock);
        let found = self.names.list(&self.schedule.dir);
        let newest = found.ok().and_then(|found| found.last().map(|made| (made.at, made.revision)));
        if let Some((at, revision)) = newest {
            self.context.backups.done(at, revision);
        }
        let mut due = newest.map_or(clock.now(), |(at, _)| at.plus(self.schedule.every));
        let mut ticks = tokio::time::interval(CHECK_INTERVAL.min(self.schedule.every));
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let now = clock.now();
            if now < due {
                continue;
            }
            match self.make(now).await {
                Ok((revision, bytes)) => {
                    tracing::info!(%revision, bytes, dir = %self.schedule.dir.display(), "backup made and checked");
                    self.context.backups.done(now, revision);
                    self.context.backups.scheduled(None);
                    due = now.plus(self.schedule.every);
                }
                Err(error) => {
                    let text = with_causes(&error);
                    tracing::error!(error = text, "no backup was made");
                    self.context.backups.scheduled(Some(text));
                    due = now.plus(RETRY_AFTER.min(self.schedule.every));
                }
            }
        }
    }

    async fn make(&self, now: Timestamp) -> Result<(Revision, u64), ScheduleError> {
        self.check_folder()?;
        let frozen = self.context.store.freeze(now).await?;
        let revision = frozen.revision();
        let manifest = frozen.manifest();
        let event = v1::AdminEvent {
            actor: "control-plane".to_owned(),
            action: "backup".to_owned(),
            object: format!("store/{}", hex::encode(&manifest.store_id)),
            outcome: v1::Outcome::Succeeded.into(),
            after_json: serde_json::json!({ "revision": revision.0, "audit_events": manifest.audit_count }).to_string(),
            ..Default::default()
        };
        self.context.store.audit_admin(event).await.map_err(ScheduleError::Record)?;
        let (dir, keep) = (self.schedule.dir.clone(), usize::try_from(self.schedule.keep).unwrap_or(usize::MAX));
        let (key_file, data_dir, names) = (self.key_file.clone(), self.data_dir.clone(), self.names.clone());
        let work = move || {
            names.clear_unfinished(&dir)?;
            let bytes = write(frozen, &dir, &names.name(now, revision), &key_file, &data_dir)?;
            names.prune(&dir, keep)?;
            Ok((revision, bytes))
        };
        tokio::task::spawn_blocking(work).await.map_err(|_| ScheduleError::Defect)?
    }

    fn check_folder(&self) -> Result<(), ScheduleError> {
        let dir = &self.schedule.dir;
        let found = fs::metadata(dir).map_err(io_error("use", dir))?;
        let (mode, uid) = (found.permissions().mode() & 0o777, found.uid());
        if !found.is_dir() {
            return Err(io_error("use", dir)(io::Error::from(io::ErrorKind::NotADirectory)));
        }
        if mode & 0o077 != 0 || (uid != 0 && uid != rustix::process::geteuid().as_raw()) {
            return Err(ScheduleError::Exposed { path: dir.clone(), mode, uid });
        }
        let real = |path: &Path| path.canonicalize().map_err(io_error("follow", path));
        if real(dir)?.starts_with(real(&self.data_dir)?) {
            return Err(ScheduleError::Inside(dir.clone()));
        }
        match Kek::load(&self.key_file, dir) {
            Ok(_) => Ok(()),
            Err(error @ KekError::InsideDataFolder { .. }) => Err(ScheduleError::KeyBeside(error)),
            Err(error) => Err(ScheduleError::Key(error)),
        }
    }
}

/// Writes a backup, checks it and gives it its name; its length.
fn write(frozen: Frozen, dir: &Path, name: &str, key_file: &Path, data_dir: &Path) -> Result<u64, ScheduleError> {
    let (path, part) = (dir.join(name), dir.join(format!("{name}{UNFINISHED}")));
    let written = write_part(frozen, &part, dir).and_then(|bytes| {
        check(&part, key_file, data_dir)?;
        fs::rename(&part, &path).map_err(io_error("name", &path))?;
        File::open(dir).and_then(|dir| dir.sync_all()).map_err(io_error("sync", dir))?;
        Ok(bytes)
    });
    if written.is_err() {
        // What stays is removed by the next attempt.
        let _ = fs::remove_file(&part);
    }
    written
}

fn write_part(frozen: Frozen, part: &Path, dir: &Path) -> Result<u64, ScheduleError> {
    let file = File::options().write(true).create_new(true).mode(0o600).open(part).map_err(io_error("create", part))?;
    let written = frozen.write(BufWriter::new(file), |_, _| room(dir));
    let (sum, mut out) = written.map_err(|error| match error {
        BackupFailed::Write(error) if error.kind() == io::ErrorKind::StorageFull => {
            ScheduleError::DiskFull(dir.to_owned())
        }
        error => error.into(),
    })?;
    out.flush().and_then(|()| out.get_ref().sync_all()).map_err(io_error("write", part))?;
    Ok(sum.bytes)
}

/// The store may be on the same disk and needs its reserve.
fn room(dir: &Path) -> io::Result<()> {
    let stat = rustix::fs::statvfs(dir)?;
    if stat.f_bavail.saturating_mul(stat.f_frsize) < StoreOptions::RESERVE_BYTES {
        return Err(io::ErrorKind::StorageFull.into());
    }
    Ok(())
}

/// The whole way of a restore, but for the writing.
fn check(part: &Path, key_file: &Path, data_dir: &Path) -> Result<(), ScheduleError> {
    let kek = Kek::load(key_file, data_dir).map_err(ScheduleError::Key)?;
    let file = File::open(part).map_err(io_error("read", part))?;
    Locked::open(BufReader::with_capacity(1 << 20, file), part)?.unlock(&kek)?.verify()?;
    Ok(())
}

/// A backup by its file's name.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Made {
    at: Timestamp,
    revision: Revision,
    path: PathBuf,
}

/// Names of one installation's backups, such as
/// `nla-0a1b2c3d-20261124T024251Z-r17.nlabackup`. They sort by time; the
/// store's id keeps several installations apart.
#[derive(Debug, Clone)]
struct Names {
    prefix: String,
}

impl Names {
    fn of(store_id: &[u8; 16]) -> Self {
        Self { prefix: format!("nla-{}-", hex::encode(&store_id[..4])) }
    }

    fn name(&self, at: Timestamp, revision: Revision) -> String {
        let second = Timestamp::from_micros(at.as_micros() / 1_000_000 * 1_000_000).to_string();
        let compact: String = second.chars().filter(|c| c.is_ascii_alphanumeric()).collect();
        format!("{}{compact}-r{revision}{SUFFIX}", self.prefix)
    }

    fn read(&self, path: PathBuf) -> Option<Made> {
        let name = path.file_name()?.to_str()?.strip_prefix(&self.prefix)?.strip_suffix(SUFFIX)?;
        let (at, revision) = name.split_once("-r")?;
        let digits = |from: usize, to: usize| at.get(from..to);
        let at = format!(
            "{}-{}-{}T{}:{}:{}Z",
            digits(0, 4)?,
            digits(4, 6)?,
            digits(6, 8)?,
            digits(9, 11)?,
            digits(11, 13)?,
            digits(13, 15)?
        );
        let at = Timestamp::parse_rfc3339(&at).ok()?;
        Some(Made { at, revision: Revision(revision.parse().ok()?), path })
    }

    /// All in the folder, oldest first.
    fn list(&self, dir: &Path) -> io::Result<Vec<Made>> {
        let mut found: Vec<Made> = fs::read_dir(dir)?.flatten().filter_map(|entry| self.read(entry.path())).collect();
        found.sort();
        Ok(found)
    }

    /// Removes what attempts that were killed have left.
    fn clear_unfinished(&self, dir: &Path) -> Result<(), ScheduleError> {
        for entry in fs::read_dir(dir).map_err(io_error("list", dir))?.flatten() {
            let name = entry.file_name();
            if name.to_str().is_some_and(|name| name.starts_with(&self.prefix) && name.ends_with(UNFINISHED)) {
                fs::remove_file(entry.path()).map_err(io_error("remove", &entry.path()))?;
            }
        }
        Ok(())
    }

    fn prune(&self, dir: &Path, keep: usize) -> Result<(), ScheduleError> {
        let found = self.list(dir).map_err(io_error("list", dir))?;
        let surplus = found.len().saturating_sub(keep);
        for old in found.into_iter().take(surplus) {
            fs::remove_file(&old.path).map_err(io_error("remove", &old.path))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_sort_by_time_and_know_their_installation() {
        let (ours, other) = (Names::of(&[0xab; 16]), Names::of(&[1; 16]));
        let at = Timestamp::parse_rfc3339("2026-11-24T02:42:51Z").unwrap();
        let name = ours.name(at.plus(Duration::from_millis(7)), Revision(17));
        assert_eq!(name, "nla-abababab-20261124T024251Z-r17.nlabackup");
        let made = ours.read(Path::new("/backups").join(&name)).unwrap();
        assert_eq!((made.at, made.revision), (at, Revision(17)));
        for strange in [other.name(at, Revision(17)), format!("{name}.part"), "nla-abababab-x-r1.nlabackup".into()] {
            assert_eq!(ours.read(PathBuf::from(&strange)), None, "{strange}");
        }
    }

    #[test]
    fn only_surplus_ones_of_the_installation_go() {
        let folder = tempfile::tempdir().unwrap();
        let (ours, other) = (Names::of(&[0xab; 16]), Names::of(&[1; 16]));
        let at = |hour: u64| Timestamp::from_micros(0).plus(Duration::from_secs(hour * 3600));
        let mut kept = vec![other.name(at(1), Revision(1)), "notes.txt".to_owned()];
        kept.extend([ours.name(at(10), Revision(4)), ours.name(at(9), Revision(5))]);
        let gone = [ours.name(at(8), Revision(9)), ours.name(at(1), Revision(10))];
        for name in kept.iter().chain(&gone) {
            fs::write(folder.path().join(name), b"").unwrap();
        }
        ours.prune(folder.path(), 2).unwrap();
        let mut found: Vec<String> =
            fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        found.sort();
        kept.sort();
        assert_eq!(found, kept);
    }
}
