//! Rotation of keys by request, over restarts.

use std::fs;

use nla_control_plane::{
    app,
    init::{RotateKekError, rotate_kek},
    store::StoreError,
};
use nla_proto::v1::{self, keys_client::KeysClient, tokens_client::TokensClient};

use crate::plane::{Plane, eventually, once, token_request};

fn client(plane: &Plane) -> KeysClient<tonic::transport::Channel> {
    KeysClient::new(plane.admin_channel())
}

fn request() -> v1::RotateKeyRequest {
    v1::RotateKeyRequest { idempotency_key: once() }
}

async fn status(plane: &Plane) -> v1::KeyStatus {
    client(plane).status(v1::KeyStatusRequest {}).await.unwrap().into_inner()
}

async fn until(plane: &Plane, what: &str, holds: impl Fn(&v1::KeyStatus) -> bool) -> v1::KeyStatus {
    eventually(what, async || Some(status(plane).await).filter(|status| holds(status))).await
}

#[tokio::test]
async fn the_key_encryption_key_is_replaced_in_its_file() {
    let mut plane = Plane::start().await;
    let file = plane.config.key_file.clone();
    let old = fs::read(&file).unwrap();
    let asked = request();
    let first = client(&plane).rotate_kek(asked.clone()).await.unwrap().into_inner();
    assert_eq!((first.kek_generation, first.kek_pending.as_str()), (2, ""));
    assert_eq!(first.kek_file, file.display().to_string());
    let new = fs::read(&file).unwrap();
    assert_ne!(old, new);
    // The answer was lost, say: the same request makes no third key.
    assert_eq!(client(&plane).rotate_kek(asked).await.unwrap().into_inner().kek_generation, 2);
    assert_eq!(fs::read(&file).unwrap(), new);
    plane.restart().await;
    assert_eq!(status(&plane).await.kek_generation, 2);
    client(&plane).rotate_kek(request()).await.unwrap();
    plane.restart().await;
    let status = status(&plane).await;
    assert_eq!((status.kek_generation, status.kek_rotated_at.is_some()), (3, true));
}

#[tokio::test]
async fn a_key_that_is_handed_in_is_not_replaced_and_the_way_is_named() {
    let plane = Plane::start().await;
    let file = plane.config.key_file.clone();
    let elsewhere = plane.folder.path().join("elsewhere");
    fs::rename(&file, &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &file).unwrap();
    let refused = client(&plane).rotate_kek(request()).await.unwrap_err();
    assert!(refused.message().contains("nla-control-plane rotate-kek --new-key FILE"), "{refused}");
    let status = status(&plane).await;
    assert_eq!((status.kek_generation, status.kek_pending.as_str()), (1, ""));
}

#[tokio::test]
async fn a_key_that_is_handed_in_is_replaced_offline() {
    let mut plane = Plane::start().await;
    let new = plane.folder.path().join("new.kek");
    let refused = rotate_kek(&plane.config, &new).await.unwrap_err();
    assert!(matches!(refused, RotateKekError::Store(StoreError::InUse { .. })), "{refused:?}");
    plane.stop().await;
    // The file that the refused attempt has made is used, and a repeat is no other key.
    for _ in 0..2 {
        assert_eq!(rotate_kek(&plane.config, &new).await.unwrap(), 2);
    }
    assert!(app::build(plane.config.clone()).await.is_err(), "with the old key");
    plane.config.key_file = new;
    plane.start_again().await;
    assert_eq!(status(&plane).await.kek_generation, 2);
    // Online again, from there on.
    assert_eq!(client(&plane).rotate_kek(request()).await.unwrap().into_inner().kek_generation, 3);
}

#[tokio::test]
async fn data_keys_are_replaced_while_others_write_and_over_a_restart() {
    let mut plane = Plane::start().await;
    plane.shop().await;
    for _ in 0..200 {
        plane.token().await;
    }
    let asked = client(&plane).rotate_data(request()).await.unwrap().into_inner();
    assert!(asked.data_pending.is_empty() || asked.data_pending == "it begins in a moment", "{asked:?}");
    plane.restart().await;
    plane.token().await;
    let settled = until(&plane, "the end of the rotation", |status| status.data_generations == [2]).await;
    assert_eq!((settled.data_generation, settled.data_pending.as_str()), (2, ""));
    assert!(settled.seals > 0 && settled.seals < settled.max_seals && settled.reseal.is_empty());
    plane.restart().await;
    assert_eq!(status(&plane).await.data_generations, [2]);
    client(&plane).rotate_data(request()).await.unwrap();
    until(&plane, "the end of the next rotation", |status| status.data_generations == [3]).await;
    let listed = TokensClient::new(plane.admin_channel()).list(v1::ListTokensRequest::default()).await.unwrap();
    assert_eq!(listed.into_inner().tokens.len(), 201);
}

#[tokio::test]
async fn a_pepper_goes_when_no_token_needs_it() {
    let plane = Plane::start().await;
    plane.shop().await;
    let mut tokens = TokensClient::new(plane.admin_channel());
    let old = tokens.create(token_request()).await.unwrap().into_inner().token.unwrap();
    let rotated = client(&plane).rotate_pepper(request()).await.unwrap().into_inner();
    let new = tokens.create(token_request()).await.unwrap().into_inner().token.unwrap();
    assert_eq!((old.pepper_generation, new.pepper_generation), (1, 2));
    let counts: Vec<_> = rotated.peppers.iter().map(|p| (p.generation, p.newest, p.live_tokens)).collect();
    assert_eq!(counts, [(1, false, 1), (2, true, 0)]);
    assert!(rotated.peppers[0].last_token_ends_at.is_some());

    let rotate = v1::RotateTokenRequest { idempotency_key: once(), id: old.id, ..Default::default() };
    let next = tokens.rotate(rotate).await.unwrap().into_inner().token.unwrap();
    assert_eq!(next.pepper_generation, 2);
    client(&plane).rotate_pepper(request()).await.unwrap();
    let left = until(&plane, "the end of the first pepper", |status| status.peppers.len() == 2).await;
    let counts: Vec<_> = left.peppers.iter().map(|p| (p.generation, p.live_tokens)).collect();
    assert_eq!(counts, [(2, 2), (3, 0)]);
}
