//! The prepared cluster that [`super::start`] copies: made once for each user of
//! the machine, PostgreSQL version and sample, below the user's cache folder.
//!
//! Invariant: a folder without `.part` in its name is complete. It is made under
//! a lock that the system releases when its holder dies, and renamed at the end.

use std::env;
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

use nla_domain::secret::Secret;

use crate::postgres::{Account, Options, Postgres, PostgresError, Programs, Seed, make_folder};

use super::{SHOP_SQL, load};

/// Changes when what a prepared cluster holds changes in another way than by
/// the version of PostgreSQL or the text of the sample.
const FORMAT: u32 = 2;

/// The prepared cluster for these options; made now if there is none. `None`
/// where this user has no cache folder.
///
/// # Errors
/// The cluster cannot be made.
pub(super) async fn seed(options: &Options) -> Result<Option<Seed>, PostgresError> {
    let programs = Programs::find(options.programs())?;
    let account = Account::choose()?;
    let Some(cache) = cache_folder(&account) else { return Ok(None) };
    let folder = cache.join(name(&programs.version()?, &account));
    if !folder.exists() {
        make_folder(&cache, account.passage_mode())?;
        account.check_reach(&cache)?;
        let _lock = lock(&cache).await?;
        if !folder.exists() {
            make(&folder, options.programs()).await?;
        }
    }
    let password = folder.join("superuser-password");
    let password = fs::read_to_string(&password).map_err(PostgresError::file("read", &password))?;
    Ok(Some(Seed { data: folder.join("data"), password: Secret::new(password) }))
}

/// Root's home is closed to the server's account, so root uses the system's
/// cache folder, where nobody else can put anything in its place either.
fn cache_folder(account: &Account) -> Option<PathBuf> {
    let root = if account.is_other() {
        PathBuf::from("/var/cache")
    } else {
        let absolute = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".cache")))?
    };
    Some(root.join("nla-sandbox"))
}

fn name(version: &str, account: &Account) -> String {
    let mut hasher = DefaultHasher::new();
    (FORMAT, version, SHOP_SQL, account.label()).hash(&mut hasher);
    format!("shop-{:016x}", hasher.finish())
}

/// Waits for whoever makes the cluster now. The lock goes with the file.
async fn lock(cache: &Path) -> Result<File, PostgresError> {
    let path = cache.join("lock");
    let locked = tokio::task::spawn_blocking(move || {
        let file = File::create(&path).map_err(PostgresError::file("create", &path))?;
        file.lock().map_err(PostgresError::file("lock", &path))?;
        Ok(file)
    });
    match locked.await {
        Ok(locked) => locked,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

async fn make(folder: &Path, programs: Option<&Path>) -> Result<(), PostgresError> {
    let part = folder.with_extension("part");
    if part.exists() {
        fs::remove_dir_all(&part).map_err(PostgresError::file("remove", &part))?;
    }
    let mut options = Options::new(&part).throw_away();
    if let Some(programs) = programs {
        options = options.program_folder(programs);
    }
    let postgres = Postgres::start(options).await?;
    load(&postgres).await?;
    postgres.stop().await;
    fs::rename(&part, folder).map_err(PostgresError::file("rename", &part))
}
