//! Compiles `nla/v1/*.proto` with protox, so that no protoc has to be installed.

use std::{env, fs, io::Result, path::PathBuf};

use prost::Message as _;

fn main() -> Result<()> {
    println!("cargo:rerun-if-changed=nla");
    let mut files: Vec<PathBuf> = fs::read_dir("nla/v1")?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    files.sort();
    let descriptors = protox::compile(&files, ["."]).map_err(std::io::Error::other)?;
    let out = PathBuf::from(env::var("OUT_DIR").map_err(std::io::Error::other)?);
    fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure()
        // Item bodies are encoded once per revision and shared by all streams.
        .bytes(".nla.v1.Item.body")
        // An order, so that the same request always has the same digest.
        .btree_map(".nla.v1")
        // Messages with secrets get a `Debug` that shows none.
        .skip_debug([
            ".nla.v1.Token",
            ".nla.v1.Settings",
            ".nla.v1.CredentialItem",
            ".nla.v1.Item",
            ".nla.v1.JoinRequest",
            ".nla.v1.CreateTokenResponse",
            ".nla.v1.RotateTokenResponse",
            ".nla.v1.SetCredentialRequest",
            ".nla.v1.CreateJoinTokenResponse",
        ])
        .compile_fds(descriptors)?;
    Ok(())
}
