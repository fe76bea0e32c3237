//! `nlactl config ...`: contexts on this machine. None of it calls the control
//! plane.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use crate::{
    args::Globals,
    context::{ConfigDir, ConfigFile, Context, Entry},
    exit::CliError,
    output::{
        Output,
        views::{List, system::ContextView},
    },
};

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// List contexts
    #[command(after_help = "Examples:\n  nlactl config get-contexts")]
    GetContexts,
    /// Make a context the current one
    #[command(after_help = "Examples:\n  nlactl config use-context prod")]
    UseContext {
        /// Its name
        name: String,
    },
    /// Add a context, or replace the one of that name
    #[command(after_help = "\
Examples:
  nlactl config add-context prod --url https://nla.example.com:7443 --certificate ana.crt --key ana.key --ca ca.crt")]
    AddContext(AddContext),
    /// Print the current context's name
    #[command(after_help = "Examples:\n  nlactl config current-context")]
    CurrentContext,
}

#[derive(Debug, Args)]
pub(crate) struct AddContext {
    /// Its name
    name: String,
    /// Where the control plane is, as https://HOST:PORT
    #[arg(long)]
    url: String,
    /// Your certificate (PEM)
    #[arg(long, value_name = "FILE")]
    certificate: PathBuf,
    /// Its private key (PEM, mode 0600)
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// The control plane's CA (PEM)
    #[arg(long, value_name = "FILE")]
    ca: PathBuf,
}

impl ConfigCommand {
    pub(crate) fn run(&self, globals: &Globals, output: &Output) -> Result<(), CliError> {
        let dir = ConfigDir::find(globals)?;
        let path = dir.file();
        match self {
            Self::GetContexts => output.result(&List(ContextView::all(&ConfigFile::read(&path)?))),
            Self::UseContext { name } => {
                let mut config = ConfigFile::read(&path)?;
                let entry = config.choose(Some(name), &path)?.clone();
                config.current_context = Some(name.clone());
                config.write(&path)?;
                output.result(&ContextView::new(&entry, true))
            }
            Self::AddContext(add) => add.run(&dir, output),
            Self::CurrentContext => {
                let config = ConfigFile::read(&path)?;
                let entry = config.choose(globals.context.as_deref(), &path)?;
                output.result(&ContextView::new(entry, true))
            }
        }
    }
}

impl AddContext {
    fn run(&self, dir: &ConfigDir, output: &Output) -> Result<(), CliError> {
        let folder = dir.path();
        std::fs::create_dir_all(folder)
            .map_err(|source| CliError::local(format!("cannot make {}", folder.display()), source))?;
        let folder = absolute(folder)?;
        let relative = |path: &Path| {
            let path = absolute(path)?;
            Ok::<_, CliError>(path.strip_prefix(&folder).map(Path::to_owned).unwrap_or(path))
        };
        let entry = Entry {
            name: self.name.clone(),
            url: self.url.clone(),
            certificate: relative(&self.certificate)?,
            key: relative(&self.key)?,
            ca: relative(&self.ca)?,
        };
        // A context that cannot be used is better refused now.
        let context = Context::load(&entry, &folder)?;
        if let Err(failure) = nla_proto::tls::client::channel(&context.url, &context.tls) {
            return Err(CliError::usage(format!("--url: {failure}")));
        }
        let mut config = ConfigFile::read_or_empty(&dir.file())?;
        config.contexts.retain(|other| other.name != entry.name);
        config.contexts.push(entry.clone());
        let current = config.current_context.get_or_insert_with(|| entry.name.clone()) == &entry.name;
        config.write(&dir.file())?;
        output.result(&ContextView::new(&entry, current))?;
        if !current {
            output.hint(&format!("Use it with --context {0}, or with: nlactl config use-context {0}", entry.name));
        }
        Ok(())
    }
}

fn absolute(path: &Path) -> Result<PathBuf, CliError> {
    path.canonicalize().map_err(|source| CliError::local(format!("cannot use {}", path.display()), source))
}
