//! Operators' certificates: renewed by their owners, and made anew offline when
//! no admin's is valid any more.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Output, Stdio},
    sync::Arc,
    time::Duration,
};

use nla_control_plane::{
    config::Config,
    crypto::Kek,
    init::{InitOptions, init},
    pki::Authority,
    store::{CaSlot, Store, StoreOptions},
};
use nla_domain::{
    clock::{SystemClock, Timestamp, WallClock as _},
    id::OperatorName,
};
use nla_proto::{
    tls::peer::{Peer, PeerCertificate},
    v1::{self, audit_client::AuditClient, operators_client::OperatorsClient, system_client::SystemClient},
};
use rustls_pki_types::{CertificateDer, pem::PemObject as _};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
    time::timeout,
};
use tonic::{Code, Status};

use crate::plane::{DEADLINE, Party, Plane, key_and_csr, once};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Renews for that party with a request of its choice; the new party.
async fn renew(plane: &Plane, old: &Party, csr: Option<(String, String)>) -> Result<Party, Status> {
    let (key_pem, csr_pem) = csr.unwrap_or_else(key_and_csr);
    let request = v1::RenewOperatorRequest { idempotency_key: once(), csr_pem };
    let renewed = OperatorsClient::new(plane.channel(old)).renew(request).await?.into_inner();
    Ok(Party { certificate_pem: renewed.certificate_pem, key_pem, ca_pem: old.ca_pem.clone() })
}

async fn finish(plane: &Plane, party: &Party) -> Result<v1::OperatorView, Status> {
    let request = v1::FinishRenewalRequest { idempotency_key: once() };
    Ok(OperatorsClient::new(plane.channel(party)).finish_renewal(request).await?.into_inner())
}

async fn whoami(plane: &Plane, party: &Party) -> Result<(String, v1::Level), Status> {
    let status = SystemClient::new(plane.channel(party)).status(v1::StatusRequest {}).await?.into_inner();
    Ok((status.caller.clone(), status.caller_level()))
}

fn certificate(party: &Party) -> PeerCertificate {
    let der = CertificateDer::from_pem_slice(party.certificate_pem.as_bytes()).unwrap();
    PeerCertificate::from_der(&der).unwrap()
}

/// The audit log's admin events about that object, newest first.
async fn events(channel: tonic::transport::Channel, object: &str) -> Vec<v1::AdminEvent> {
    let events = AuditClient::new(channel).list(v1::ListAuditRequest::default()).await.unwrap().into_inner().events;
    let admin = events.into_iter().filter_map(|event| match event.event {
        Some(v1::audit_event::Event::Admin(event)) => Some(event),
        _ => None,
    });
    admin.filter(|event| event.object == object).collect()
}

#[tokio::test]
async fn the_old_certificate_ends_with_the_first_finishing_call_of_the_new() {
    let plane = Plane::start().await;
    let old = plane.operator("vera", v1::Level::Viewer).await;
    // An answer that never arrives leaves the caller where it was.
    let lost = renew(&plane, &old, None).await.unwrap();
    let new = renew(&plane, &old, None).await.unwrap();
    let vera = ("vera".to_owned(), v1::Level::Viewer);
    assert_eq!(whoami(&plane, &old).await.unwrap(), vera);
    assert_eq!(whoami(&plane, &new).await.unwrap(), vera);
    let error = whoami(&plane, &lost).await.unwrap_err();
    assert!(error.code() == Code::PermissionDenied && error.message().contains("replaced"), "{error}");

    assert_eq!(finish(&plane, &old).await.unwrap_err().code(), Code::FailedPrecondition);
    assert_eq!(whoami(&plane, &old).await.unwrap(), vera, "a wrong call ends nothing");
    let view = finish(&plane, &new).await.unwrap();
    assert_eq!(view.expires_at.unwrap().seconds, certificate(&new).not_after.as_micros() / 1_000_000);
    let error = whoami(&plane, &old).await.unwrap_err();
    assert!(error.code() == Code::PermissionDenied && error.message().contains("replaced"), "{error}");
    assert_eq!(renew(&plane, &old, None).await.map(drop).unwrap_err().code(), Code::PermissionDenied);
    assert_eq!(whoami(&plane, &new).await.unwrap(), vera);
    finish(&plane, &new).await.unwrap();

    // Two renewals and one finish; the repeat changed nothing.
    let events = events(plane.admin_channel(), "operator/vera").await;
    let actions: Vec<&str> = events.iter().map(|event| event.action.rsplit('/').next().unwrap()).collect();
    assert_eq!(actions, ["FinishRenewal", "Renew", "Renew", "Create"]);
    assert!(events[..3].iter().all(|event| event.actor == "operator/vera" && !event.client_address.is_empty()));
    assert!(events[1].after_json.contains("renewal_expires_at"), "{events:?}");
}

