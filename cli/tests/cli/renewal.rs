//! `nlactl operator renew` against a real control plane, and what is said of a
//! certificate's end.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use crate::{
    control_plane::ControlPlane,
    support::{Ended, run},
};

const WHOAMI: [&str; 4] = ["system", "status", "-o", "json"];

/// Copies an operator's folder as it is now.
fn copy(from: &Path, to: &Path) {
    nla_proto::files::create_private_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

fn files(folder: &Path) -> Vec<(String, u32)> {
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
            (entry.file_name().into_string().unwrap(), mode)
        })
        .collect();
    files.sort();
    files
}

async fn create(plane: &ControlPlane, name: &str, lifetime: &str) -> std::path::PathBuf {
    let out = plane.folder().join(name);
    let words =
        ["operator", "create", name, "--level", "viewer", "--lifetime", lifetime, "--out", out.to_str().unwrap()];
    run(plane.operator(), &words).await.expect(0);
    out
}

#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_renews_and_the_old_certificate_ends() {
    let plane = ControlPlane::start().await;
    let vera = create(&plane, "vera", "20d").await;
    let before = plane.folder().join("before");
    copy(&vera, &before);

    let due = run(&vera, &WHOAMI).await.expect(0);
    assert!(due.err.contains("expires in 20d") && due.err.contains("nlactl operator renew"), "{due:?}");
    assert_eq!(due.err.lines().count(), 1, "{due:?}");
    assert_eq!(run(&vera, &["system", "status", "--quiet"]).await.expect(0).err, "");

    let early = run(&vera, &["operator", "renew", "--if-expires-within", "10d", "-o", "json"]).await.expect(0).json();
    assert_eq!((&early["renewed"], early["name"].as_str()), (&false.into(), Some("vera")));
    run(&before, &WHOAMI).await.expect(0);

    let renewed = run(&vera, &["operator", "renew", "--if-expires-within", "30d", "-o", "json"]).await.expect(0);
    assert_eq!(renewed.err, "");
    assert_eq!(renewed.json()["renewed"], true);
    let kept = ["ca.crt", "config.yaml", "operator.crt", "operator.key"];
    assert_eq!(files(&vera).iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), kept);
    assert!(files(&vera).iter().all(|(name, mode)| *mode == 0o600 || name == "ca.crt"), "{:?}", files(&vera));
    let after = run(&vera, &WHOAMI).await.expect(0);
    assert_eq!(after.err, "");
    let status = after.json();
    assert_eq!((status["caller"].as_str(), status["caller_level"].as_str()), (Some("vera"), Some("viewer")));
    assert_eq!(status["certificate_expires_at"], renewed.json()["expires_at"]);
    let old: Ended = run(&before, &WHOAMI).await.expect(3);
    assert!(old.err.contains("replaced"), "{old:?}");
    plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewal_that_cannot_end_well_leaves_the_old_files_in_use() {
    let plane = ControlPlane::start().await;
    let vera = create(&plane, "vera", "20d").await;
    // Where the new files belong nothing can be put.
    fs::create_dir(vera.join("operator.key.next")).unwrap();
    let before = fs::read(vera.join("operator.crt")).unwrap();
    let failed = run(&vera, &["operator", "renew"]).await.expect(1);
    assert!(failed.err.contains("cannot write the new certificate"), "{failed:?}");
    assert_eq!(fs::read(vera.join("operator.crt")).unwrap(), before);
    run(&vera, &WHOAMI).await.expect(0);
    fs::remove_dir(vera.join("operator.key.next")).unwrap();
    run(&vera, &WHOAMI).await.expect(0);

    // A crash between the two renames: the next command of any kind goes on.
    run(&vera, &["operator", "renew"]).await.expect(0);
    fs::rename(vera.join("operator.crt"), vera.join("operator.crt.next")).unwrap();
    fs::write(vera.join("operator.crt"), before).unwrap();
    run(&vera, &WHOAMI).await.expect(0);
    plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_certificate_is_named_and_says_the_way_back() {
    let folder = tempfile::tempdir().unwrap();
    crate::server::Authority::new().operator_folder_until(folder.path(), "https://127.0.0.1:9", (2020, 1, 1));
    let refused = run(folder.path(), &["--timeout", "2s", "system", "status"]).await.expect(6);
    assert!(refused.err.contains("Your certificate expired"), "{refused:?}");
    assert!(refused.err.contains("nla-control-plane operator-certificate ana --out"), "{refused:?}");
}
