use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use nla_domain::clock::{FixedClock, SystemClock, Timestamp};
use nla_proto::files;

use super::*;
use crate::{clock::TokioClock, fixture::ControlPlane, snapshot::SnapshotHolder};

struct Place {
    folder: tempfile::TempDir,
    config: IdentityConfig,
}

impl Place {
    fn new(plane: &ControlPlane, keep: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("join-token");
        let config = IdentityConfig {
            control_plane_url: plane.url.clone(),
            enrolment_url: Some(plane.enrolment_url.clone()),
            join: JoinSource { file: Some(file), text: None },
            storage: if keep { Storage::File(folder.path().into()) } else { Storage::Memory },
        };
        Self { folder, config }
    }

    fn token_file(&self) -> &Path {
        self.config.join.file.as_deref().unwrap()
    }

    fn put_token(&self, plane: &ControlPlane) {
        let text = plane.join_token().to_text();
        files::write_private(self.token_file(), text.expose().as_bytes()).unwrap();
    }

    fn identity_file(&self) -> PathBuf {
        self.folder.path().join("identity.json")
    }

    async fn obtain(&self) -> Result<Identity, IdentityError> {
        Identity::obtain(self.config.clone(), Arc::new(SystemClock)).await
    }
}

fn renewal(identity: Identity) -> Renewal {
    Renewal::new(identity, SnapshotHolder::new(Arc::new(TokioClock::start())))
}

#[tokio::test]
async fn a_stored_identity_needs_no_token() {
    let plane = ControlPlane::start().await;
    let place = Place::new(&plane, true);
    assert!(matches!(place.obtain().await, Err(IdentityError::NoToken)));
    place.put_token(&plane);
    let first = place.obtain().await.unwrap();
    assert_eq!(first.enrolled().edge_id().as_str(), "e1");
    let mode = fs::metadata(place.identity_file()).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    let shown = format!("{first:?}");
    assert!(!shown.contains("PRIVATE KEY") && shown.contains("[redacted]"), "{shown}");

    // The spent token still lies there; then it is gone. Neither matters.
    for keep in [true, false] {
        if !keep {
            fs::remove_file(place.token_file()).unwrap();
        }
        let again = place.obtain().await.unwrap();
        assert_eq!(again.enrolled().not_after(), first.enrolled().not_after());
    }
}

#[tokio::test]
async fn memory_needs_a_token_at_each_start() {
    let plane = ControlPlane::start().await;
    let place = Place::new(&plane, false);
    place.put_token(&plane);
    place.obtain().await.unwrap();
    assert!(!place.identity_file().exists());
    let error = place.obtain().await.unwrap_err();
    assert!(matches!(&error, IdentityError::Refused(failure) if failure.message.contains("spent")), "{error:?}");
    place.put_token(&plane);
    place.obtain().await.unwrap();
}

#[tokio::test]
async fn files_that_others_can_read_and_damaged_files_are_refused() {
    let plane = ControlPlane::start().await;
    let place = Place::new(&plane, true);
    place.put_token(&plane);
    let open = fs::Permissions::from_mode(0o644);
    fs::set_permissions(place.token_file(), open.clone()).unwrap();
    assert!(matches!(place.obtain().await, Err(IdentityError::File(_))));
    fs::set_permissions(place.token_file(), fs::Permissions::from_mode(0o600)).unwrap();
    place.obtain().await.unwrap();

    fs::set_permissions(place.identity_file(), open).unwrap();
    assert!(matches!(place.obtain().await, Err(IdentityError::File(_))));
    let text = fs::read_to_string(place.identity_file()).unwrap();
    for damaged in [text[..text.len() / 2].to_owned(), "{}".to_owned(), text.replace("BEGIN CERT", "BEGIN CART")] {
        files::write_private(&place.identity_file(), damaged.as_bytes()).unwrap();
        let error = place.obtain().await.unwrap_err();
        assert!(matches!(error, IdentityError::Damaged { .. }), "{error:?}");
        assert_eq!(fs::read_to_string(place.identity_file()).unwrap(), damaged, "nothing was overwritten");
    }
}

#[tokio::test]
async fn a_wrong_pin_or_text_is_refused_at_once() {
    let (plane, other) = (ControlPlane::start().await, ControlPlane::start().await);
    let place = Place::new(&plane, true);
    place.put_token(&other);
    let error = place.obtain().await.unwrap_err();
    assert!(matches!(error, IdentityError::Refused(_)), "{error:?}");
    files::write_private(place.token_file(), b"hunter2").unwrap();
    let error = place.obtain().await.unwrap_err();
    assert!(matches!(error, IdentityError::Token(_)));
    assert!(!format!("{error:?} {error}").contains("hunter2"));
}

