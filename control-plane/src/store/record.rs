//! What the store keeps: one typed record for each object, with where in the
//! store's life it was last changed. Services read these; [`super::draft`]
//! writes them.

use std::fmt;

use ipnet::IpNet;
use nla_domain::{
    clock::Timestamp,
    credential::Credential,
    database::Database,
    id::{DatabaseName, EdgeId, OperatorName, Revision, RoleName, TokenId},
    join::JoinVerifier,
    label::Labels,
    operator::Level,
    role::Role,
    snapshot::{Digest, ItemKey, ItemKind, Settings},
    token::Token,
};
use zeroize::Zeroizing;

use super::token_use::TokenUsesRecord;

/// Where in its life a record was changed. The store fills it in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meta {
    /// The store's revision at the last change.
    pub revision: Revision,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// Who made it.
    pub created_by: String,
}

/// A record as stored.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored<T> {
    /// The record.
    pub value: T,
    /// Where in its life.
    pub meta: Meta,
}

/// An end that an operator ordered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocation {
    /// When.
    pub at: Timestamp,
    /// Who.
    pub by: String,
    /// Why, as the operator said it.
    pub reason: String,
}

/// An interruption of service that an operator ordered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pause {
    /// Since when.
    pub since: Timestamp,
    /// Why, as the operator said it.
    pub reason: String,
}

/// A token. A revoked one stays as its own tombstone.
#[derive(Clone, Debug, PartialEq)]
pub struct TokenRecord {
    /// What edges know of it.
    pub token: Token,
    /// What it is for.
    pub purpose: String,
    /// Set once; a token never comes back.
    pub revoked: Option<Revocation>,
    /// The token that this one replaces.
    pub predecessor: Option<TokenId>,
    /// The token that replaces this one.
    pub successor: Option<TokenId>,
    /// What operators sort it by.
    pub labels: Labels,
    /// What the audit log was last told of its end.
    pub noticed: Option<Notice>,
}

/// What the audit log is told of the end of a token's life, in this order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Notice {
    /// It ends within 30 days.
    Within30Days,
    /// It ends within 7 days.
    Within7Days,
    /// It ends within a day.
    Within1Day,
    /// It has ended.
    Ended,
}

/// A certificate that this control plane issued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateRecord {
    /// Serial number, big-endian.
    pub serial: Vec<u8>,
    /// End of validity.
    pub not_after: Timestamp,
}

/// An enrolled edge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EdgeRecord {
    /// Its name.
    pub id: EdgeId,
    /// The newest certificate.
    pub certificate: CertificateRecord,
    /// The one that was renewed by it, until the new one has been used: an
    /// answer that got lost locks no edge out. A certificate for a join token
    /// leaves none beside it.
    pub previous: Option<CertificateRecord>,
    /// Banned.
    pub revoked: Option<Revocation>,
    /// To be left alone by load balancers, until an operator ends it.
    pub draining: Option<Pause>,
    /// To refuse every call and hold nothing, until an operator ends it.
    pub quarantine: Option<Pause>,
}

impl EdgeRecord {
    /// An edge that has just joined for the first time.
    pub fn new(id: EdgeId, certificate: CertificateRecord) -> Self {
        Self { id, certificate, previous: None, revoked: None, draining: None, quarantine: None }
    }

    /// The certificate of that serial number, if it lets this edge in.
    pub fn held(&self, serial: &[u8]) -> Option<&CertificateRecord> {
        [Some(&self.certificate), self.previous.as_ref()].into_iter().flatten().find(|held| held.serial == serial)
    }
}

/// An operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperatorRecord {
    /// The name in the certificate.
    pub name: OperatorName,
    /// What this operator may do.
    pub level: Level,
    /// The certificate in use.
    pub certificate: CertificateRecord,
    /// One that was issued to replace it and has not yet done so. Both let the
    /// operator in, so that an answer that got lost locks nobody out.
    pub next: Option<CertificateRecord>,
    /// Banned.
    pub revoked: Option<Revocation>,
}

impl OperatorRecord {
    /// The certificate of that serial number, if it lets this operator in.
    pub fn held(&self, serial: &[u8]) -> Option<&CertificateRecord> {
        [Some(&self.certificate), self.next.as_ref()].into_iter().flatten().find(|held| held.serial == serial)
    }

