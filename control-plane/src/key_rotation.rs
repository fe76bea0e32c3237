//! Finishes rotations of keys. What is wanted stands in the store
//! ([`KeysRecord`], the settings' peppers), what is there in its header and its
//! records; this task makes the one into the other, and therefore goes on where
//! it was cut off. Woken by requests and by a period; a failure is shown in the
//! status and tried again.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use nla_domain::{
    clock::{Timestamp, WallClock},
    pepper::Peppers,
    snapshot::Settings,
};
use nla_proto::{failure::Failure, v1};
use tokio::{sync::Notify, time::Instant};

use crate::{
    crypto::{KekFile, Tree},
    store::{Draft, KeysRecord, State, Store, TokenRecord},
};

/// Tokens end by the clock, and a full disk is emptied, without anybody's call.
const PERIOD: Duration = Duration::from_secs(60);
/// In this order each record is sealed anew once. The head has no place in it:
/// each commit seals that.
const PASS: [Tree; 4] = [Tree::State, Tree::Changes, Tree::Audit, Tree::Meta];
/// As audit events name the program itself.
const ACTOR: &str = "control-plane";

/// The task, and what it shows of itself.
#[derive(Debug)]
pub(crate) struct KeyRotation {
    store: Store,
    file: KekFile,
    clock: Arc<dyn WallClock>,
    wake: Notify,
    progress: Mutex<Progress>,
}

/// How far it is.
#[derive(Debug, Clone, Default)]
pub(crate) struct Progress {
    /// Why the key-encryption key is not yet replaced.
    pub(crate) kek_failure: String,
    /// Why no record is sealed anew at the moment.
    pub(crate) data_failure: String,
    /// Records looked at in the pass that runs.
    pub(crate) passed: Vec<(Tree, u64)>,
}

impl KeyRotation {
    pub(crate) fn new(store: Store, file: KekFile, clock: Arc<dyn WallClock>) -> Arc<Self> {
        Arc::new(Self { store, file, clock, wake: Notify::new(), progress: Mutex::default() })
    }

    /// Where the key-encryption key lies.
    pub(crate) fn kek_file(&self) -> &KekFile {
        &self.file
    }

    pub(crate) fn progress(&self) -> Progress {
        self.locked().clone()
    }

    /// There is something to do; it is begun at once.
    pub(crate) fn wake(&self) {
        self.wake.notify_one();
    }

    /// Whether keys are there that a rotation has not yet finished with.
    pub(crate) async fn is_rotating(&self) -> Result<bool, Failure> {
        let (facts, wanted) = (self.store.key_facts().await?, wanted(&self.store.state()));
        let behind = facts.kek_generation < wanted.kek_generation || facts.data_generation() < wanted.data_generation;
        Ok(behind || facts.data_generations.len() > 1)
    }

    /// Works for ever.
    pub(crate) async fn run(self: Arc<Self>) -> Infallible {
        loop {
            // Each failure has been noted where it shows.
            let _ = self.finish_kek().await;
            let _ = self.finish_data_keys().await;
            if let Err(failure) = self.forget_peppers().await {
                tracing::error!(%failure, "a pepper that no token needs could not be destroyed");
            }
            tokio::select! {
                () = self.wake.notified() => {}
                () = tokio::time::sleep(PERIOD) => {}
            }
        }
    }

    /// Replaces the key-encryption key if that was asked for.
    pub(crate) async fn finish_kek(&self) -> Result<(), Failure> {
        let wanted = wanted(&self.store.state()).kek_generation;
        let replaced = match wanted {
            0 => Ok(()),
            wanted => self.store.kek_replace(self.file.clone(), wanted).await,
        };
        self.note(&replaced, "the key-encryption key could not be replaced", |progress| &mut progress.kek_failure);
        replaced
    }

    async fn finish_data_keys(&self) -> Result<(), Failure> {
        let finished = self.seal_anew().await;
        self.locked().passed.clear();
        self.note(&finished, "records could not be sealed anew", |progress| &mut progress.data_failure);
        finished
    }

