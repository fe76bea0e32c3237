//! The cluster's files: the folder's layout, `initdb` or a copy of a prepared
//! cluster, and the two configuration files, which are written anew at each
//! start because the port changes.

use std::fmt::Write as _;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use nla_domain::secret::Secret;
use uuid::Uuid;

use super::account::Account;
use super::certificate::Certificate;
use super::error::PostgresError;
use super::programs::Programs;

/// Name of the superuser of every cluster that we make.
pub(crate) const SUPERUSER: &str = "postgres";

/// The longest path of a socket is 107 bytes on Linux (103 elsewhere), and
/// PostgreSQL appends `/.s.PGSQL.65535`.
const LONGEST_SOCKET_FOLDER: usize = 103 - 16;

/// A prepared cluster to start from instead of `initdb`.
#[derive(Clone, Debug)]
pub(crate) struct Seed {
    /// Its data folder; its server must be stopped.
    pub(crate) data: PathBuf,
    /// Its superuser's password, which the copy keeps until it is changed.
    pub(crate) password: Secret,
}

/// Paths inside the folder of one server.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    pub(crate) folder: PathBuf,
    pub(crate) data: PathBuf,
    pub(crate) log: PathBuf,
    pub(crate) password: PathBuf,
    /// `None` where the path would be too long for a socket.
    pub(crate) socket_folder: Option<PathBuf>,
}

impl Layout {
    /// Makes the folder, closed to others but for the server's account.
    ///
    /// # Errors
    /// A folder cannot be made, or the server's account cannot enter it.
    pub(crate) fn create(folder: &Path, account: &Account) -> Result<Self, PostgresError> {
        make_folder(folder, account.passage_mode())?;
        let folder = folder.canonicalize().map_err(PostgresError::file("resolve", folder))?;
        account.check_reach(&folder)?;
        let socket_folder = folder.join("run");
        let socket_folder = (socket_folder.as_os_str().len() <= LONGEST_SOCKET_FOLDER).then_some(socket_folder);
        if let Some(path) = &socket_folder {
            make_folder(path, 0o700)?;
            account.own(path)?;
        }
        Ok(Self {
            data: folder.join("data"),
            log: folder.join("postgres.log"),
            password: folder.join("superuser-password"),
            socket_folder,
            folder,
        })
    }

    /// True when an earlier start left a complete cluster here.
    pub(crate) fn has_cluster(&self) -> bool {
        self.password.exists() && self.data.join("PG_VERSION").exists()
    }
}

/// Runs `initdb`; the password file is written last and marks a complete cluster.
///
/// # Errors
/// `initdb` fails, or a file cannot be written.
pub(crate) fn initialise(layout: &Layout, programs: &Programs, account: &Account) -> Result<Secret, PostgresError> {
    clear(&layout.data)?;
    make_folder(&layout.data, 0o700)?;
    account.own(&layout.data)?;
    let password = random_password();
    // initdb reads the password as the server's account, so it gets a file of
    // its own, which lives only as long as initdb runs.
    let handed_over = layout.folder.join("initdb-password");
    write_private(&handed_over, password.expose())?;
    account.own(&handed_over)?;
    let program = programs.path("initdb");
    let output = account
        .command(&program, &layout.folder)
        .arg("--pgdata")
        .arg(&layout.data)
        .arg("--pwfile")
        .arg(&handed_over)
        .args(["--username", SUPERUSER, "--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C"])
        // Small segments keep a copy small; the server itself decides about
        // durability, and what initdb wrote is flushed by the first checkpoint.
        .args(["--wal-segsize", "4", "--no-sync"])
        .output();
    fs::remove_file(&handed_over).map_err(PostgresError::file("remove", &handed_over))?;
    let output = output.map_err(|source| PostgresError::Run { program, source })?;
    if !output.status.success() {
        let output = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(PostgresError::Initdb { output });
    }
    write_private(&layout.password, password.expose())?;
    Ok(password)
}

/// Copies a prepared cluster.
///
/// # Errors
/// A file cannot be read or written.
pub(crate) fn copy(seed: &Seed, layout: &Layout, account: &Account) -> Result<Secret, PostgresError> {
    clear(&layout.data)?;
    copy_tree(&seed.data, &layout.data, account)?;
    write_private(&layout.password, seed.password.expose())?;
    Ok(seed.password.clone())
}