#[tokio::test]
async fn a_renewal_that_was_not_finished_survives_a_restart_and_the_next_one() {
    let mut plane = Plane::start().await;
    let first = plane.operator("vera", v1::Level::Viewer).await;
    let second = renew(&plane, &first, None).await.unwrap();
    plane.restart().await;
    for party in [&first, &second] {
        whoami(&plane, party).await.unwrap();
    }
    let third = renew(&plane, &second, None).await.unwrap();
    whoami(&plane, &first).await.unwrap_err();
    for party in [&second, &third] {
        whoami(&plane, party).await.unwrap();
    }
}

#[tokio::test]
async fn who_renews_gets_their_own_name_and_level_whatever_they_ask_for() {
    let plane = Plane::start().await;
    let viewer = plane.operator("vera", v1::Level::Viewer).await;
    let mut wishes = rcgen::CertificateParams::new(vec!["admin".into()]).unwrap();
    let uri = "spiffe://nla.local/operator/admin".try_into().unwrap();
    wishes.subject_alt_names.push(rcgen::SanType::URI(uri));
    wishes.distinguished_name.push(rcgen::DnType::CommonName, "admin");
    let key = rcgen::KeyPair::generate().unwrap();
    let csr = wishes.serialize_request(&key).unwrap().pem().unwrap();
    let renewed = renew(&plane, &viewer, Some((key.serialize_pem(), csr))).await.unwrap();
    assert_eq!(certificate(&renewed).peer, Peer::Operator("vera".parse().unwrap()));
    assert_eq!(whoami(&plane, &renewed).await.unwrap(), ("vera".to_owned(), v1::Level::Viewer));
    // Nobody else's certificate was touched.
    assert_eq!(whoami(&plane, &plane.admin()).await.unwrap(), ("admin".to_owned(), v1::Level::Admin));

    let gone = plane.operator("gone", v1::Level::Admin).await;
    let pending = renew(&plane, &gone, None).await.unwrap();
    let request = v1::RevokeOperatorRequest { idempotency_key: once(), name: "gone".to_owned() };
    OperatorsClient::new(plane.admin_channel()).revoke(request).await.unwrap();
    for party in [&gone, &pending] {
        assert_eq!(renew(&plane, party, None).await.map(drop).unwrap_err().code(), Code::PermissionDenied);
        assert_eq!(finish(&plane, party).await.unwrap_err().code(), Code::PermissionDenied);
    }
}

#[tokio::test]
async fn one_operator_cannot_fill_the_store_with_renewals() {
    let plane = Plane::start().await;
    let viewer = plane.operator("vera", v1::Level::Viewer).await;
    let mut refused = 0;
    for _ in 0..15 {
        if let Err(status) = renew(&plane, &viewer, None).await {
            assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
            refused += 1;
        }
    }
    assert!((4..=5).contains(&refused), "{refused}");
}