    /// When the last of its certificates ends.
    pub fn expires_at(&self) -> Timestamp {
        self.next.as_ref().map_or(self.certificate.not_after, |next| next.not_after.max(self.certificate.not_after))
    }
}

/// A join token that was handed out. There is at most one for each verifier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinRecord {
    /// SHA-256 of the secret.
    pub verifier: JoinVerifier,
    /// Whom it lets in.
    pub edge: EdgeId,
    /// When it ends.
    pub expires_at: Timestamp,
    /// When it was used; a spent one is kept until it expires, so that its
    /// second use can be told from a wrong secret.
    pub spent_at: Option<Timestamp>,
    /// From where it can be used; empty means from everywhere.
    pub allowed_cidrs: Vec<IpNet>,
}

/// Place of a certificate authority. There are two, so that a new one can be
/// made known everywhere before it signs anything.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum CaSlot {
    /// Signs.
    Current,
    /// Will sign.
    Next,
}

impl CaSlot {
    /// The name in keys and messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Current => "current",
            Self::Next => "next",
        }
    }
}

/// A certificate authority.
#[derive(Clone, PartialEq, Eq)]
pub struct CaRecord {
    /// Which one.
    pub slot: CaSlot,
    /// In SPIFFE ids.
    pub trust_domain: String,
    /// Its certificate.
    pub certificate_der: Vec<u8>,
    /// Its private key.
    pub key_pkcs8: Zeroizing<Vec<u8>>,
}

impl fmt::Debug for CaRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CaRecord")
            .field("slot", &self.slot)
            .field("trust_domain", &self.trust_domain)
            .finish_non_exhaustive()
    }
}

/// The answer to a request that carried an idempotency key.
#[derive(Clone, PartialEq, Eq)]
pub struct AnswerRecord {
    /// Who asked.
    pub actor: String,
    /// The key that came with the request.
    pub key: String,
    /// Digest of the request.
    pub request: Digest,
    /// The encoded answer, which may hold a new token.
    pub response: Zeroizing<Vec<u8>>,
    /// When it was given.
    pub at: Timestamp,
}

impl fmt::Debug for AnswerRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AnswerRecord").field("actor", &self.actor).field("at", &self.at).finish_non_exhaustive()
    }
}

/// How far the events of one start of an edge are stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IngestRecord {
    /// Which edge.
    pub edge: EdgeId,
    /// Which start of it.
    pub boot: String,
    /// The last number stored.
    pub stored_through: u64,
    /// When that was.
    pub at: Timestamp,
}

