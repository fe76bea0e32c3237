use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use nla_domain::clock::{FixedClock, SystemClock};
use nla_proto::files;
use tokio::task::JoinHandle;

use super::*;
use crate::{
    clock::TokioClock,
    fixture::{ControlPlane, SOON, eventually},
    snapshot::SnapshotHolder,
};

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
        self.obtain_at(Arc::new(SystemClock)).await
    }

    async fn obtain_at(&self, wall: Arc<dyn WallClock>) -> Result<Identity, IdentityError> {
        let obtaining = Identity::obtain(self.config.clone(), wall, Trouble::default());
        tokio::time::timeout(SOON, obtaining).await.expect("an identity, or an error")
    }

    /// What an operator is told while the edge waits for a join token.
    async fn waits(&self) -> Waiting {
        let trouble = Trouble::default();
        let obtaining = Identity::obtain(self.config.clone(), Arc::new(SystemClock), trouble.clone());
        let mut waiting = Waiting { obtaining: tokio::spawn(obtaining), trouble };
        waiting.says("").await;
        waiting
    }
}

struct Waiting {
    obtaining: JoinHandle<Result<Identity, IdentityError>>,
    trouble: Trouble,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.obtaining.abort();
    }
}

impl Waiting {
    /// Waits for the text, while the edge waits.
    async fn says(&mut self, part: &str) -> String {
        let text = || self.trouble.text().map(|text| text.to_string()).filter(|text| text.contains(part));
        eventually(part, || text().is_some() || self.obtaining.is_finished()).await;
        assert!(!self.obtaining.is_finished(), "it has given up");
        text().unwrap()
    }

    /// Waits for the identity.
    async fn ends(mut self) -> Identity {
        let identity = tokio::time::timeout(SOON, &mut self.obtaining).await.unwrap().unwrap().unwrap();
        assert!(self.trouble.text().is_none());
        identity
    }
}

fn renewal(identity: Identity) -> Renewal {
    Renewal::new(identity, SnapshotHolder::new(Arc::new(TokioClock::start())))
}

#[tokio::test]
async fn a_stored_identity_needs_no_token() {
    let plane = ControlPlane::start().await;
    let place = Place::new(&plane, true);
    let mut waiting = place.waits().await;
    waiting.says("nlactl edge join-token").await;
    place.put_token(&plane);
    let first = waiting.ends().await;
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
    let mut waiting = place.waits().await;
    waiting.says("spent").await;
    place.put_token(&plane);
    waiting.ends().await;
}

#[tokio::test]
async fn without_a_file_to_wait_for_there_is_nothing_to_wait_for() {
    let plane = ControlPlane::start().await;
    let mut place = Place::new(&plane, false);
    place.config.join = JoinSource { file: None, text: None };
    assert!(matches!(place.obtain().await, Err(IdentityError::NoToken)));
    place.config.join.text = Some(plane.join_token().to_text());
    place.obtain().await.unwrap();
    let error = place.obtain().await.unwrap_err();
    assert!(matches!(&error, IdentityError::Refused(failure) if failure.message.contains("spent")), "{error:?}");
}

#[tokio::test]
async fn files_that_others_can_read_and_damaged_files_are_refused() {
    let plane = ControlPlane::start().await;
    let place = Place::new(&plane, true);
    place.put_token(&plane);
    let open = fs::Permissions::from_mode(0o644);
    fs::set_permissions(place.token_file(), open.clone()).unwrap();
    let mut waiting = place.waits().await;
    waiting.says("file cannot be read").await;
    fs::set_permissions(place.token_file(), fs::Permissions::from_mode(0o600)).unwrap();
    waiting.ends().await;

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
    let mut waiting = place.waits().await;
    waiting.says("refused to enrol").await;
    files::write_private(place.token_file(), b"hunter2").unwrap();
    let said = waiting.says("cannot be used").await;
    assert!(!said.contains("hunter2"), "{said}");
    place.put_token(&plane);
    waiting.ends().await;
}

