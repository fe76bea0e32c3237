//! The folder of a rotation of many tokens: what was begun, so that it can be
//! repeated after an interruption, and a file for each new token.

use std::{
    fs,
    path::{Path, PathBuf},
};

use nla_domain::hex;
use nla_proto::{files, v1};
use prost::Message as _;
use serde::{Deserialize, Serialize};

use crate::exit::CliError;

const MANIFEST: &str = "rotation.json";

/// What was begun. It holds no secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Run {
    /// Part of the idempotency key of each request.
    run: String,
    /// What selected the tokens, and how they are replaced: a repetition has to
    /// ask for the same.
    selection: String,
    request: String,
    /// In the order in which they are replaced.
    pub(super) tokens: Vec<String>,
}

impl Run {
    pub(super) fn new(selection: &str, request: &v1::RotateTokenRequest, tokens: Vec<String>) -> Self {
        let run = uuid::Uuid::new_v4().simple().to_string();
        Self { run, selection: selection.to_owned(), request: text_of(request), tokens }
    }

    /// The idempotency key of one token's request.
    pub(super) fn key(&self, token: &str) -> String {
        format!("{}-{token}", self.run)
    }
}

/// The request as text that two runs can compare.
fn text_of(request: &v1::RotateTokenRequest) -> String {
    hex::encode(&request.encode_to_vec())
}

/// A folder for one run.
#[derive(Debug)]
pub(super) struct RunFolder(PathBuf);

impl RunFolder {
    /// # Errors
    /// [`CliError`] when something else is there.
    pub(super) fn new(path: &Path) -> Result<Self, CliError> {
        let folder = Self(path.to_owned());
        let entries = match fs::read_dir(path) {
            Ok(mut entries) => entries.next().is_some(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => false,
            Err(error) => return Err(CliError::local(format!("cannot read {}", path.display()), error)),
        };
        if entries && !folder.manifest().exists() {
            return Err(CliError::usage(format!("{} is not empty and holds no rotation", path.display()))
                .with_next("name a new folder"));
        }
        Ok(folder)
    }

    fn manifest(&self) -> PathBuf {
        self.0.join(MANIFEST)
    }

    /// The run that was begun here, if there is one.
    ///
    /// # Errors
    /// [`CliError`] when it was one for something else.
    pub(super) fn begun(&self, selection: &str, request: &v1::RotateTokenRequest) -> Result<Option<Run>, CliError> {
        let path = self.manifest();
        if !path.exists() {
            return Ok(None);
        }
        let cannot_read = || format!("cannot read {}", path.display());
        let bytes = files::read_private(&path).map_err(|source| CliError::local(cannot_read(), source))?;
        let run: Run = serde_json::from_slice(&bytes).map_err(|source| CliError::local(cannot_read(), source))?;
        if run.selection != selection || run.request != text_of(request) {
            let message = format!("{} holds a rotation that was begun with other options", self.0.display());
            return Err(CliError::usage(message)
                .with_next("repeat it with the options that it was begun with, or name a new folder"));
        }
        // Ids become names of files.
        match run.tokens.iter().find(|id| id.parse::<nla_domain::id::TokenId>().is_err()) {
            Some(id) => Err(CliError::usage(format!("{} names {id:?}, which is no token", path.display()))),
            None => Ok(Some(run)),
        }
    }

    /// Writes down what is begun, before anything is.
    ///
    /// # Errors
    /// [`CliError`] when it cannot be written.
    pub(super) fn begin(
        &self,
        selection: &str,
        request: &v1::RotateTokenRequest,
        tokens: Vec<String>,
    ) -> Result<Run, CliError> {
        let run = Run::new(selection, request, tokens);
        let text =
            serde_json::to_vec_pretty(&run).map_err(|source| CliError::local("cannot write the plan", source))?;
        let written = files::create_private_dir(&self.0).and_then(|()| files::write_private(&self.manifest(), &text));
        written.map_err(|source| CliError::local("cannot write the plan", source))?;
        Ok(run)
    }

    /// Where the successor of a token is written to.
    pub(super) fn token_file(&self, token: &str) -> PathBuf {
        self.0.join(format!("{token}.token"))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_run_is_found_again_by_the_same_request_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run");
        let request = v1::RotateTokenRequest { reason: "spring".into(), ..Default::default() };
        let other = v1::RotateTokenRequest::default();
        let place = RunFolder::new(&path).unwrap();
        assert_eq!(place.begun("all", &request).unwrap(), None);
        let run = place.begin("all", &request, vec!["abcDEF012345".into()]).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(fs::metadata(path.join(MANIFEST)).unwrap().permissions().mode() & 0o777, 0o600);
        let again = RunFolder::new(&path).unwrap();
        let found = again.begun("all", &request).unwrap().unwrap();
        assert_eq!((&found, found.key("abcDEF012345")), (&run, run.key("abcDEF012345")));
        assert!(run.key("abcDEF012345").len() <= 64);
        assert!(again.begun("all", &other).is_err() && again.begun("some", &request).is_err());
        let evil = fs::read_to_string(path.join(MANIFEST)).unwrap().replace("abcDEF012345", "../../etc/abc");
        fs::write(path.join(MANIFEST), evil).unwrap();
        assert!(again.begun("all", &request).is_err());
        fs::write(path.join(MANIFEST), "{").unwrap();
        assert!(again.begun("all", &request).is_err());
    }

    #[test]
    fn a_folder_with_something_else_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        assert!(RunFolder::new(folder.path()).is_ok(), "empty");
        fs::write(folder.path().join("notes"), "mine").unwrap();
        assert!(RunFolder::new(folder.path()).is_err());
        assert!(RunFolder::new(&folder.path().join("notes")).is_err());
    }
}
