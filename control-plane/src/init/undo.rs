//! Removes what was made when a later step fails.

use std::{fs, path::PathBuf};

/// Paths that are being made; removed on drop unless kept.
#[derive(Debug, Default)]
pub(super) struct Made {
    paths: Vec<(PathBuf, bool)>,
}

impl Made {
    /// Call before making `path`. A folder that is there already (and was
    /// found empty) stays when its content goes.
    pub(super) fn will_make(&mut self, path: &std::path::Path) {
        self.paths.push((path.to_owned(), path.is_dir()));
    }

    /// All went well.
    pub(super) fn keep(mut self) {
        self.paths.clear();
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        for (path, existed) in self.paths.drain(..).rev() {
            // What cannot be removed now is found by the next attempt, which
            // refuses to overwrite it.
            let _ = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            if existed {
                let _ = nla_proto::files::create_private_dir(&path);
            }
        }
    }
}
