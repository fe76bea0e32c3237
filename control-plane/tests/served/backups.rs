//! Backups over the wire and by schedule, and what edges know better than a
//! restored store.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, time::Duration};

use nla_control_plane::{
    config::BackupSchedule,
    crypto::Kek,
    store::{Locked, RestoreOptions, StoreOptions, restore},
};
use nla_proto::v1::{
    self, audit_client::AuditClient, backup_part::Part, backups_client::BackupsClient,
    edge_message::Message as FromEdge, system_client::SystemClient, tokens_client::TokensClient,
};

use crate::{
    certificates::{follow, renew},
    plane::{Follower, Held, Plane, eventually, once},
};

async fn backup(plane: &Plane) -> Vec<u8> {
    let mut client = BackupsClient::new(plane.admin_channel());
    let mut stream = client.create(v1::CreateBackupRequest {}).await.unwrap().into_inner();
    let (mut bytes, mut ended) = (Vec::new(), false);
    while let Some(part) = stream.message().await.unwrap() {
        assert!(!ended, "something after the end");
        match part.part.unwrap() {
            Part::Begin(begin) => assert!(bytes.is_empty() && begin.pairs > 0),
            Part::Data(data) => bytes.extend(data.bytes),
            Part::End(end) => {
                assert_eq!(end.bytes, bytes.len() as u64);
                ended = true;
            }
        }
    }
    assert!(ended);
    bytes
}

fn kek(plane: &Plane) -> Kek {
    Kek::load(&plane.config.key_file, &plane.config.data_dir).unwrap()
}

async fn put_back(plane: &mut Plane, bytes: &[u8]) {
    plane.stop().await;
    let store = StoreOptions::new(&plane.config.data_dir, plane.clock.clone());
    let locked = Locked::open(bytes, Path::new("backup")).unwrap();
    restore(locked, &kek(plane), &RestoreOptions { store, replace: true }).unwrap();
    plane.start_again().await;
}

async fn revoke(plane: &Plane, id: &str) {
    let request = v1::RevokeTokenRequest { idempotency_key: once(), ids: vec![id.into()], ..Default::default() };
    TokensClient::new(plane.admin_channel()).revoke(request).await.unwrap();
}

async fn is_revoked(plane: &Plane, id: &str) -> bool {
    let request = v1::GetTokenRequest { id: id.into() };
    TokensClient::new(plane.admin_channel()).get(request).await.unwrap().into_inner().revoked_at.is_some()
}

async fn status(plane: &Plane) -> v1::StatusResponse {
    SystemClient::new(plane.admin_channel()).status(v1::StatusRequest {}).await.unwrap().into_inner()
}

/// Says what an edge remembers, and waits until that was heard.
async fn remember(plane: &Plane, follower: &mut Follower, epoch: &[u8], ids: &[&str]) {
    let ids = ids.iter().map(|id| (*id).to_owned()).collect();
    follower.send(FromEdge::TombstonesHeld(v1::TombstonesHeld { epoch: epoch.to_vec(), ids })).await;
    // Messages are read in their order: a refusal that is known was read after it.
    let marker = format!("after-{}", once());
    let nack = v1::Nack { revision: 1, kind: v1::ItemKind::Role.into(), id: marker.clone(), reason: String::new() };
    follower.send(FromEdge::Nack(nack)).await;
    let heard = async || {
        let mut client = v1::edges_client::EdgesClient::new(plane.admin_channel());
        let edges = client.list(v1::ListEdgesRequest {}).await.unwrap().into_inner().edges;
        format!("{edges:?}").contains(&marker).then_some(())
    };
    eventually("the edge's word", heard).await;
}