macro_rules! records {
    ($($(#[$doc:meta])* $kind:ident($body:ty)),* $(,)?) => {
        /// Any record, to be written.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Record {
            $($(#[$doc])* $kind($body),)*
        }

        $(impl From<$body> for Record {
            fn from(body: $body) -> Self {
                Self::$kind(body)
            }
        })*
    };
}

records! {
    /// The settings of all edges; there is one.
    Settings(Settings),
    /// A token.
    Token(TokenRecord),
    /// A database.
    Database(Database),
    /// A credential.
    Credential(Credential),
    /// A role.
    Role(Role),
    /// An edge.
    Edge(EdgeRecord),
    /// An operator.
    Operator(OperatorRecord),
    /// A join token.
    Join(JoinRecord),
    /// A certificate authority.
    Ca(CaRecord),
    /// A remembered answer.
    Answer(AnswerRecord),
    /// How far an edge's events are stored.
    Ingest(IngestRecord),
    /// When tokens were last used.
    TokenUses(TokenUsesRecord),
}

/// Names a record.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum RecordKey {
    /// The settings.
    Settings,
    /// By id.
    Token(TokenId),
    /// By name.
    Database(DatabaseName),
    /// By its database's name.
    Credential(DatabaseName),
    /// By name.
    Role(RoleName),
    /// By name.
    Edge(EdgeId),
    /// By name.
    Operator(OperatorName),
    /// By the verifier's bytes.
    Join([u8; 32]),
    /// By place.
    Ca(CaSlot),
    /// By who asked and the key.
    Answer(String, String),
    /// By edge and start.
    Ingest(EdgeId, String),
    /// By shard.
    TokenUses(u8),
}

impl Record {
    /// Its name.
    pub fn key(&self) -> RecordKey {
        match self {
            Self::Settings(_) => RecordKey::Settings,
            Self::Token(r) => RecordKey::Token(r.token.id),
            Self::Database(r) => RecordKey::Database(r.name.clone()),
            Self::Credential(r) => RecordKey::Credential(r.database.clone()),
            Self::Role(r) => RecordKey::Role(r.name.clone()),
            Self::Edge(r) => RecordKey::Edge(r.id.clone()),
            Self::Operator(r) => RecordKey::Operator(r.name.clone()),
            Self::Join(r) => RecordKey::Join(*r.verifier.as_bytes()),
            Self::Ca(r) => RecordKey::Ca(r.slot),
            Self::Answer(r) => RecordKey::Answer(r.actor.clone(), r.key.clone()),
            Self::Ingest(r) => RecordKey::Ingest(r.edge.clone(), r.boot.clone()),
            Self::TokenUses(r) => RecordKey::TokenUses(r.shard),
        }
    }
}

impl RecordKey {
    /// The kind's name, in messages and in the index.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Settings => "settings",
            Self::Token(_) => "token",
            Self::Database(_) => "database",
            Self::Credential(_) => "credential",
            Self::Role(_) => "role",
            Self::Edge(_) => "edge",
            Self::Operator(_) => "operator",
            Self::Join(_) => "join",
            Self::Ca(_) => "ca",
            Self::Answer(..) => "answer",
            Self::Ingest(..) => "ingest",
            Self::TokenUses(_) => "token-uses",
        }
    }

    /// Its identifying parts; what the store's index hashes.
    pub fn parts(&self) -> Vec<&[u8]> {
        match self {
            Self::Settings => vec![],
            Self::Token(id) => vec![id.as_str().as_bytes()],
            Self::Database(name) | Self::Credential(name) => vec![name.as_str().as_bytes()],
            Self::Role(name) => vec![name.as_str().as_bytes()],
            Self::Edge(id) => vec![id.as_str().as_bytes()],
            Self::Operator(name) => vec![name.as_str().as_bytes()],
            Self::Join(verifier) => vec![verifier],
            Self::Ca(slot) => vec![slot.as_str().as_bytes()],
            Self::Answer(actor, key) => vec![actor.as_bytes(), key.as_bytes()],
            Self::Ingest(edge, boot) => vec![edge.as_str().as_bytes(), boot.as_bytes()],
            Self::TokenUses(shard) => vec![std::slice::from_ref(shard)],
        }
    }

    /// The items on the edges' stream that a change of this record may touch.
    pub fn items(&self) -> Vec<ItemKey> {
        let item = |kind, id: &str| ItemKey { kind, id: id.into() };
        match self {
            Self::Settings => vec![item(ItemKind::Settings, "")],
            Self::Token(id) => vec![item(ItemKind::Token, id.as_str()), item(ItemKind::Tombstone, id.as_str())],
            Self::Database(name) => vec![item(ItemKind::Database, name.as_str())],
            Self::Credential(name) => vec![item(ItemKind::Credential, name.as_str())],
            Self::Role(name) => vec![item(ItemKind::Role, name.as_str())],
            Self::Edge(_)
            | Self::Operator(_)
            | Self::Join(_)
            | Self::Ca(_)
            | Self::Answer(..)
            | Self::Ingest(..)
            | Self::TokenUses(_) => vec![],
        }
    }
}

impl fmt::Display for RecordKey {
    /// Kind and name. A join token's verifier and an idempotency key mean
    /// nothing to a reader and are left out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind())?;
        match self {
            Self::Settings | Self::Join(_) => Ok(()),
            Self::Token(id) => write!(f, "/{id}"),
            Self::Database(name) | Self::Credential(name) => write!(f, "/{name}"),
            Self::Role(name) => write!(f, "/{name}"),
            Self::Edge(id) => write!(f, "/{id}"),
            Self::Operator(name) => write!(f, "/{name}"),
            Self::Ca(slot) => write!(f, "/{}", slot.as_str()),
            Self::Answer(actor, _) => write!(f, "/{actor}"),
            Self::Ingest(edge, _) => write!(f, "/{edge}"),
            Self::TokenUses(shard) => write!(f, "/{}", char::from(*shard)),
        }
    }
}