#[tokio::test]
async fn an_absent_control_plane_is_waited_for() {
    let mut plane = ControlPlane::start().await;
    let place = Place::new(&plane, true);
    place.put_token(&plane);
    plane.stop().await;
    let config = place.config.clone();
    let joining = tokio::spawn(Identity::obtain(config, Arc::new(SystemClock), Trouble::default()));
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
    let trouble = Trouble::default();
    let clock = Arc::new(FixedClock::at(later));
    let obtaining = tokio::spawn(Identity::obtain(place.config.clone(), clock.clone(), trouble.clone()));
    let mut waiting = Waiting { obtaining, trouble };
    let said = waiting.says("nlactl edge join-token e1").await;
    assert!(said.contains("has expired") && said.contains("without a restart"), "{said}");
    // What was wrong with a token is not hidden by there being no other.
    place.put_token(&ControlPlane::start().await);
    waiting.says("refused to enrol").await;
    tokio::time::sleep(3 * LOOK_EVERY).await;
    waiting.says("refused to enrol").await;
    *plane.shared.validity.lock().unwrap() = (Duration::ZERO, 48 * Duration::from_secs(3600));
    place.put_token(&plane);
    assert!(waiting.ends().await.enrolled().not_after() > later);
}

#[tokio::test]
async fn an_edge_whose_certificate_ends_while_it_runs_joins_again_without_a_restart() {
    let plane = ControlPlane::start().await;
    let place = Place::new(&plane, true);
    place.put_token(&plane);
    let clock = Arc::new(FixedClock::at(SystemClock.now()));
    let trouble = Trouble::default();
    let identity = Identity::obtain(place.config.clone(), clock.clone(), trouble.clone()).await.unwrap();
    let changes = identity.changes();
    let mut renewal = renewal(identity);
    // It was cut off, so that no renewal went through.
    clock.advance(25 * Duration::from_secs(3600));
    renewal.look().await;
    assert!(trouble.text().unwrap().contains("nlactl edge join-token e1"));
    let spent = fs::read(place.token_file()).unwrap();
    files::write_private(place.token_file(), b"hunter2").unwrap();
    renewal.look().await;
    assert!(trouble.text().unwrap().contains("cannot be used"));
    files::write_private(place.token_file(), &spent).unwrap();
    renewal.look().await;
    assert!(!changes.has_changed().unwrap(), "the spent token is worth nothing");
    *plane.shared.validity.lock().unwrap() = (Duration::ZERO, 72 * Duration::from_secs(3600));
    place.put_token(&plane);
    renewal.look().await;
    assert!(changes.has_changed().unwrap());
    assert!(trouble.text().is_none());
}

#[tokio::test]
async fn a_join_token_that_cannot_be_used_does_not_keep_the_certificate_from_being_renewed() {
    let plane = ControlPlane::start().await;
    let place = Place::new(&plane, true);
    let hour = Duration::from_secs(3600);
    *plane.shared.validity.lock().unwrap() = (15 * hour, 24 * hour);
    place.put_token(&plane);
    let identity = place.obtain().await.unwrap();
    let changes = identity.changes();
    files::write_private(place.token_file(), b"hunter2").unwrap();
    let mut renewal = renewal(identity);
    renewal.look().await;
    assert!(changes.has_changed().unwrap());
    place.obtain().await.expect("nor from being used");
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
    assert_eq!((kept(), trust.outdated_under().await), (3, None));
    // The other one signs from now on.
    trust.take(format!("{}{}", other.pem, plane.authority.pem)).await.unwrap();
    assert!(trust.outdated_under().await.is_some());
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
    assert!(again.trust().outdated_under().await.is_some(), "kept over a restart");
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
    assert_eq!((fs::read(place.identity_file()).unwrap(), trust.outdated_under().await), (before, None));
    fs::remove_dir(&blocked).unwrap();
    trust.take(told).await.unwrap();
}