#[tokio::test]
async fn only_a_restored_store_takes_an_edges_word_for_what_was_revoked() {
    let mut plane = Plane::start().await;
    plane.shop().await;
    let party = plane.edge("e1").await;
    let ids: Vec<String> =
        [plane.token().await, plane.token().await, plane.token().await].map(|made| made.token.unwrap().id).into();
    let mut follower = Follower::connect(plane.channel(&party), Held::default()).await.unwrap();
    follower.reach(plane.revision().await).await;
    let epoch = follower.held.epoch.clone();
    remember(&plane, &mut follower, &[7; 16], &[&ids[0]]).await;
    assert!(!is_revoked(&plane, &ids[0]).await, "this store was never restored");

    let bytes = backup(&plane).await;
    revoke(&plane, &ids[1]).await;
    put_back(&mut plane, &bytes).await;
    let state = status(&plane).await;
    assert!(state.restored_at.is_some() && state.tokens_revoked_again == 0 && state.epoch != epoch);
    assert!(!is_revoked(&plane, &ids[1]).await);
    let mut follower = Follower::connect(plane.channel(&party), follower.held).await.unwrap();
    follower.advance().await.unwrap();
    let present = follower.held.epoch.clone();
    for epoch in [present.as_slice(), &[], &[7; 16]] {
        remember(&plane, &mut follower, epoch, &[&ids[1]]).await;
        assert!(!is_revoked(&plane, &ids[1]).await, "of no other epoch");
    }
    revoke(&plane, &ids[2]).await;
    plane.clock.advance(Duration::from_secs(1));
    let young = plane.token().await.token.unwrap().id;
    let before = plane.revision().await;
    let strange = [young.as_str(), "abcDEF012345", "not an id", ids[1].as_str(), ids[1].as_str(), ids[2].as_str()];
    remember(&plane, &mut follower, &epoch, &strange).await;
    assert!(is_revoked(&plane, &ids[1]).await && !is_revoked(&plane, &ids[0]).await);
    assert!(!is_revoked(&plane, &young).await, "made after the restore");
    assert_eq!(plane.revision().await, before + 1, "one change for all");
    remember(&plane, &mut follower, &epoch, &strange).await;
    assert_eq!(plane.revision().await, before + 1, "what is revoked stays as it is");
    assert_eq!(status(&plane).await.tokens_revoked_again, 1);
    let filter = v1::AuditFilter { token: ids[1].clone(), kind: "admin".into(), ..Default::default() };
    let request = v1::ListAuditRequest { filter: Some(filter), ..Default::default() };
    let events = AuditClient::new(plane.admin_channel()).list(request).await.unwrap().into_inner().events;
    let Some(v1::audit_event::Event::Admin(admin)) = &events[0].event else { panic!("{events:?}") };
    assert_eq!((admin.actor.as_str(), admin.action.as_str()), ("edge/e1", "revoke-after-restore"));
    assert_eq!(admin.reason, "revoked after the backup, reported by e1");
    assert_eq!(events.len(), 2, "made, and revoked once");
}

#[tokio::test]
async fn an_edge_that_renewed_after_the_backup_goes_on_and_what_it_replaced_does_not() {
    // TLS looks at the real clock, which must not be far behind.
    let later = Duration::from_secs(20);
    let mut plane = Plane::start().await;
    let first = plane.edge("e1").await;
    let bytes = backup(&plane).await;
    plane.clock.advance(later);
    let second = renew(&plane, &first).await.unwrap();
    follow(&plane, &second).await.unwrap();
    plane.clock.advance(later);
    let third = renew(&plane, &second).await.unwrap();
    follow(&plane, &third).await.unwrap();
    let late = plane.edge("e2").await;
    put_back(&mut plane, &bytes).await;

    follow(&plane, &third).await.unwrap();
    for (ended, why) in [(&first, "replaced"), (&second, "replaced"), (&late, "not enrolled")] {
        let error = follow(&plane, ended).await.map(drop).unwrap_err();
        assert!(error.message().contains(why), "{why}: {error}");
    }
    let request = v1::ListAuditRequest { page_size: 10, ..Default::default() };
    let events = AuditClient::new(plane.admin_channel()).list(request).await.unwrap().into_inner().events;
    let reason = "the certificate was issued after the backup that was restored";
    assert_eq!(events.iter().filter(|event| format!("{event:?}").contains(reason)).count(), 1, "{events:?}");
    plane.clock.advance(later);
    let fourth = renew(&plane, &third).await.unwrap();
    follow(&plane, &fourth).await.unwrap();
    follow(&plane, &third).await.map(drop).unwrap_err();
}

