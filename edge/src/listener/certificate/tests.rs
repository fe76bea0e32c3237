//! Real files in every state that a rotation and its accidents leave.

use std::{
    fs,
    io::{self, Write},
    os::unix::fs::PermissionsExt,
    path::Path,
    sync::Mutex,
};

use nla_domain::clock::{FixedClock, SystemClock};
use time::OffsetDateTime;
use tokio_util::task::AbortOnDropHandle;

use super::{
    expiry::Notice,
    made::{Authorities, Pair, put},
    *,
};

const DAY: Duration = Duration::from_secs(86_400);

fn load((certificate, key): (PathBuf, PathBuf)) -> Result<PublicCertificate, String> {
    PublicCertificate::load(certificate, key, DAY).map_err(|error| error.to_string())
}

fn served(certificate: &PublicCertificate) -> Vec<u8> {
    certificate.0.served.load().certified.cert[0].to_vec()
}

/// Looks until the files have not changed between two looks.
async fn settle(watch: &mut Watch) -> Look {
    match watch.look().await {
        Look::Settling => watch.look().await,
        look => look,
    }
}

fn write(path: &Path, content: impl AsRef<[u8]>) {
    // Keeps inode and mode, as an editor or `cp` does.
    fs::write(path, content).unwrap();
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[tokio::test]
async fn each_way_to_replace_files_is_noticed() {
    let authorities = Authorities::new();
    let folder = tempfile::tempdir().unwrap();
    // As Kubernetes mounts a secret: tls.crt -> ..data/tls.crt, ..data -> ..1.
    let mount = |version: &str, pair: &Pair| {
        let data = folder.path().join(version);
        fs::create_dir(&data).unwrap();
        put(&data, pair);
        let link = folder.path().join("..new");
        std::os::unix::fs::symlink(version, &link).unwrap();
        fs::rename(link, folder.path().join("..data")).unwrap();
    };
    let first = authorities.issue();
    mount("..1", &first);
    let files = ["tls.crt", "tls.key"].map(|name| {
        std::os::unix::fs::symlink(Path::new("..data").join(name), folder.path().join(name)).unwrap();
        folder.path().join(name)
    });
    let certificate = load((files[0].clone(), files[1].clone())).unwrap();
    let mut watch = certificate.watch(Arc::new(SystemClock));
    assert_eq!((watch.look().await, served(&certificate)), (Look::Same, first.der));

    let swapped = authorities.issue();
    mount("..2", &swapped);
    fs::remove_dir_all(folder.path().join("..1")).unwrap();
    assert_eq!((settle(&mut watch).await, served(&certificate)), (Look::Replaced, swapped.der));

    let rewritten = authorities.issue();
    write(&files[0], &rewritten.chain);
    write(&files[1], &rewritten.key);
    assert_eq!((settle(&mut watch).await, served(&certificate)), (Look::Replaced, rewritten.der));

    let renamed = authorities.issue();
    put(folder.path(), &renamed);
    assert_eq!((settle(&mut watch).await, served(&certificate)), (Look::Replaced, renamed.der));
    assert_eq!(watch.look().await, Look::Same);
}

#[tokio::test]
async fn what_cannot_be_served_is_told_once_and_the_old_one_goes_on() {
    let authorities = Authorities::new();
    let folder = tempfile::tempdir().unwrap();
    let old = authorities.issue();
    let files = put(folder.path(), &old);
    let certificate = load(files.clone()).unwrap();
    let mut watch = certificate.watch(Arc::new(SystemClock));
    let (new, other) = (authorities.issue(), authorities.issue());
    let now = OffsetDateTime::now_utc();
    let days = time::Duration::days;
    let expired = authorities.issue_for(now - days(9), now - days(1));
    let later = authorities.issue_for(now + days(1), now + days(9));
    let half = &new.chain[..new.leaf.len() + 200];
    let foreign = format!("{}{}", new.leaf, Authorities::new().intermediate_pem);
    let backwards = format!("{}{}", authorities.intermediate_pem, new.leaf);
    // (certificate, key, in the warning)
    let cases: [(&str, &str, [&str; 2]); 10] = [
        (&new.chain, &other.key, ["tls.key", "does not belong to the first certificate"]),
        ("garbage", &new.key, ["tls.crt", "not complete PEM"]),
        (&new.chain, &new.key[..100], ["tls.key", "not complete PEM"]),
        (half, &new.key, ["tls.crt", "not complete PEM"]),
        (&new.chain, &new.leaf, ["tls.key", "not complete PEM"]),
        ("", &new.key, ["tls.crt", "not complete PEM"]),
        (&expired.chain, &expired.key, ["tls.crt", "expired at"]),
        (&foreign, &new.key, ["tls.crt", "certificate 1 is not signed by the one after it"]),
        (&later.chain, &later.key, ["tls.crt", "valid only from"]),
        (&backwards, &new.key, ["tls.crt", "certificate 1 is not signed by the one after it"]),
    ];
    for (chain, key, texts) in cases {
        write(&files.0, chain);
        write(&files.1, key);
        let Look::Refused(told) = settle(&mut watch).await else { panic!("{texts:?}") };
        assert!(texts.iter().all(|text| told.contains(text)), "{texts:?}: {told}");
        assert_eq!(watch.look().await, Look::StillRefused, "{told}");
        assert_eq!(served(&certificate), old.der, "{told}");
    }

    // Fitting files that the edge must not or cannot read.
    write(&files.0, &new.chain);
    write(&files.1, &new.key);
    mode(&files.1, 0o640);
    let Look::Refused(told) = settle(&mut watch).await else { panic!("others can read it") };
    assert!(told.contains("tls.key can be read or changed by others") && told.contains("chmod 600"), "{told}");
    fs::remove_file(&files.1).unwrap();
    let Look::Refused(told) = settle(&mut watch).await else { panic!("gone") };
    assert!(told.contains("cannot read") && told.contains("tls.key") && told.contains("No such file"), "{told}");
    assert_eq!((watch.look().await, served(&certificate)), (Look::StillRefused, old.der));

    put(folder.path(), &new);
    assert_eq!((settle(&mut watch).await, served(&certificate)), (Look::Replaced, new.der));
}

#[tokio::test]
async fn a_moment_in_between_is_neither_told_nor_served() {
    let authorities = Authorities::new();
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (authorities.issue(), authorities.issue());
    let files = put(folder.path(), &old);
    let certificate = load(files.clone()).unwrap();
    let mut watch = certificate.watch(Arc::new(SystemClock));
    // Cut after a whole certificate, so that only time can tell; then whole with
    // the old key; then with its own.
    for (chain, key) in [(&new.leaf, &new.key), (&new.chain, &old.key), (&new.chain, &new.key)] {
        write(&files.0, chain);
        write(&files.1, key);
        assert_eq!(watch.look().await, Look::Settling);
        assert_eq!(served(&certificate), old.der);
    }
    assert_eq!(watch.look().await, Look::Replaced);
    // A change of mind leaves nothing behind.
    write(&files.0, "garbage");
    assert_eq!(watch.look().await, Look::Settling);
    write(&files.0, &new.chain);
    assert_eq!(watch.look().await, Look::Same);
    write(&files.0, "garbage");
    assert_eq!(watch.look().await, Look::Settling);
}

#[tokio::test]
async fn the_end_is_told_daily_and_in_the_report() {
    let authorities = Authorities::new();
    let folder = tempfile::tempdir().unwrap();
    let end = OffsetDateTime::from_unix_timestamp(2_000_000_000).unwrap();
    let pair = |end| authorities.issue_for(end - time::Duration::days(90), end);
    let certificate = load(put(folder.path(), &pair(end))).unwrap();
    let clock = Arc::new(FixedClock::at(Timestamp::from_micros((2_000_000_000 - 31 * 86_400) * 1_000_000)));
    let mut watch = certificate.watch(clock.clone());
    let left = |clock: &FixedClock| certificate.report(clock.now());
    let expected = |days_left| CertificateReport { expires_at: "2033-05-18T03:33:20Z".into(), days_left };
    assert_eq!((watch.new_notice(), left(&clock)), (None, expected(31)));
    for days in [30, 29, 28] {
        clock.advance(DAY);
        assert_eq!(watch.new_notice(), (days < 30).then_some(Notice::Ends(days)));
        assert_eq!(watch.new_notice(), None, "told already");
    }
    clock.advance(DAY * 29);
    assert_eq!((watch.new_notice(), left(&clock)), (Some(Notice::Ended(1)), expected(-1)));
    // A renewed one ends it; the edge that starts with an expired one serves it.
    put(folder.path(), &pair(end + time::Duration::days(60)));
    assert_eq!(settle(&mut watch).await, Look::Replaced);
    assert_eq!((watch.new_notice(), left(&clock).days_left), (None, 59));
    let past = OffsetDateTime::now_utc() - time::Duration::days(1);
    let expired = load(put(folder.path(), &pair(past))).unwrap();
    assert_eq!(expired.watch(Arc::new(SystemClock)).new_notice(), Some(Notice::Ended(2)));
}

/// Everything that is logged on this thread.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn the_log_names_file_and_cause_once() {
    let log = Log::default();
    let writer = log.clone();
    let lines = tracing_subscriber::fmt().with_ansi(false).without_time().with_writer(move || writer.clone());
    let _guard = tracing::subscriber::set_default(lines.finish());
    let authorities = Authorities::new();
    let folder = tempfile::tempdir().unwrap();
    let now = OffsetDateTime::now_utc();
    let until = |hours| authorities.issue_for(now - time::Duration::days(1), now + time::Duration::hours(hours));
    let files = put(folder.path(), &until(5 * 24 + 12));
    let certificate = load(files.clone()).unwrap();
    let _watch = AbortOnDropHandle::new(tokio::spawn(certificate.watch(Arc::new(SystemClock)).run()));
    let looks = async || {
        tokio::time::sleep(DAY * 5).await;
        let said = std::mem::take(&mut *log.0.lock().unwrap());
        String::from_utf8(said).unwrap().lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let tells = |said: &[String], expected: &[[&str; 3]]| {
        assert_eq!(said.len(), expected.len(), "{said:#?}");
        for (line, texts) in said.iter().zip(expected) {
            assert!(texts.iter().all(|text| line.contains(text)), "{texts:?}: {line}");
        }
    };
    tells(&looks().await, &[["WARN", "expires within a week", "days=5"]]);
    write(&files.1, authorities.issue().key);
    tells(&looks().await, &[["WARN", "the old one stays in use", "tls.key does not belong to the first certificate"]]);
    fs::remove_file(&files.0).unwrap();
    tells(&looks().await, &[["WARN", "the old one stays in use", "tls.crt: No such file"]]);
    put(folder.path(), &until(12));
    tells(&looks().await, &[["INFO", "serving the new certificate", ""], ["ERROR", "expires within a day", "tls.crt"]]);
    put(folder.path(), &authorities.issue());
    tells(&looks().await, &[["INFO", "serving the new certificate", "expires_at"]]);
}

#[test]
fn a_start_refuses_what_a_reload_does() {
    let authorities = Authorities::new();
    let folder = tempfile::tempdir().unwrap();
    let (pair, other) = (authorities.issue(), authorities.issue());
    let files = put(folder.path(), &pair);
    write(&files.1, &other.key);
    assert!(load(files.clone()).unwrap_err().contains("does not belong"));
    write(&files.1, &pair.key);
    write(&files.0, format!("{}{}", authorities.intermediate_pem, pair.leaf));
    assert!(load(files.clone()).unwrap_err().contains("is not a chain"));
    write(&files.0, &pair.chain);
    mode(&files.1, 0o604);
    assert!(load(files.clone()).unwrap_err().contains("tls.key can be read or changed by others"));
    mode(&files.1, 0o600);
}

#[test]
fn chains_of_each_length_and_kind_of_key_are_taken() {
    let folder = tempfile::tempdir().unwrap();
    let kinds = [
        &rcgen::PKCS_ECDSA_P256_SHA256,
        &rcgen::PKCS_ECDSA_P384_SHA384,
        &rcgen::PKCS_ECDSA_P521_SHA512,
        &rcgen::PKCS_ED25519,
        &rcgen::PKCS_RSA_SHA256,
        &rcgen::PKCS_RSA_SHA512,
    ];
    for kind in kinds {
        let authorities = Authorities::with_keys(kind);
        let pair = authorities.issue();
        let files = put(folder.path(), &pair);
        for chain in [pair.leaf, pair.chain.clone(), format!("{}{}", pair.chain, authorities.root_pem)] {
            write(&files.0, chain);
            load(files.clone()).unwrap_or_else(|error| panic!("{kind:?}: {error}"));
        }
    }
}
