//! Idempotency: a change that came with a key is made once. The answer is kept
//! for an hour in the same commit as the change, so that there is no moment in
//! which one is there without the other.

use std::time::Duration;

use nla_domain::{error::ErrorKind, snapshot::Digest};
use nla_proto::failure::Failure;
use prost::Message;
use zeroize::Zeroizing;

use super::{
    Draft,
    record::{AnswerRecord, RecordKey, Stored},
};

/// How long an answer is kept.
pub const REMEMBERED: Duration = Duration::from_secs(3_600);

/// Longest accepted key.
const MAX_KEY_BYTES: usize = 128;
/// Answers that one commit forgets at most, so that a quiet hour's end does
/// not make one change slow.
const FORGOTTEN_AT_ONCE: usize = 32;
/// Answers that are kept at most: each holds memory for an hour.
const MAX_REMEMBERED: usize = if cfg!(test) { 500 } else { 50_000 };
/// Of these, for one actor: a script gone wild must not keep others from
/// revoking what it has made.
const MAX_OF_ONE: usize = if cfg!(test) { 100 } else { 10_000 };

/// Makes a change happen once.
#[derive(Debug, Clone)]
pub struct Once {
    key: String,
    request: Digest,
}

impl Once {
    /// From the key that came with the request and the request itself. The
    /// request's own key is part of it and does no harm.
    ///
    /// # Errors
    /// When the key is empty, too long or not printable.
    pub fn new(key: &str, method: &str, request: &impl Message) -> Result<Self, Failure> {
        if key.is_empty() || key.len() > MAX_KEY_BYTES || !key.bytes().all(|b| b.is_ascii_graphic()) {
            let message = "must be 1 to 128 printable characters without spaces, fresh for each change, such as a UUID";
            return Err(Failure::invalid("idempotency_key", message));
        }
        let mut bytes = Zeroizing::new(method.as_bytes().to_vec());
        bytes.push(0);
        bytes.extend_from_slice(&Zeroizing::new(request.encode_to_vec()));
        Ok(Self { key: key.into(), request: Digest::of(&bytes) })
    }
}

/// Runs a change inside of a draft unless it has been made already.
pub(super) fn run<T: Message + Default>(
    draft: &mut Draft<'_>,
    once: Once,
    change: impl FnOnce(&mut Draft<'_>) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let now = draft.now();
    let place = (draft.actor().to_owned(), once.key.clone());
    let remembered = draft.state().answers.get(&place).filter(|answer| now.since(answer.value.at) < REMEMBERED);
    if let Some(answer) = remembered {
        if answer.value.request != once.request {
            let message = "this idempotency key was used for another request: use a fresh key for each change";
            return Err(Failure::new(ErrorKind::Conflict, message).with_field("idempotency_key"));
        }
        return T::decode(answer.value.response.as_slice())
            .map_err(|_| Failure::new(ErrorKind::Internal, "the first answer cannot be read"));
    }
    room(draft, &place.0)?;
    let value = change(draft)?;
    // Without a change there is nothing that a repetition could do twice.
    if draft.changed() {
        forget(draft);
        let response = Zeroizing::new(value.encode_to_vec());
        let (actor, key) = place;
        draft.put(AnswerRecord { actor, key, request: once.request, response, at: now });
    }
    Ok(value)
}

/// Counts what an hour's end has not yet forgotten only where it could matter.
fn room(draft: &Draft<'_>, actor: &str) -> Result<(), Failure> {
    let (now, answers) = (draft.now(), &draft.state().answers);
    let fresh = |answer: &Stored<AnswerRecord>| now.since(answer.value.at) < REMEMBERED;
    let of_actor = answers.range((actor.to_owned(), String::new())..).take_while(|((of, _), _)| of == actor);
    let all_taken = || answers.values().filter(|answer| fresh(answer)).count() >= MAX_REMEMBERED;
    if of_actor.filter(|(_, answer)| fresh(answer)).count() >= MAX_OF_ONE
        || (answers.len() >= MAX_REMEMBERED && all_taken())
    {
        return Err(Failure::new(ErrorKind::Overloaded, "too many changes within an hour: try again later"));
    }
    Ok(())
}

fn forget(draft: &mut Draft<'_>) {
    let now = draft.now();
    let answers = draft.state().answers.iter();
    let old = answers.filter(|(_, answer)| now.since(answer.value.at) >= REMEMBERED);
    let old: Vec<_> = old.map(|((actor, key), _)| RecordKey::Answer(actor.clone(), key.clone())).collect();
    for key in old.into_iter().take(FORGOTTEN_AT_ONCE) {
        draft.remove(&key);
    }
}