#[tokio::test]
async fn an_absent_control_plane_is_waited_for() {
    let mut plane = ControlPlane::start().await;
    let place = Place::new(&plane, true);
    place.put_token(&plane);
    plane.stop().await;
    let config = place.config.clone();
    let joining = tokio::spawn(Identity::obtain(config, Arc::new(SystemClock)));
    tokio::task::yield_now().await;
    assert!(!joining.is_finished());
    plane.restart().await;
    tokio::time::timeout(crate::fixture::SOON, joining).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn a_certificate_is_renewed_at_half_of_its_life() {
    let plane = ControlPlane::start().await;
    let place = Place::new(&plane, true);
    place.put_token(&plane);
    let hour = Duration::from_secs(3600);
    // (age of the certificate of 24 h, whether it is renewed)
    for (age, expected) in [(9 * hour, false), (15 * hour, true)] {
        *plane.shared.validity.lock().unwrap() = (age, 24 * hour);
        place.put_token(&plane);
        let identity = place.obtain().await.unwrap();
        let before = identity.enrolled().clone();
        let changes = identity.changes();
        let mut renewal = renewal(identity);
        *plane.shared.validity.lock().unwrap() = (Duration::ZERO, 24 * hour);
        *plane.shared.renewals.lock().unwrap() = 0;
        renewal.look().await;
        assert_eq!(*plane.shared.renewals.lock().unwrap() == 1, expected, "{age:?}");
        assert_eq!(changes.has_changed().unwrap(), expected, "{age:?}");
        let stored = place.obtain().await.unwrap();
        assert_eq!(stored.enrolled().not_after() > before.not_after(), expected);
        // What is kept still opens the control plane's door.
        renewal.look().await;
        assert!(*plane.shared.renewals.lock().unwrap() <= 1);
    }
}

#[tokio::test]
async fn a_new_token_joins_again_and_a_refused_one_is_tried_once() {
    let plane = ControlPlane::start().await;
    let place = Place::new(&plane, true);
    place.put_token(&plane);
    let identity = place.obtain().await.unwrap();
    let mut joins = identity.changes();
    let mut renewal = renewal(identity);
    renewal.look().await;
    assert!(!joins.has_changed().unwrap(), "a spent token is left alone");
    place.put_token(&plane);
    renewal.look().await;
    assert!(joins.has_changed().unwrap());
    joins.mark_unchanged();

    let unknown = nla_domain::join::JoinToken::generate(plane.authority.pin()).unwrap();
    files::write_private(place.token_file(), unknown.to_text().expose().as_bytes()).unwrap();
    renewal.look().await;
    renewal.look().await;
    assert!(!joins.has_changed().unwrap());
    place.obtain().await.expect("the stored identity stays in use");
}

#[tokio::test]
async fn an_expired_identity_needs_a_new_token() {
    let plane = ControlPlane::start().await;
    let place = Place::new(&plane, true);
    place.put_token(&plane);
    let identity = place.obtain().await.unwrap();
    let later = identity.enrolled().not_after().plus(Duration::from_secs(1));
    let obtain = |at: Timestamp| Identity::obtain(place.config.clone(), Arc::new(FixedClock::at(at)));
    assert!(matches!(obtain(later).await, Err(IdentityError::Expired)));
    place.put_token(&plane);
    obtain(later).await.unwrap();
}

#[tokio::test]
async fn told_authorities_are_kept_and_bring_a_renewal() {
    let plane = ControlPlane::start().await;
    let place = Place::new(&plane, true);
    place.put_token(&plane);
    let identity = place.obtain().await.unwrap();
    let trust = identity.trust();
    let mut renewal = renewal(identity);
    let other = crate::fixture::Authority::new();
    let kept = || fs::read_to_string(place.identity_file()).unwrap().matches("BEGIN CERTIFICATE").count();

    // The same one signs, and another is trusted as well: nothing to renew.
    trust.take(format!("{}{}", plane.authority.pem, other.pem)).await.unwrap();
    assert_eq!((kept(), trust.outdated_under()), (3, None));
    // The other one signs from now on.
    trust.take(format!("{}{}", other.pem, plane.authority.pem)).await.unwrap();
    assert!(trust.outdated_under().is_some());
    renewal.look().await;
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(11)).await;
    tokio::time::resume();
    renewal.look().await;
    assert_eq!(*plane.shared.renewals.lock().unwrap(), 1);
    // What the answer told of authorities is older than what the state told,
    // and a control plane that signs by the old one is not asked without end.
    assert_eq!(kept(), 3);
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(60)).await;
    tokio::time::resume();
    renewal.look().await;
    assert_eq!(*plane.shared.renewals.lock().unwrap(), 1);
    let again = place.obtain().await.unwrap();
    assert!(again.trust().outdated_under().is_some(), "kept over a restart");
}

#[tokio::test]
async fn authorities_that_cannot_be_used_or_kept_are_not_taken() {
    let plane = ControlPlane::start().await;
    let place = Place::new(&plane, true);
    place.put_token(&plane);
    let identity = place.obtain().await.unwrap();
    let trust = identity.trust();
    let before = fs::read(place.identity_file()).unwrap();
    trust.take("no certificate".into()).await.unwrap_err();
    assert_eq!(fs::read(place.identity_file()).unwrap(), before);
    // As on a full disk: the file beside the identity cannot be made.
    let blocked = place.folder.path().join(format!(".identity.json.{}.tmp", std::process::id()));
    fs::create_dir(&blocked).unwrap();
    let other = crate::fixture::Authority::new();
    let told = format!("{}{}", other.pem, plane.authority.pem);
    let reason = trust.take(told.clone()).await.unwrap_err();
    assert!(reason.contains("identity"), "{reason}");
    assert_eq!((fs::read(place.identity_file()).unwrap(), trust.outdated_under()), (before, None));
    fs::remove_dir(&blocked).unwrap();
    trust.take(told).await.unwrap();
}