#[tokio::test]
async fn backups_and_checks_are_recorded_and_shown() {
    let plane = Plane::start().await;
    assert!(status(&plane).await.last_backup_at.is_none());
    let revision = plane.revision().await;
    let bytes = backup(&plane).await;
    let report = Locked::open(bytes.as_slice(), Path::new("")).unwrap().unlock(&kek(&plane)).unwrap().verify().unwrap();
    assert_eq!(report.revision.0, revision);
    // The stream's end is noted by the handing out, a moment after we have it.
    eventually("the note of the backup", async || status(&plane).await.last_backup_at).await;
    assert_eq!(status(&plane).await.last_backup_revision, revision);
    let request = v1::ListAuditRequest { page_size: 1, ..Default::default() };
    let events = AuditClient::new(plane.admin_channel()).list(request).await.unwrap().into_inner().events;
    let Some(v1::audit_event::Event::Admin(admin)) = &events[0].event else { panic!("{events:?}") };
    assert_eq!(admin.action, "/nla.v1.Backups/Create");
    let auditor = plane.operator("auditor", v1::Level::Auditor).await;
    let mut checks = BackupsClient::new(plane.channel(&auditor));
    let mut answer = checks.verify(v1::VerifyStoreRequest {}).await.unwrap().into_inner();
    assert!(answer.message().await.unwrap().unwrap().audit_events > 0);
    checks.create(v1::CreateBackupRequest {}).await.unwrap_err();
}

#[tokio::test]
async fn the_schedule_makes_checks_and_clears_away() {
    let mut plane = Plane::start().await;
    plane.stop().await;
    let dir = plane.folder.path().join("backups");
    fs::create_dir(&dir).unwrap();
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).unwrap();
    let every = Duration::from_millis(50);
    plane.config.backup = Some(BackupSchedule { dir: dir.clone(), every, keep: 2 });
    plane.start_again().await;
    let until = async |what: &str, holds: &dyn Fn(&v1::StatusResponse) -> bool| {
        let look = async || {
            plane.clock.advance(Duration::from_secs(1));
            holds(&status(&plane).await).then_some(())
        };
        eventually(what, look).await;
    };
    let names = || {
        let mut names: Vec<String> =
            fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    until("the folder is open to others", &|s| s.backup_error.contains("mode 0700")).await;
    assert!(names().is_empty());
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o700)).unwrap();
    fs::write(dir.join("notes.part"), b"not ours").unwrap();
    until("a backup", &|s| s.backup_error.is_empty() && s.last_backup_at.is_some()).await;
    let first = names().into_iter().find(|name| name.ends_with(".nlabackup")).unwrap();
    assert_eq!(fs::metadata(dir.join(&first)).unwrap().permissions().mode() & 0o777, 0o600);
    until("the first one goes", &|_| !names().contains(&first)).await;
    // The key is gone: what cannot be checked replaces nothing.
    let key = plane.config.key_file.clone();
    let aside = key.with_extension("aside");
    fs::rename(&key, &aside).unwrap();
    until("no key", &|s| s.backup_error.contains("key-encryption key cannot be read")).await;
    let left = names();
    until("another attempt", &|s| !s.backup_error.is_empty()).await;
    assert_eq!(names(), left);
    fs::rename(&aside, &key).unwrap();
    until("mended", &|s| s.backup_error.is_empty()).await;
    plane.stop().await;
    let kept: Vec<String> = names().into_iter().filter(|name| name.ends_with(".nlabackup")).collect();
    assert!((2..=3).contains(&kept.len()), "{kept:?}");
    let newest = fs::read(dir.join(kept.last().unwrap())).unwrap();
    Locked::open(newest.as_slice(), Path::new("")).unwrap().unlock(&kek(&plane)).unwrap().verify().unwrap();
    // In the folder of the key, nothing is written.
    let beside = key.parent().unwrap().to_owned();
    plane.config.backup = Some(BackupSchedule { dir: beside.clone(), every, keep: 2 });
    fs::set_permissions(&beside, fs::Permissions::from_mode(0o700)).unwrap();
    plane.start_again().await;
    let refused = async || {
        plane.clock.advance(Duration::from_secs(1));
        status(&plane).await.backup_error.contains("must not lie in the folder of the backups").then_some(())
    };
    eventually("the refusal of a key beside the backups", refused).await;
}