#[tokio::test]
async fn following_the_audit_log_ends_with_the_certificate_that_began_it() {
    let plane = Plane::start().await;
    let old = plane.operator("reader", v1::Level::Auditor).await;
    let new = renew(&plane, &old, None).await.unwrap();
    let follow = async |party: &Party| {
        let request = v1::TailAuditRequest::default();
        let mut tail = AuditClient::new(plane.channel(party)).tail(request).await.unwrap().into_inner();
        plane.join_token("e1").await;
        timeout(DEADLINE, tail.message()).await.unwrap().unwrap().unwrap();
        tail
    };
    let (mut old_tail, mut new_tail) = (follow(&old).await, follow(&new).await);
    finish(&plane, &new).await.unwrap();
    let ended = timeout(DEADLINE, async {
        loop {
            if let Err(status) = old_tail.message().await {
                return status;
            }
        }
    });
    let error = ended.await.unwrap();
    assert!(error.message().contains("replaced"), "{error}");
    plane.join_token("e2").await;
    timeout(DEADLINE, new_tail.message()).await.unwrap().unwrap().unwrap();
}

fn program(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nla-control-plane"));
    command.current_dir(folder).env_clear().kill_on_drop(true).stdin(Stdio::null());
    command
}

async fn recover(folder: &Path, words: &[&str]) -> Output {
    let mut command = program(folder);
    command.arg("operator-certificate").args(words).args(["--config", "data.toml"]);
    timeout(DEADLINE, command.output()).await.expect("it hangs").unwrap()
}

/// Starts the program; where it listens.
async fn start(folder: &Path) -> (Child, String) {
    let mut command = program(folder);
    command.args(["--config", "data.toml", "--listen", "127.0.0.1:0", "--enrolment-listen", "127.0.0.1:0"]);
    let mut child = command.args(["--log-format", "json"]).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let line = timeout(DEADLINE, lines.next_line()).await.unwrap().unwrap().expect("it ended at once");
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    let after = line.split_once("\"listen\":\"").unwrap_or_else(|| panic!("{line}")).1;
    (child, format!("https://{}", after.split('"').next().unwrap()))
}

fn channel(folder: &Path, url: &str) -> tonic::transport::Channel {
    let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
    let party = Party { certificate_pem: read("operator.crt"), key_pem: read("operator.key"), ca_pem: read("ca.crt") };
    nla_proto::tls::client::channel(url, &party.tls()).unwrap()
}

async fn status(folder: &Path, url: &str) -> Result<v1::StatusResponse, Status> {
    Ok(SystemClient::new(channel(folder, url)).status(v1::StatusRequest {}).await?.into_inner())
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

async fn made(folder: &Path) -> Config {
    let options = InitOptions { config: Some(folder.join("data.toml")), ..InitOptions::new(folder.join("data")) };
    init(options).await.unwrap().config
}

/// Gives the first operator a certificate that ended yesterday, in the store
/// and in its folder, as a year's wait would.
async fn expire(config: &Config, folder: &Path) {
    let kek = Kek::load(&config.key_file, &config.data_dir).unwrap();
    let store = Store::open(StoreOptions::new(&config.data_dir, Arc::new(SystemClock)), &kek).unwrap();
    let authority = Authority::from_record(&store.state().authorities[&CaSlot::Current].value).unwrap();
    let name: OperatorName = "admin".parse().unwrap();
    let now: Timestamp = SystemClock.now();
    let began = Timestamp::from_micros(now.as_micros() - i64::try_from((3 * DAY).as_micros()).unwrap());
    let (key, csr) = key_and_csr();
    let issued = authority.issue_operator(&csr, &name, began, 2 * DAY).unwrap();
    let mut record = store.state().operators[&name].value.clone();
    record.certificate = issued.record;
    let put = move |draft: &mut nla_control_plane::store::Draft<'_>| {
        draft.event(v1::AdminEvent::default());
        draft.put(record);
        Ok(())
    };
    store.mutate("test", put).await.unwrap();
    store.close().await;
    nla_proto::files::write_private(&folder.join("operator.key"), key.as_bytes()).unwrap();
    nla_proto::files::write_public(&folder.join("operator.crt"), issued.certificate_pem.as_bytes()).unwrap();
}

