//! Records as bytes. They are protobuf messages, so that a newer version can
//! add fields; objects that edges know are stored in the wire's own form.
//! Only the writer and the loader use this.

use std::collections::BTreeMap;

use nla_domain::{
    clock::Timestamp,
    id::{Revision, TokenId},
    join::JoinVerifier,
    label::Labels,
    snapshot::{Digest, Settings},
};
use nla_proto::{
    convert::{self, ConvertError},
    v1,
};
use prost::Message;
use zeroize::Zeroizing;

use super::{
    record::{
        AnswerRecord, CaRecord, CaSlot, CertificateRecord, EdgeRecord, IngestRecord, JoinRecord, KeysRecord, Meta,
        Notice, OperatorRecord, Pause, Record, Revocation, TokenRecord,
    },
    state::Entry,
    token_use::{TokenUse, TokenUsesRecord},
};
use crate::redacted::redacted;

mod rotation;
mod source;

use rotation::RotationBody;
use source::SourceBody;

#[derive(Clone, PartialEq, prost::Message)]
#[prost(skip_debug)]
struct Envelope {
    #[prost(message, required, tag = "1")]
    meta: MetaBody,
    #[prost(oneof = "Body", tags = "2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 17")]
    body: Option<Body>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
#[prost(skip_debug)]
enum Body {
    #[prost(message, tag = "2")]
    Settings(v1::Settings),
    #[prost(message, tag = "3")]
    Token(TokenBody),
    #[prost(message, tag = "4")]
    Database(v1::Database),
    #[prost(message, tag = "5")]
    Credential(v1::CredentialItem),
    #[prost(message, tag = "6")]
    Role(v1::Role),
    #[prost(message, tag = "7")]
    Edge(EdgeBody),
    #[prost(message, tag = "8")]
    Operator(OperatorBody),
    #[prost(message, tag = "9")]
    Join(JoinBody),
    #[prost(message, tag = "10")]
    Ca(CaBody),
    #[prost(message, tag = "11")]
    Answer(AnswerBody),
    #[prost(message, tag = "12")]
    Ingest(IngestBody),
    #[prost(message, tag = "13")]
    Rotation(RotationBody),
    #[prost(message, tag = "17")]
    Source(SourceBody),
    #[prost(message, tag = "14")]
    TokenUses(TokenUsesBody),
    #[prost(message, tag = "15")]
    Keys(KeysBody),
}

macro_rules! bodies {
    ($($name:ident { $($(#[$attr:meta])* $field:ident: $type:ty),* $(,)? })*) => {$(
        #[derive(Clone, PartialEq, prost::Message)]
        #[prost(skip_debug)]
        struct $name { $($(#[$attr])* $field: $type,)* }
        redacted!($name);
    )*};
}

bodies! {
    MetaBody {
        #[prost(uint64, tag = "1")] revision: u64,
        #[prost(sint64, tag = "2")] created_at: i64,
        #[prost(sint64, tag = "3")] updated_at: i64,
        #[prost(string, tag = "4")] created_by: String,
    }
    RevocationBody {
        #[prost(sint64, tag = "1")] at: i64,
        #[prost(string, tag = "2")] by: String,
        #[prost(string, tag = "3")] reason: String,
    }
    TokenBody {
        #[prost(message, optional, tag = "1")] token: Option<v1::Token>,
        #[prost(string, tag = "2")] purpose: String,
        #[prost(message, optional, tag = "3")] revoked: Option<RevocationBody>,
        #[prost(string, tag = "4")] predecessor: String,
        #[prost(string, tag = "5")] successor: String,
        #[prost(btree_map = "string, string", tag = "6")] labels: BTreeMap<String, String>,
        #[prost(uint32, tag = "7")] noticed: u32,
    }
    TokenUsesBody {
        #[prost(uint32, tag = "1")] shard: u32,
        #[prost(message, repeated, tag = "2")] uses: Vec<TokenUseBody>,
    }
    TokenUseBody {
        #[prost(string, tag = "1")] token: String,
        #[prost(sint64, tag = "2")] at: i64,
        #[prost(string, tag = "3")] edge: String,
        #[prost(string, tag = "4")] address: String,
        #[prost(uint64, tag = "5")] calls: u64,
    }
    EdgeBody {
        #[prost(string, tag = "1")] id: String,
        #[prost(bytes = "vec", tag = "2")] serial: Vec<u8>,
        #[prost(sint64, tag = "3")] not_after: i64,
        #[prost(message, optional, tag = "4")] revoked: Option<RevocationBody>,
        #[prost(message, optional, tag = "5")] draining: Option<PauseBody>,
        #[prost(message, optional, tag = "6")] quarantine: Option<PauseBody>,
        #[prost(message, optional, tag = "7")] previous: Option<CertificateBody>,
        #[prost(bytes = "vec", tag = "8")] issuer: Vec<u8>,
    }
    PauseBody {
        #[prost(sint64, tag = "1")] since: i64,
        #[prost(string, tag = "2")] reason: String,
    }
    OperatorBody {
        #[prost(string, tag = "1")] name: String,
        #[prost(enumeration = "v1::Level", tag = "2")] level: i32,
        #[prost(bytes = "vec", tag = "3")] serial: Vec<u8>,
        #[prost(sint64, tag = "4")] not_after: i64,
        #[prost(message, optional, tag = "5")] revoked: Option<RevocationBody>,
        #[prost(message, optional, tag = "6")] next: Option<CertificateBody>,
        #[prost(bytes = "vec", tag = "7")] issuer: Vec<u8>,
    }
    CertificateBody {
        #[prost(bytes = "vec", tag = "1")] serial: Vec<u8>,
        #[prost(sint64, tag = "2")] not_after: i64,
        #[prost(bytes = "vec", tag = "3")] issuer: Vec<u8>,
    }
    JoinBody {
        #[prost(bytes = "vec", tag = "1")] verifier: Vec<u8>,
        #[prost(string, tag = "2")] edge: String,
        #[prost(sint64, tag = "3")] expires_at: i64,
        #[prost(sint64, optional, tag = "4")] spent_at: Option<i64>,
        #[prost(string, repeated, tag = "5")] allowed_cidrs: Vec<String>,
    }
    CaBody {
        #[prost(string, tag = "1")] slot: String,
        #[prost(string, tag = "2")] trust_domain: String,
        #[prost(bytes = "vec", tag = "3")] certificate_der: Vec<u8>,
        #[prost(bytes = "vec", tag = "4")] key_pkcs8: Vec<u8>,
    }
    AnswerBody {
        #[prost(string, tag = "1")] actor: String,
        #[prost(string, tag = "2")] key: String,
        #[prost(bytes = "vec", tag = "3")] request: Vec<u8>,
        #[prost(bytes = "vec", tag = "4")] response: Vec<u8>,
        #[prost(sint64, tag = "5")] at: i64,
    }
    KeysBody {
        #[prost(uint64, tag = "1")] kek_generation: u64,
        #[prost(sint64, optional, tag = "2")] kek_rotated_at: Option<i64>,
        #[prost(uint32, tag = "3")] data_generation: u32,
        #[prost(sint64, optional, tag = "4")] data_rotated_at: Option<i64>,
    }
    IngestBody {
        #[prost(string, tag = "1")] edge: String,
        #[prost(string, tag = "2")] boot: String,
        #[prost(uint64, tag = "3")] stored_through: u64,
        #[prost(sint64, tag = "4")] at: i64,
    }
}

redacted!(Envelope, Body);

/// An entry's bytes.
pub(super) fn encode(entry: &Entry) -> Zeroizing<Vec<u8>> {
    let meta = entry.meta();
    let meta = MetaBody {
        revision: meta.revision.0,
        created_at: meta.created_at.as_micros(),
        updated_at: meta.updated_at.as_micros(),
        created_by: meta.created_by.clone(),
    };
    Zeroizing::new(Envelope { meta, body: Some(body(entry)) }.encode_to_vec())
}

fn body(entry: &Entry) -> Body {
    match entry {
        Entry::Settings(e) => Body::Settings((&e.value).into()),
        Entry::Token(e) => Body::Token(TokenBody {
            token: Some((&e.value.token).into()),
            purpose: e.value.purpose.clone(),
            revoked: e.value.revoked.as_ref().map(revocation),
            predecessor: e.value.predecessor.map(|id| id.to_string()).unwrap_or_default(),
            successor: e.value.successor.map(|id| id.to_string()).unwrap_or_default(),
            labels: e.value.labels.as_map().clone(),
            noticed: e.value.noticed.map_or(0, noticed),
        }),
        Entry::Database(e) => Body::Database((&e.value).into()),
        Entry::Credential(e) => Body::Credential((&e.value).into()),
        Entry::Role(e) => Body::Role((&e.value).into()),
        Entry::Edge(e) => Body::Edge(EdgeBody {
            id: e.value.id.to_string(),
            serial: e.value.certificate.serial.clone(),
            not_after: e.value.certificate.not_after.as_micros(),
            revoked: e.value.revoked.as_ref().map(revocation),
            draining: e.value.draining.as_ref().map(pause),
            quarantine: e.value.quarantine.as_ref().map(pause),
            previous: e.value.previous.as_ref().map(certificate_body),
            issuer: e.value.certificate.issuer.clone(),
        }),
        Entry::Operator(e) => Body::Operator(OperatorBody {
            name: e.value.name.to_string(),
            level: convert::level(e.value.level).into(),
            serial: e.value.certificate.serial.clone(),
            not_after: e.value.certificate.not_after.as_micros(),
            revoked: e.value.revoked.as_ref().map(revocation),
            next: e.value.next.as_ref().map(certificate_body),
            issuer: e.value.certificate.issuer.clone(),
        }),
        Entry::Join(e) => Body::Join(JoinBody {
            verifier: e.value.verifier.as_bytes().to_vec(),
            edge: e.value.edge.to_string(),
            expires_at: e.value.expires_at.as_micros(),
            spent_at: e.value.spent_at.map(Timestamp::as_micros),
            allowed_cidrs: e.value.allowed_cidrs.iter().map(ToString::to_string).collect(),
        }),
        Entry::Ca(e) => Body::Ca(CaBody {
            slot: e.value.slot.as_str().into(),
            trust_domain: e.value.trust_domain.clone(),
            certificate_der: e.value.certificate_der.clone(),
            key_pkcs8: e.value.key_pkcs8.to_vec(),
        }),
        Entry::Answer(e) => Body::Answer(AnswerBody {
            actor: e.value.actor.clone(),
            key: e.value.key.clone(),
            request: e.value.request.0.to_vec(),
            response: e.value.response.to_vec(),
            at: e.value.at.as_micros(),
        }),
        Entry::Keys(e) => Body::Keys(KeysBody {
            kek_generation: e.value.kek_generation,
            kek_rotated_at: e.value.kek_rotated_at.map(Timestamp::as_micros),
            data_generation: e.value.data_generation,
            data_rotated_at: e.value.data_rotated_at.map(Timestamp::as_micros),
        }),
        Entry::Ingest(e) => Body::Ingest(IngestBody {
            edge: e.value.edge.to_string(),
            boot: e.value.boot.clone(),
            stored_through: e.value.stored_through,
            at: e.value.at.as_micros(),
        }),
        Entry::Rotation(e) => Body::Rotation((&e.value).into()),
        Entry::Source(e) => Body::Source((&e.value).into()),
        Entry::TokenUses(e) => Body::TokenUses(TokenUsesBody {
            shard: e.value.shard.into(),
            uses: e.value.uses.iter().map(token_use).collect(),
        }),
    }
}

const NOTICES: [Notice; 4] = [Notice::Within30Days, Notice::Within7Days, Notice::Within1Day, Notice::Ended];

/// Its place in the order, from 1; zero is none.
fn noticed(notice: Notice) -> u32 {
    NOTICES.iter().zip(1..).find(|(known, _)| **known == notice).map_or(0, |(_, number)| number)
}

fn from_noticed(number: u32) -> Result<Option<Notice>, ConvertError> {
    let Some(index) = number.checked_sub(1) else { return Ok(None) };
    let notice = usize::try_from(index).ok().and_then(|index| NOTICES.get(index));
    notice.map(|notice| Some(*notice)).ok_or_else(|| ConvertError::new("noticed", "is none that this version knows"))
}

fn token_use((token, used): (&TokenId, &TokenUse)) -> TokenUseBody {
    TokenUseBody {
        token: token.to_string(),
        at: used.at.as_micros(),
        edge: used.edge.to_string(),
        address: used.address.map(|address| address.to_string()).unwrap_or_default(),
        calls: used.calls,
    }
}

fn from_token_use(body: TokenUseBody) -> Result<(TokenId, TokenUse), ConvertError> {
    let used = TokenUse {
        at: Timestamp::from_micros(body.at),
        edge: parse("edge", &body.edge)?,
        address: optional("address", &body.address)?,
        calls: body.calls,
    };
    Ok((parse("token", &body.token)?, used))
}

fn revocation(revoked: &Revocation) -> RevocationBody {
    RevocationBody { at: revoked.at.as_micros(), by: revoked.by.clone(), reason: revoked.reason.clone() }
}

fn pause(pause: &Pause) -> PauseBody {
    PauseBody { since: pause.since.as_micros(), reason: pause.reason.clone() }
}

fn certificate_body(certificate: &CertificateRecord) -> CertificateBody {
    CertificateBody {
        serial: certificate.serial.clone(),
        not_after: certificate.not_after.as_micros(),
        issuer: certificate.issuer.clone(),
    }
}

/// Reads an entry's bytes.
pub(super) fn decode(bytes: &[u8]) -> Result<(Record, Meta), ConvertError> {
    let envelope = Envelope::decode(bytes).map_err(|error| ConvertError::new("record", error.to_string()))?;
    let meta = envelope.meta;
    let meta = Meta {
        revision: Revision(meta.revision),
        created_at: Timestamp::from_micros(meta.created_at),
        updated_at: Timestamp::from_micros(meta.updated_at),
        created_by: meta.created_by,
    };
    let body =
        envelope.body.ok_or_else(|| ConvertError::new("record", "is of a kind that this version does not know"))?;
    Ok((record(body)?, meta))
}

fn record(body: Body) -> Result<Record, ConvertError> {
    Ok(match body {
        Body::Settings(body) => Record::Settings(Settings::try_from(body)?),
        Body::Token(body) => Record::Token(TokenRecord {
            token: body.token.ok_or_else(|| ConvertError::new("token", "is missing"))?.try_into()?,
            purpose: body.purpose,
            revoked: body.revoked.map(from_revocation),
            predecessor: optional("predecessor", &body.predecessor)?,
            successor: optional("successor", &body.successor)?,
            labels: Labels::new(body.labels).map_err(|error| ConvertError::new("labels", error.to_string()))?,
            noticed: from_noticed(body.noticed)?,
        }),
        Body::Database(body) => Record::Database(body.try_into()?),
        Body::Credential(body) => Record::Credential(body.try_into()?),
        Body::Role(body) => Record::Role(body.try_into()?),
        Body::Edge(body) => Record::Edge(EdgeRecord {
            id: parse("id", &body.id)?,
            certificate: certificate(body.serial, body.not_after, body.issuer),
            revoked: body.revoked.map(from_revocation),
            draining: body.draining.map(from_pause),
            quarantine: body.quarantine.map(from_pause),
            previous: body.previous.map(|previous| certificate(previous.serial, previous.not_after, previous.issuer)),
        }),
        Body::Operator(body) => Record::Operator(OperatorRecord {
            name: parse("name", &body.name)?,
            level: convert::from_level("level", body.level)?,
            certificate: certificate(body.serial, body.not_after, body.issuer),
            revoked: body.revoked.map(from_revocation),
            next: body.next.map(|next| certificate(next.serial, next.not_after, next.issuer)),
        }),
        Body::Join(body) => Record::Join(JoinRecord {
            verifier: JoinVerifier::from_slice(&body.verifier)
                .ok_or_else(|| ConvertError::new("verifier", "must be 32 bytes"))?,
            edge: parse("edge", &body.edge)?,
            expires_at: Timestamp::from_micros(body.expires_at),
            spent_at: body.spent_at.map(Timestamp::from_micros),
            allowed_cidrs: body
                .allowed_cidrs
                .iter()
                .map(|net| parse("allowed_cidrs", net))
                .collect::<Result<_, _>>()?,
        }),
        Body::Ca(body) => Record::Ca(CaRecord {
            slot: CaSlot::ALL
                .into_iter()
                .find(|slot| slot.as_str() == body.slot)
                .ok_or_else(|| ConvertError::new("slot", "is none of current, next and previous"))?,
            trust_domain: body.trust_domain,
            certificate_der: body.certificate_der,
            key_pkcs8: Zeroizing::new(body.key_pkcs8),
        }),
        Body::Answer(body) => Record::Answer(AnswerRecord {
            actor: body.actor,
            key: body.key,
            request: Digest::from_slice(&body.request)
                .ok_or_else(|| ConvertError::new("request", "must be 32 bytes"))?,
            response: Zeroizing::new(body.response),
            at: Timestamp::from_micros(body.at),
        }),
        Body::Keys(body) => Record::Keys(KeysRecord {
            kek_generation: body.kek_generation,
            kek_rotated_at: body.kek_rotated_at.map(Timestamp::from_micros),
            data_generation: body.data_generation,
            data_rotated_at: body.data_rotated_at.map(Timestamp::from_micros),
        }),
        Body::Ingest(body) => Record::Ingest(IngestRecord {
            edge: parse("edge", &body.edge)?,
            boot: body.boot,
            stored_through: body.stored_through,
            at: Timestamp::from_micros(body.at),
        }),
        Body::Rotation(body) => Record::Rotation(body.try_into()?),
        Body::Source(body) => Record::Source(body.try_into()?),
        Body::TokenUses(body) => Record::TokenUses(TokenUsesRecord {
            shard: u8::try_from(body.shard).map_err(|_| ConvertError::new("shard", "must be a byte"))?,
            uses: body.uses.into_iter().map(from_token_use).collect::<Result<_, _>>()?,
        }),
    })
}

fn from_revocation(body: RevocationBody) -> Revocation {
    Revocation { at: Timestamp::from_micros(body.at), by: body.by, reason: body.reason }
}

fn from_pause(body: PauseBody) -> Pause {
    Pause { since: Timestamp::from_micros(body.since), reason: body.reason }
}

fn certificate(serial: Vec<u8>, not_after: i64, issuer: Vec<u8>) -> CertificateRecord {
    CertificateRecord { serial, not_after: Timestamp::from_micros(not_after), issuer }
}

fn parse<T: std::str::FromStr<Err: std::fmt::Display>>(field: &str, text: &str) -> Result<T, ConvertError> {
    text.parse().map_err(|error: T::Err| ConvertError::new(field, error.to_string()))
}

fn optional<T: std::str::FromStr<Err: std::fmt::Display>>(field: &str, text: &str) -> Result<Option<T>, ConvertError> {
    if text.is_empty() { Ok(None) } else { parse(field, text).map(Some) }
}
