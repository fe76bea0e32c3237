//! A private PgBouncer between the edge and the sandbox's PostgreSQL, in
//! transaction mode with few server connections. It ends with its value.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, chown},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use nla_domain::secret::Secret;
use nla_sandbox::{port::free_port, postgres::Postgres, sample, system::wait_for};
use tokio_postgres::{Client, NoTls};

/// Server connections for all clients together.
pub(crate) const SERVER_CONNECTIONS: usize = 3;

pub(crate) struct PgBouncer {
    pub(crate) port: u16,
    process: Child,
    log: PathBuf,
    password: Secret,
    _folder: tempfile::TempDir,
}

/// Its program: by `NLA_PGBOUNCER`, in `PATH`, where Debian puts it, or where
/// `scripts/setup` has put it.
fn program() -> PathBuf {
    let named = std::env::var_os("NLA_PGBOUNCER").map(PathBuf::from);
    let mut places: Vec<PathBuf> = named.into_iter().collect();
    if places.is_empty() {
        places = std::env::var_os("PATH")
            .iter()
            .flat_map(std::env::split_paths)
            .map(|path| path.join("pgbouncer"))
            .collect();
        places.push("/usr/sbin/pgbouncer".into());
    }
    let found = places.iter().find(|place| place.is_file());
    found.unwrap_or_else(|| panic!("PgBouncer is missing: run scripts/setup, or set NLA_PGBOUNCER")).clone()
}

impl PgBouncer {
    /// Starts it in front of the sample, with the server's own certificate.
    pub(crate) async fn start(postgres: &Postgres, reader_password: &Secret) -> Self {
        let folder = tempfile::Builder::new().prefix("nla-pgbouncer-").tempdir().unwrap();
        let tls = postgres.folder().join("tls");
        let (port, log) = (free_port().unwrap(), folder.path().join("log"));
        let write = |name: &str, text: &str| {
            fs::write(folder.path().join(name), text).unwrap();
            folder.path().join(name)
        };
        let ca = write("ca.pem", &fs::read_to_string(postgres.ca_file()).unwrap());
        let chain = write("server.pem", &fs::read_to_string(tls.join("server.pem")).unwrap());
        let key = write("server.key", &fs::read_to_string(tls.join("server.key")).unwrap());
        let users = write("users", &format!("\"{}\" \"{}\"\n", sample::READER, reader_password.expose()));
        let settings = [
            ("listen_addr", "127.0.0.1".to_owned()),
            ("listen_port", port.to_string()),
            ("unix_socket_dir", String::new()),
            ("pool_mode", "transaction".to_owned()),
            ("default_pool_size", SERVER_CONNECTIONS.to_string()),
            ("max_client_conn", "200".to_owned()),
            ("auth_type", "scram-sha-256".to_owned()),
            ("auth_file", users.display().to_string()),
            ("admin_users", sample::READER.to_owned()),
            // The edge asks for TLS; the test's own sessions do not.
            ("client_tls_sslmode", "allow".to_owned()),
            ("client_tls_cert_file", chain.display().to_string()),
            ("client_tls_key_file", key.display().to_string()),
            ("server_tls_sslmode", "verify-full".to_owned()),
            ("server_tls_ca_file", ca.display().to_string()),
            ("logfile", log.display().to_string()),
        ];
        let mut text = format!(
            "[databases]\n{0} = host=127.0.0.1 port={1} dbname={0}\n[pgbouncer]\n",
            sample::DATABASE,
            postgres.port()
        );
        for (name, value) in settings {
            text += &format!("{name} = {value}\n");
        }
        let settings = write("pgbouncer.ini", &text);
        let mut command = Command::new(program());
        command.arg("--quiet").arg(&settings).stdout(Stdio::null()).stderr(Stdio::null());
        hand_over(folder.path(), postgres, &mut command);
        let process = command.spawn().unwrap();
        let mut started = Self { port, process, log, password: reader_password.clone(), _folder: folder };
        let ready = wait_for("PgBouncer", || async { started.connect(sample::DATABASE).await.is_ok() }).await;
        if ready.is_err() {
            let ended = started.process.try_wait();
            panic!("PgBouncer does not answer ({ended:?}): {}", fs::read_to_string(&started.log).unwrap_or_default());
        }
        started
    }

    /// A session of our own over it, as the reader.
    pub(crate) async fn connect(&self, database: &str) -> Result<Client, tokio_postgres::Error> {
        let mut config = tokio_postgres::Config::new();
        config.host("127.0.0.1").port(self.port).dbname(database).user(sample::READER).password(self.password.expose());
        let (client, connection) = config.connect(NoTls).await?;
        tokio::spawn(async move {
            // Whoever uses the client learns of its end.
            let _ = connection.await;
        });
        Ok(client)
    }

    /// What it has written.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }
}

/// PgBouncer refuses root, as PostgreSQL does: as root it runs as the owner of
/// the server's files.
fn hand_over(folder: &Path, postgres: &Postgres, command: &mut Command) {
    use std::os::unix::{fs::MetadataExt as _, process::CommandExt as _};
    let owner = fs::metadata(postgres.folder().join("data")).unwrap();
    let me = fs::metadata(folder).unwrap();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        if me.uid() != owner.uid() {
            chown(&path, Some(owner.uid()), Some(owner.gid())).unwrap();
        }
    }
    if me.uid() != owner.uid() {
        chown(folder, Some(owner.uid()), Some(owner.gid())).unwrap();
        command.uid(owner.uid()).gid(owner.gid());
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        // It has nothing to save.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