#[tokio::test]
async fn an_admin_whose_certificate_has_expired_gets_back_in() {
    let folder = tempfile::tempdir().unwrap();
    let (folder, operator) = (folder.path(), folder.path().join("data-operator"));
    let config = made(folder).await;
    expire(&config, &operator).await;
    let (mut service, url) = start(folder).await;
    status(&operator, &url).await.unwrap_err();

    let running = recover(folder, &["admin", "--out", "again"]).await;
    let said = String::from_utf8_lossy(&running.stderr).into_owned();
    assert!(running.status.code() == Some(1) && said.contains("stop that process first"), "{said}");
    assert!(!folder.join("again").exists());

    service.kill().await.unwrap();
    let done = recover(folder, &["admin", "--out", "again"]).await;
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let again = folder.join("again");
    assert!(String::from_utf8_lossy(&done.stdout).contains(&format!("NLA_CONFIG_DIR={}", again.display())));
    assert_eq!((mode(&again), mode(&again.join("operator.key"))), (0o700, 0o600));
    assert_eq!(mode(&again.join("config.yaml")), 0o600);
    let (_service, url) = start(folder).await;
    let answer = status(&again, &url).await.unwrap();
    assert_eq!((answer.caller.as_str(), answer.caller_level()), ("admin", v1::Level::Admin));
    status(&operator, &url).await.unwrap_err();
    let events = events(channel(&again, &url), "operator/admin").await;
    assert_eq!((events[0].actor.as_str(), events[0].action.as_str()), ("control-plane", "operator-certificate"));
    assert!(events[0].before_json.contains("expires_at") && events[0].after_json.contains("admin"), "{events:?}");
}

#[tokio::test]
async fn offline_certificates_are_for_admins_and_overwrite_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    made(folder).await;
    fs::create_dir(folder.join("there")).unwrap();
    let (mut service, url) = start(folder).await;
    let admin = channel(&folder.join("data-operator"), &url);
    for (name, level) in [("vera", v1::Level::Viewer), ("gone", v1::Level::Admin)] {
        let request = v1::CreateOperatorRequest {
            idempotency_key: once(),
            name: name.to_owned(),
            level: level.into(),
            csr_pem: key_and_csr().1,
            lifetime: None,
        };
        OperatorsClient::new(admin.clone()).create(request).await.unwrap();
    }
    let request = v1::RevokeOperatorRequest { idempotency_key: once(), name: "gone".to_owned() };
    OperatorsClient::new(admin).revoke(request).await.unwrap();
    service.kill().await.unwrap();

    let cases: [(&[&str], &str); 6] = [
        (&["admin", "--out", "there"], "exists"),
        (&["nobody", "--out", "new"], "name an admin (admin)"),
        (&["vera", "--out", "new"], "is no admin but viewer"),
        (&["gone", "--out", "new"], "was revoked"),
        (&["gone", "--out", "new", "--create"], "leave out --create"),
        (&["admin", "--out", "no/such/folder"], "no/such/folder"),
    ];
    for (words, expected) in cases {
        let refused = recover(folder, words).await;
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(refused.status.code() == Some(1) && said.contains(expected), "{words:?}: {said}");
        assert!(!folder.join("new").exists(), "{words:?}");
    }
    assert_eq!(fs::read_dir(folder.join("there")).unwrap().count(), 0);

    let done = recover(folder, &["cleo", "--out", "new", "--create"]).await;
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let (_service, url) = start(folder).await;
    assert_eq!(status(&folder.join("new"), &url).await.unwrap().caller, "cleo");
    // The refusals changed nothing for those who were there.
    assert_eq!(status(&folder.join("data-operator"), &url).await.unwrap().caller, "admin");
}
