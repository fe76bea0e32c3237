//! Batches, which exist in 2025-03-26 only: several messages in one body, answered by one array.
//!
//! Called by `serve`. Invariant: a batch buys nothing: each call is admitted by itself, they run one
//! after the other under one deadline, and their number is bounded.

use std::collections::HashSet;
use std::sync::Arc;

use http::StatusCode;
use http::request::Parts;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::delivery::Room;
use super::dispatch;
use super::encode::{self, Reply};
use super::error::RpcError;
use super::handler::Handler;
use super::options::Options;
use super::prepare::{self, Envelope, PreparedCall, Taken};
use super::serve::Server;
use super::version::Version;

pub(super) fn prepare<H: Handler>(
    handler: &H,
    version: Version,
    elements: &[&RawValue],
    envelope: &Envelope<'_>,
    options: &Options,
) -> Result<Vec<Taken>, RpcError> {
    if !version.allows_batches() {
        return Err(RpcError::invalid_request(
            "batches exist in protocol version 2025-03-26 only; send one message per request",
        ));
    }
    if elements.is_empty() || elements.len() > options.max_batch {
        return Err(RpcError::invalid_request(format!("a batch has 1 to {} messages", options.max_batch)));
    }
    let mut ids = HashSet::new();
    let mut prepared = Vec::with_capacity(elements.len());
    for (index, element) in elements.iter().enumerate() {
        let element_envelope = Envelope {
            request_id: if index == 0 { envelope.request_id } else { Uuid::now_v7() },
            cancel: envelope.cancel.clone(),
            in_batch: true,
            ..*envelope
        };
        let taken = prepare::take(handler, element.get().as_bytes(), &element_envelope);
        let id = match &taken {
            Taken::Call(call) => Some(&call.id),
            Taken::Answered { id, .. } => id.as_ref(),
            Taken::Accepted => None,
        };
        if let Some(id) = id
            && !ids.insert(id.clone())
        {
            return Err(RpcError::invalid_request("two requests of the batch have the same id"));
        }
        prepared.push(taken);
    }
    Ok(prepared)
}

/// Answers of a batch are kept until the last one is there; beyond this many bytes the rest is refused.
const MOST_ANSWER_BYTES: usize = 16 * 1024 * 1024;

/// The array of answers and the room of its last call; `None` when there was nothing to answer.
pub(super) async fn run<H: Handler>(
    server: Arc<Server<H>>,
    parts: Parts,
    principal: H::Principal,
    prepared: Vec<Taken>,
) -> Option<(Reply, Option<Room>)> {
    let mut first = Some(principal);
    let mut answers = Vec::new();
    let mut bytes = 0;
    let mut room = None;
    for taken in prepared {
        let reply = match taken {
            Taken::Accepted => continue,
            Taken::Answered { reply, .. } => reply,
            Taken::Call(call) => {
                let PreparedCall { id, version, work } = *call;
                let admitted = match first.take() {
                    Some(principal) => Ok(principal),
                    None => {
                        // A token may have room for one call only.
                        drop(room.take());
                        server.handler.admit(&parts).await
                    }
                };
                match admitted {
                    Ok(principal) => {
                        room = server.handler.room(&principal);
                        if bytes > MOST_ANSWER_BYTES {
                            let error = RpcError::new(413, "the answers before this one fill the batch; send it alone");
                            answers.push(encode::error(Some(&id), version, &error).json);
                            continue;
                        }
                        let handler = &*server.handler;
                        dispatch::run(handler, &server.rendered, &principal, &id, version, work).await
                    }
                    Err(refusal) => encode::error(Some(&id), version, &refusal.error),
                }
            }
        };
        bytes += reply.json.len();
        answers.push(reply.json);
    }
    if answers.is_empty() {
        return None;
    }
    let mut json = b"[".to_vec();
    json.extend_from_slice(&answers.join(&b","[..]));
    json.push(b']');
    Some((Reply { status: StatusCode::OK, json }, room))
}
