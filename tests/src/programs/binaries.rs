//! Where the programs are. `cargo test` builds the binaries of the packages
//! that it tests, and of this package alone it builds none of them; so they are
//! brought up to date here, once, which takes a moment when they are.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

/// The folder of `nla-control-plane`, `nla-edge`, `nlactl` and `nla-demo`.
pub fn folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        // This test is <target>/<profile>/deps/programs-<hash>.
        let own = std::env::current_exe().unwrap();
        let folder = own.parent().and_then(Path::parent).unwrap().to_owned();
        let target = folder.parent().unwrap();
        let profile = match folder.file_name().and_then(|name| name.to_str()) {
            Some("debug") | None => "dev",
            Some(other) => other,
        };
        // The whole workspace: with fewer packages other features would be
        // chosen, and much be compiled twice.
        let built = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
            .args(["build", "--workspace", "--bins", "--profile", profile, "--target-dir"])
            .arg(target)
            .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap())
            .output()
            .unwrap();
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        folder
    })
}

/// A program, with nothing of our environment but the path.
pub fn program(name: &str) -> Command {
    let mut command = Command::new(folder().join(name));
    command.env_clear();
    for kept in ["PATH", "LD_LIBRARY_PATH", "NLA_PG_BIN", "HOME", "TMPDIR"] {
        if let Some(value) = std::env::var_os(kept) {
            command.env(kept, value);
        }
    }
    command
}
