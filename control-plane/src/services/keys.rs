//! Rotation of the store's keys and of the pepper. A request writes down what
//! is wanted; [`crate::key_rotation`] makes it so, also after a restart.

use std::sync::Arc;

use nla_domain::{error::ErrorKind, secret::Key32, snapshot::Settings};
use nla_proto::{convert, failure::Failure, v1};
use serde_json::json;
use tonic::{Request, Response, Status};

use super::{Context, change::Change};
use crate::{
    crypto::{Tree, random},
    key_rotation::{is_live, wanted},
    store::KeysRecord,
};

/// The service.
#[derive(Debug)]
pub(super) struct Keys(pub(super) Arc<Context>);

#[tonic::async_trait]
impl v1::keys_server::Keys for Keys {
    async fn status(&self, _request: Request<v1::KeyStatusRequest>) -> Result<Response<v1::KeyStatus>, Status> {
        Ok(Response::new(self.state_of_affairs().await?))
    }

    async fn rotate_kek(&self, request: Request<v1::RotateKeyRequest>) -> Result<Response<v1::KeyStatus>, Status> {
        let (change, _) = Change::of(request, "/nla.v1.Keys/RotateKek", |r| &r.idempotency_key)?;
        let rotations = &self.0.keys;
        // Before it is written down: a wish that cannot be granted would stay.
        self.0.store.kek_probe(rotations.kek_file().clone()).await?;
        let present = self.0.store.key_facts().await?.kek_generation;
        let asked = change.commit(&self.0.store, move |draft, recorder| {
            let before = wanted(draft.state());
            if before.kek_generation > present {
                return Err(under_way("the key-encryption key"));
            }
            let generation = before.kek_generation.max(present) + 1;
            let record = KeysRecord { kek_generation: generation, kek_rotated_at: Some(draft.now()), ..before };
            let (old, new) = (json!({ "generation": present }), json!({ "generation": generation }));
            recorder.record(draft, "keys/kek", Some(old), Some(new));
            draft.put(record);
            Ok(())
        });
        asked.await?;
        rotations.finish_kek().await?;
        Ok(Response::new(self.state_of_affairs().await?))
    }

    async fn rotate_data(&self, request: Request<v1::RotateKeyRequest>) -> Result<Response<v1::KeyStatus>, Status> {
        let (change, _) = Change::of(request, "/nla.v1.Keys/RotateData", |r| &r.idempotency_key)?;
        let facts = self.0.store.key_facts().await?;
        let asked = change.commit(&self.0.store, move |draft, recorder| {
            let (before, present) = (wanted(draft.state()), facts.data_generation());
            if facts.data_generations.len() > 1 || before.data_generation > present {
                return Err(under_way("the data keys"));
            }
            let generation = present + 1;
            let record = KeysRecord { data_generation: generation, data_rotated_at: Some(draft.now()), ..before };
            let (old, new) = (json!({ "generation": present }), json!({ "generation": generation }));
            recorder.record(draft, "keys/data", Some(old), Some(new));
            draft.put(record);
            Ok(())
        });
        asked.await?;
        self.0.keys.wake();
        Ok(Response::new(self.state_of_affairs().await?))
    }

    async fn rotate_pepper(&self, request: Request<v1::RotateKeyRequest>) -> Result<Response<v1::KeyStatus>, Status> {
        let (change, _) = Change::of(request, "/nla.v1.Keys/RotatePepper", |r| &r.idempotency_key)?;
        let asked = change.commit(&self.0.store, move |draft, recorder| {
            let mut settings: Settings = draft.state().settings.value.clone();
            let before = settings.peppers.newest().0;
            let fresh = random().map_err(|error| Failure::new(ErrorKind::Unavailable, error.to_string()))?;
            let Some(generation) = settings.peppers.add(Key32::new(fresh)) else {
                let message = "there are as many peppers as there may be: rotate the tokens of the oldest ones first, \
                               see `nlactl key status`";
                return Err(Failure::new(ErrorKind::FailedPrecondition, message));
            };
            let (old, new) = (json!({ "generation": before }), json!({ "generation": generation }));
            recorder.record(draft, "keys/pepper", Some(old), Some(new));
            draft.put(settings);
            Ok(())
        });
        asked.await?;
        self.0.keys.wake();
        Ok(Response::new(self.state_of_affairs().await?))
    }
}

fn under_way(what: &str) -> Failure {
    let message = format!("a rotation of {what} is under way: see `nlactl key status`");
    Failure::new(ErrorKind::FailedPrecondition, message)
}

impl Keys {
    async fn state_of_affairs(&self) -> Result<v1::KeyStatus, Failure> {
        let (store, rotations) = (&self.0.store, &self.0.keys);
        let (facts, progress) = (store.key_facts().await?, rotations.progress());
        let (state, now) = (store.state(), self.0.clock.now());
        let wanted = wanted(&state);
        let waiting = |behind: bool, failure: String| match (behind, failure.is_empty()) {
            (true, true) => "it begins in a moment".to_owned(),
            _ => failure,
        };
        let peppers = &state.settings.value.peppers;
        let resealing = facts.data_generations.len() > 1;
        let peppers = peppers.iter().map(|(generation, _)| {
            let live = state.tokens.values().map(|stored| &stored.value).filter(|record| is_live(record, now));
            let live: Vec<_> = live.filter(|record| record.token.pepper_generation == generation).collect();
            let ends: Option<Vec<_>> = live.iter().map(|record| record.token.expires_at).collect();
            v1::PepperView {
                generation,
                newest: generation == peppers.newest().0,
                live_tokens: live.len() as u64,
                last_token_ends_at: ends.and_then(|ends| ends.into_iter().max()).map(convert::timestamp),
            }
        });
        Ok(v1::KeyStatus {
            kek_generation: facts.kek_generation,
            kek_file: rotations.kek_file().path().display().to_string(),
            kek_rotated_at: wanted.kek_rotated_at.map(convert::timestamp),
            kek_pending: waiting(facts.kek_generation < wanted.kek_generation, progress.kek_failure),
            data_generation: facts.data_generation(),
            data_rotated_at: wanted.data_rotated_at.map(convert::timestamp),
            data_pending: waiting(facts.data_generation() < wanted.data_generation, progress.data_failure),
            data_generations: facts.data_generations,
            seals: facts.seals,
            max_seals: facts.max_seals,
            reseal: progress
                .passed
                .iter()
                .filter(|(tree, _)| resealing && *tree != Tree::Meta)
                .map(|(tree, done)| v1::ResealProgress {
                    tree: tree.as_str().to_owned(),
                    done: *done,
                    total: store.records(*tree).max(*done),
                })
                .collect(),
            peppers: peppers.collect(),
        })
    }
}
