//! Credentials that come from a file or a program: followed when they change,
//! kept when the source fails, and never worse than before.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use nla_control_plane::config::AllowedSources;
use nla_proto::{
    files::write_private,
    v1::{self, credentials_client::CredentialsClient},
};
use nla_sandbox::{
    sample,
    system::{idempotency_key, wait_for},
};
use tonic::{Code, Status};

use super::bench::Bench;

/// A sandbox that may read a folder of its own and run one program in it.
async fn bench() -> (Bench, std::path::PathBuf) {
    let mut bench = Bench::start(1).await;
    let folder = bench.sandbox.folder().join("secrets");
    nla_proto::files::create_private_dir(&folder).unwrap();
    let plane = &mut bench.sandbox.control_plane;
    plane.config_mut().credentials = AllowedSources {
        exec: vec![format!("{} shop", folder.join("login").display())],
        exec_env: vec![],
        files_under: vec![folder.clone()],
        env: vec![],
    };
    plane.stop().await.unwrap();
    plane.resume().await.unwrap();
    bench.connected(1).await;
    (bench, folder)
}

fn program(folder: &Path, script: &str) {
    let path = folder.join("login");
    // In one step: the file of a program that runs cannot be written to.
    let new = folder.join("login.new");
    fs::write(&new, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&new, fs::Permissions::from_mode(0o700)).unwrap();
    fs::rename(new, path).unwrap();
}

impl Bench {
    async fn reference(&self, source: &str) -> Result<v1::CredentialView, Status> {
        let request = v1::ReferenceCredentialRequest {
            idempotency_key: idempotency_key(),
            database: sample::DATABASE.into(),
            username: sample::READER.into(),
            source: source.to_owned(),
            every: Some(nla_proto::convert::duration(std::time::Duration::from_secs(10))),
        };
        let answer = CredentialsClient::new(self.sandbox.admin.channel()).reference(request).await;
        answer.map(tonic::Response::into_inner)
    }

    async fn credential(&self) -> (u64, v1::CredentialSource) {
        let mut client = CredentialsClient::new(self.sandbox.admin.channel());
        let listed = client.list(v1::ListCredentialsRequest {}).await.unwrap().into_inner();
        let view = listed.credentials.into_iter().next().unwrap();
        (view.generation, view.source.unwrap_or_default())
    }

    /// Gives the reader another password on the server.
    async fn change(&self, password: &str) {
        self.watch.batch_execute(&format!("ALTER ROLE {} PASSWORD '{password}'", sample::READER)).await.unwrap();
    }

    async fn until_source(&self, what: &str, holds: impl Fn(u64, &v1::CredentialSource) -> bool) {
        let seen = async || {
            let (generation, source) = self.credential().await;
            holds(generation, &source)
        };
        wait_for(what, seen).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_is_followed_and_a_bad_one_changes_nothing() {
    let (bench, folder) = bench().await;
    let token = bench.token().await;
    let (file, source) = (folder.join("shop"), format!("file:{}", folder.join("shop").display()));
    for (refused, reason) in [
        ("file:/etc/passwd".to_owned(), "credentials.files_under"),
        ("env:HOME".to_owned(), "credentials.env"),
        ("exec:/bin/sh -c true".to_owned(), "credentials.exec"),
        (source.clone(), "gives no credential"),
    ] {
        let refused = bench.reference(&refused).await.unwrap_err();
        assert!(refused.message().contains(reason), "{refused:?}");
    }
    bench.change("password-one").await;
    write_private(&file, b"password-one\n").unwrap();
    let taken = bench.reference(&source).await.unwrap();
    assert_eq!((taken.generation, taken.source.unwrap().source), (2, source.clone()));
    bench.sandbox.settled().await.unwrap();
    assert_eq!(bench.user(0, &token).await, sample::READER);

    bench.change("password-two").await;
    write_private(&file, b"{\"password\": \"password-two\"}").unwrap();
    bench.until_source("the file's new password", |generation, _| generation == 3).await;
    bench.sandbox.settled().await.unwrap();
    assert_eq!(bench.user(0, &token).await, sample::READER);

    let bad: [(&[u8], u32, &str); 4] = [
        (b"password-of-nobody", 0o600, "does not work: edge-1 cannot use it"),
        (b"\xff\xfe", 0o600, "not valid UTF-8"),
        (b"password-two", 0o640, "can be read or changed by others"),
        (b"{\"password\":\"x\",\"expires_at\":\"2020-01-01T00:00:00Z\"}", 0o600, "has expired"),
    ];
    for (content, mode, reason) in bad {
        write_private(&file, content).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        bench.until_source(reason, |generation, source| generation == 3 && source.error.contains(reason)).await;
        assert!(!bench.credential().await.1.error.contains("password-"), "{:?}", bench.credential().await);
        assert_eq!(bench.user(0, &token).await, sample::READER, "the last good one serves");
        // Looks after a failure are rarer; a good file ends the failure.
        write_private(&file, b"password-two").unwrap();
        bench.until_source("a good file again", |_, source| source.error.is_empty()).await;
    }
    let refused = bench.begin().await.unwrap_err();
    assert_eq!(refused.code(), Code::NotFound, "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_is_run_again_before_its_value_ends() {
    let (bench, folder) = bench().await;
    let token = bench.token().await;
    let source = format!("exec:{} shop", folder.join("login").display());
    program(&folder, "exit 4");
    let refused = bench.reference(&source).await.unwrap_err();
    assert!(refused.message().contains("exit status: 4"), "{refused:?}");

    bench.change("password-one").await;
    program(&folder, "printf '{\"password\":\"password-one\"}'; test \"$1\" = shop && test -z \"$NLA_CONFIG_DIR\"");
    bench.reference(&source).await.unwrap();
    bench.change("password-two").await;
    program(&folder, "echo password-two");
    bench.until_source("the program's new password", |generation, _| generation == 3).await;
    program(&folder, "echo password-two; exit 1");
    bench
        .until_source("an outage", |generation, source| generation == 3 && source.error.contains("exit status: 1"))
        .await;
    bench.sandbox.settled().await.unwrap();
    assert_eq!(bench.user(0, &token).await, sample::READER, "the last good one serves");
}