/// Removes what an interrupted start left.
fn clear(data: &Path) -> Result<(), PostgresError> {
    if data.exists() { fs::remove_dir_all(data).map_err(PostgresError::file("remove", data)) } else { Ok(()) }
}

fn copy_tree(from: &Path, to: &Path, account: &Account) -> Result<(), PostgresError> {
    make_folder(to, 0o700)?;
    account.own(to)?;
    for entry in fs::read_dir(from).map_err(PostgresError::file("read", from))? {
        let entry = entry.map_err(PostgresError::file("read", from))?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type().map_err(PostgresError::file("read", &source))?.is_dir() {
            copy_tree(&source, &target, account)?;
        } else {
            fs::copy(&source, &target).map_err(PostgresError::file("copy", &source))?;
            account.own(&target)?;
        }
    }
    Ok(())
}

/// Writes `postgresql.conf` and `pg_hba.conf` for this start.
///
/// # Errors
/// A file cannot be written.
pub(crate) fn configure(
    layout: &Layout,
    certificate: &Certificate,
    account: &Account,
    port: u16,
    durable: bool,
) -> Result<(), PostgresError> {
    let socket_folder = layout.socket_folder.as_ref().map(|path| path.display().to_string()).unwrap_or_default();
    let settings = [
        ("listen_addresses", "127.0.0.1".to_owned()),
        ("port", port.to_string()),
        ("unix_socket_directories", socket_folder),
        ("max_connections", "200".to_owned()),
        ("password_encryption", "scram-sha-256".to_owned()),
        ("ssl", "on".to_owned()),
        ("ssl_ca_file", certificate.ca.display().to_string()),
        ("ssl_cert_file", certificate.chain.display().to_string()),
        ("ssl_key_file", certificate.key.display().to_string()),
        ("ssl_min_protocol_version", "TLSv1.2".to_owned()),
        ("shared_buffers", "64MB".to_owned()),
        // Segments in the data folder instead of /dev/shm: whatever kills the
        // server, removing its folder removes all that it left.
        ("dynamic_shared_memory_type", "mmap".to_owned()),
        // Nothing replicates from here; rows loaded with their table need no log,
        // and little log keeps a copy small.
        ("wal_level", "minimal".to_owned()),
        ("max_wal_senders", "0".to_owned()),
        ("min_wal_size", "8MB".to_owned()),
        ("timezone", "UTC".to_owned()),
        ("log_timezone", "UTC".to_owned()),
        ("log_line_prefix", "%m [%p] %q%u@%d %a ".to_owned()),
        ("fsync", on_off(durable)),
        ("full_page_writes", on_off(durable)),
    ];
    let mut text = String::from("# Written at each start of the sandbox; changes here are lost.\n");
    for (name, value) in settings {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{name} = '{}'", value.replace('\\', "\\\\").replace('\'', "''"));
    }
    // TLS is offered, not demanded: a client with sslmode=disable is something
    // that the sandbox must be able to show. Passwords are never sent in clear.
    let access = "local all all scram-sha-256\nhost all all 127.0.0.1/32 scram-sha-256\n";
    for (name, text) in [("postgresql.conf", text.as_str()), ("pg_hba.conf", access)] {
        let path = layout.data.join(name);
        write_private(&path, text)?;
        account.own(&path)?;
    }
    Ok(())
}

fn on_off(on: bool) -> String {
    if on { "on" } else { "off" }.to_owned()
}

/// 244 random bits in hexadecimal, which need no quoting anywhere.
pub(crate) fn random_password() -> Secret {
    Secret::new(format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple()))
}

/// Writes a file that only its owner can read.
pub(crate) fn write_private(path: &Path, text: &str) -> Result<(), PostgresError> {
    fs::write(path, "").map_err(PostgresError::file("write", path))?;
    fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(PostgresError::file("protect", path))?;
    fs::write(path, text).map_err(PostgresError::file("write", path))
}

/// Makes a folder and its parents; the mode is for the folder alone.
pub(crate) fn make_folder(path: &Path, mode: u32) -> Result<(), PostgresError> {
    fs::create_dir_all(path).map_err(PostgresError::file("create", path))?;
    fs::set_permissions(path, Permissions::from_mode(mode)).map_err(PostgresError::file("protect", path))
}
