//! `config.yaml`: the contexts of one operator on one machine.

use std::path::{Path, PathBuf};

use nla_proto::files;
use serde::{Deserialize, Serialize};

use crate::exit::CliError;

/// The file's content.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ConfigFile {
    /// Used when no `--context` is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) current_context: Option<String>,
    #[serde(default)]
    pub(crate) contexts: Vec<Entry>,
}

/// One context. Relative paths count from the file's folder, so that the folder
/// can be moved as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) url: String,
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
    pub(crate) ca: PathBuf,
}

impl ConfigFile {
    /// Reads the file.
    ///
    /// # Errors
    /// [`CliError::Local`] when it is missing, unreadable or malformed.
    pub(crate) fn read(path: &Path) -> Result<Self, CliError> {
        let bytes = files::read_public(path).map_err(|source| {
            CliError::local("there is no usable configuration", source).with_next(
                "point NLA_CONFIG_DIR or --config-dir at the folder that `nla-control-plane init` wrote, or add a context with `nlactl config add-context`",
            )
        })?;
        let config: Self = serde_yaml_ng::from_slice(&bytes)
            .map_err(|source| CliError::local(format!("{} is malformed", path.display()), source))?;
        let mut names: Vec<_> = config.contexts.iter().map(|entry| entry.name.as_str()).collect();
        names.sort_unstable();
        if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            let message = format!("{} is malformed: two contexts are named {:?}", path.display(), twice[0]);
            return Err(CliError::Local { message, next: None, source: None });
        }
        Ok(config)
    }

    /// Reads the file; without one there are no contexts yet.
    ///
    /// # Errors
    /// As [`ConfigFile::read`] when there is a file.
    pub(crate) fn read_or_empty(path: &Path) -> Result<Self, CliError> {
        if path.symlink_metadata().is_err() { Ok(Self::default()) } else { Self::read(path) }
    }

    /// Writes the file, in one step.
    ///
    /// # Errors
    /// [`CliError::Local`]; the old file is then still there.
    pub(crate) fn write(&self, path: &Path) -> Result<(), CliError> {
        let text = serde_yaml_ng::to_string(self)
            .map_err(|source| CliError::local("cannot write the configuration as YAML", source))?;
        files::write_private(path, text.as_bytes())
            .map_err(|source| CliError::local("cannot write the configuration", source))
    }

    /// The context of that name, or the current one.
    ///
    /// # Errors
    /// [`CliError::Usage`] naming the contexts that exist.
    pub(crate) fn choose(&self, name: Option<&str>, path: &Path) -> Result<&Entry, CliError> {
        let wanted = name.or(self.current_context.as_deref()).ok_or_else(|| {
            CliError::usage(format!("{} has no current context", path.display()))
                .with_next("choose one with `nlactl config use-context NAME`, or pass --context")
        })?;
        self.contexts.iter().find(|entry| entry.name == wanted).ok_or_else(|| {
            let names: Vec<_> = self.contexts.iter().map(|entry| entry.name.as_str()).collect();
            let known =
                if names.is_empty() { "it has none".to_owned() } else { format!("it has {}", names.join(", ")) };
            CliError::usage(format!("{} has no context {wanted:?}", path.display())).with_next(known)
        })
    }
}