    async fn seal_anew(&self) -> Result<(), Failure> {
        let wanted = wanted(&self.store.state()).data_generation;
        if self.store.key_facts().await?.data_generation() < wanted {
            self.store.data_keys_add(self.file.clone(), wanted).await?;
        }
        loop {
            let facts = self.store.key_facts().await?;
            let newest = facts.data_generation();
            let old: Vec<u32> = facts.data_generations.into_iter().filter(|generation| *generation != newest).collect();
            if old.is_empty() {
                return Ok(());
            }
            // Only what nothing refers to may go, and only a pass that has
            // found nothing proves that: all that was sealed since is of the newest.
            if self.pass().await? == 0 {
                let event = event("destroy-data-keys", "keys/data", &serde_json::json!({ "destroyed": old }));
                self.store.data_keys_destroy(self.file.clone(), newest, event).await?;
                tracing::info!(newest, destroyed = ?old, "all records are sealed by the newest data keys");
            }
        }
    }

    /// Looks at every record once; answers how many had to be sealed anew.
    async fn pass(&self) -> Result<u64, Failure> {
        self.locked().passed = PASS.iter().map(|tree| (*tree, 0)).collect();
        let mut resealed = 0;
        for (at, tree) in PASS.into_iter().enumerate() {
            let mut after = None;
            loop {
                let begun = Instant::now();
                let slice = self.store.reseal(tree, after).await?;
                resealed += slice.resealed;
                self.locked().passed[at].1 += slice.looked_at;
                after = slice.next;
                if after.is_none() {
                    break;
                }
                // Half of the writer's time is left to others.
                tokio::time::sleep(begun.elapsed()).await;
            }
        }
        Ok(resealed)
    }

    /// Destroys peppers that no valid token needs.
    async fn forget_peppers(&self) -> Result<(), Failure> {
        let state = self.store.state();
        if unneeded(&state, self.clock.now()).is_empty() {
            return Ok(());
        }
        let change = |draft: &mut Draft<'_>| {
            let unneeded = unneeded(draft.state(), draft.now());
            let mut settings: Settings = draft.state().settings.value.clone();
            for generation in &unneeded {
                settings.peppers.remove(*generation);
            }
            if !unneeded.is_empty() {
                draft.event(event("destroy-pepper", "keys/pepper", &serde_json::json!({ "destroyed": unneeded })));
                draft.put(settings);
                tracing::info!(destroyed = ?unneeded, "destroyed peppers that no token needs");
            }
            Ok(())
        };
        self.store.mutate(ACTOR, change).await
    }

    fn note(&self, outcome: &Result<(), Failure>, what: &str, place: impl FnOnce(&mut Progress) -> &mut String) {
        let text = outcome.as_ref().err().map(|failure| failure.message.clone()).unwrap_or_default();
        if !text.is_empty() {
            tracing::error!(reason = text, "{what}; it is tried again");
        }
        *place(&mut self.locked()) = text;
    }

    fn locked(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Which keys were asked for.
pub(crate) fn wanted(state: &State) -> KeysRecord {
    state.keys.get(&()).map(|stored| stored.value.clone()).unwrap_or_default()
}

/// Whether a token could still be used.
pub(crate) fn is_live(record: &TokenRecord, now: Timestamp) -> bool {
    record.revoked.is_none() && record.token.expires_at.is_none_or(|end| end > now)
}

/// An expired token's pepper is kept this much longer: a clock that jumped ahead
/// must not destroy what still valid tokens need.
const PEPPER_SLACK: Duration = Duration::from_secs(7 * 24 * 3600);

fn unneeded(state: &State, now: Timestamp) -> Vec<u32> {
    let peppers: &Peppers = &state.settings.value.peppers;
    let newest = peppers.newest().0;
    let needs = |generation: u32| {
        state.tokens.values().map(|stored| &stored.value).any(|record| {
            let expires_at = record.token.expires_at;
            let may_live = record.revoked.is_none() && expires_at.is_none_or(|end| end.plus(PEPPER_SLACK) > now);
            may_live && record.token.pepper_generation == generation
        })
    };
    let old = peppers.iter().map(|(generation, _)| generation).filter(|generation| *generation != newest);
    old.filter(|generation| !needs(*generation)).collect()
}

fn event(action: &str, object: &str, after: &serde_json::Value) -> v1::AdminEvent {
    v1::AdminEvent {
        actor: ACTOR.to_owned(),
        action: action.to_owned(),
        object: object.to_owned(),
        outcome: v1::Outcome::Succeeded.into(),
        after_json: after.to_string(),
        ..Default::default()
    }
}
