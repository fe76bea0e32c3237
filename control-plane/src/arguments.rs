//! The program's command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use nla_control_plane::config::Overrides;
use nla_domain::id::OperatorName;

const EXAMPLES: &str = "\
Examples:
  nla-control-plane init --data-dir /var/lib/nla --name nla.example.com
  nla-control-plane --config /var/lib/nla.toml
  nla-control-plane check-config --config /var/lib/nla.toml

Flags win over the environment, the environment over the configuration file.";

const OPERATOR_CERTIFICATE: &str = "\
Run it as the user that runs the service, so that the store stays readable to it.
It ends the certificates that this operator had, and is an event in the audit log.

Example:
  nla-control-plane operator-certificate ada --out ada --config /var/lib/nla.toml";

const ROTATE_KEK: &str = "\
Run it as the user that runs the service. Where the service may write beside its key
file, `nlactl key rotate kek` does the same without a stop. Until the new file is
handed in, the service does not start; the old one is needed for backups made before.

Example:
  nla-control-plane rotate-kek --new-key /root/nla-new.kek --config /var/lib/nla.toml";
const RESTORE: &str = "\
All or nothing: the store is made and checked beside its place, then put there in one
step. Run it as the user that runs the service. Edges follow the restored store without a
restart, and report what they saw revoked since the backup.

Examples:
  nla-control-plane restore nla.nlabackup --config /var/lib/nla.toml
  nla-control-plane restore nla.nlabackup --config /var/lib/nla.toml --replace
  nla-control-plane restore nla.nlabackup --data-dir /var/lib/nla --key-file /etc/nla.kek";

/// Keeps tokens, credentials, roles and the audit log of NLA, and streams to
/// the edges what they need. Without a command it serves.
#[derive(Debug, Parser)]
#[command(name = "nla-control-plane", version, after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) run: RunArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve (the default).
    Run(RunArgs),
    /// Make a new control plane: key, store, authority, first operator.
    #[command(
        after_help = "Example:\n  nla-control-plane init --data-dir /var/lib/nla --operator ada --name nla.example.com"
    )]
    Init(InitArgs),
    /// Make a new certificate for an admin, while the service is stopped: the
    /// way back in when no admin's is valid any more.
    #[command(after_help = OPERATOR_CERTIFICATE)]
    OperatorCertificate(OperatorCertificateArgs),
    /// Replace the key-encryption key while the service is stopped: for a key
    /// that is handed in from elsewhere, such as a systemd credential.
    #[command(after_help = ROTATE_KEK)]
    RotateKek(RotateKekArgs),
    /// Check the whole store, while the service is stopped: every record, its
    /// sums and the audit log. `nlactl system verify` does it while it runs.
    #[command(after_help = "Example:\n  nla-control-plane verify --config /var/lib/nla.toml")]
    Verify(RunArgs),
    /// Check that a backup can be restored, without restoring it.
    #[command(after_help = "\
Everything in it is opened and compared, as a restore does. Nothing is written.

Example:
  nla-control-plane verify-backup nla.nlabackup --key-file /etc/nla/control-plane.kek")]
    VerifyBackup(VerifyBackupArgs),
    /// Make a store of a backup, while the service is stopped.
    #[command(after_help = RESTORE)]
    Restore(RestoreArgs),
    /// Check a configuration and stop.
    CheckConfig(RunArgs),
}

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// Configuration file, .toml or .yaml.
    #[arg(long, value_name = "FILE", env = "NLA_CONTROL_PLANE_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// Folder of the store.
    #[arg(long, value_name = "DIR", env = "NLA_DATA_DIR")]
    data_dir: Option<PathBuf>,
    /// File with the key-encryption key [default: <data-dir>.kek].
    #[arg(long, value_name = "FILE", env = "NLA_KEY_FILE", alias = "kek-file")]
    key_file: Option<PathBuf>,
    /// Address for operators and edges [default: 127.0.0.1:7443].
    #[arg(long, value_name = "ADDRESS:PORT", env = "NLA_LISTEN")]
    listen: Option<String>,
    /// Address on which edges join [default: 127.0.0.1:7444].
    #[arg(long, value_name = "ADDRESS:PORT", env = "NLA_ENROLMENT_LISTEN")]
    enrolment_listen: Option<String>,
    /// text or json [default: text].
    #[arg(long, value_name = "FORMAT", env = "NLA_LOG_FORMAT")]
    log_format: Option<String>,
    /// error, warn, info, debug or trace, or directives [default: info].
    #[arg(long, value_name = "LEVEL", env = "NLA_LOG_LEVEL")]
    log_level: Option<String>,
}

impl RunArgs {
    pub(crate) fn overrides(self) -> Overrides {
        Overrides {
            data_dir: self.data_dir,
            key_file: self.key_file,
            listen: self.listen,
            enrolment_listen: self.enrolment_listen,
            log_format: self.log_format,
            log_level: self.log_level,
            ..Overrides::default()
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct OperatorCertificateArgs {
    /// The admin's name.
    pub(crate) name: OperatorName,
    /// New folder for certificate, key and nlactl's config.yaml.
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
    /// Make a new admin of that name.
    #[arg(long)]
    pub(crate) create: bool,
    #[command(flatten)]
    pub(crate) run: RunArgs,
}

#[derive(Debug, Args)]
pub(crate) struct RotateKekArgs {
    /// File of the new key; made when it does not exist.
    #[arg(long, value_name = "FILE")]
    pub(crate) new_key: PathBuf,
    #[command(flatten)]
    pub(crate) run: RunArgs,
}

#[derive(Debug, Args)]
pub(crate) struct VerifyBackupArgs {
    /// The backup.
    pub(crate) file: PathBuf,
    /// File with the key-encryption key of the store that was backed up.
    #[arg(long, value_name = "FILE", env = "NLA_KEY_FILE", alias = "kek-file")]
    pub(crate) key_file: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct RestoreArgs {
    /// The backup.
    pub(crate) file: PathBuf,
    /// Move a store that is in the data folder aside; it is never deleted.
    #[arg(long)]
    pub(crate) replace: bool,
    #[command(flatten)]
    pub(crate) run: RunArgs,
}

#[derive(Debug, Args)]
pub(crate) struct InitArgs {
    /// Folder of the store; must not exist or be empty.
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: PathBuf,
    /// File for the key-encryption key [default: <data-dir>.kek]. Keep a copy
    /// apart from backups of the data folder.
    #[arg(long, value_name = "FILE")]
    pub(crate) key_file: Option<PathBuf>,
    /// Folder for the first operator's certificate and key [default: <data-dir>-operator].
    #[arg(long, value_name = "DIR")]
    pub(crate) operator_dir: Option<PathBuf>,
    /// Configuration file; written when it does not exist, else used [default: <data-dir>.toml].
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Name of the first operator, who may do everything.
    #[arg(long, value_name = "NAME", default_value = "admin")]
    pub(crate) operator: OperatorName,
    /// Trust domain of all certificates; cannot be changed later [default: nla.local].
    #[arg(long, value_name = "DOMAIN")]
    pub(crate) trust_domain: Option<String>,
    /// DNS name or address of this server; can be repeated [default: localhost and 127.0.0.1].
    #[arg(long = "name", value_name = "NAME")]
    pub(crate) names: Vec<String>,
}
