//! The newest state, in memory and typed. Readers hold an `Arc<State>` and see
//! one revision of everything; only the writer makes new ones. Each map is
//! shared between revisions until it changes.

use std::{collections::BTreeMap, sync::Arc};

use nla_domain::{
    clock::Timestamp,
    credential::Credential,
    database::Database,
    id::{DatabaseName, EdgeId, Epoch, OperatorName, Revision, RoleName, TokenId},
    role::Role,
    snapshot::Settings,
};

use super::record::{
    AnswerRecord, CaRecord, CaSlot, EdgeRecord, IngestRecord, JoinRecord, KeysRecord, Meta, OperatorRecord, Record,
    RecordKey, RotationRecord, SourceRecord, Stored, TokenRecord,
};
use super::token_use::{TokenUse, TokenUsesRecord};

/// A shared map of records.
pub type Records<K, T> = Arc<BTreeMap<K, Arc<Stored<T>>>>;

/// Everything that the store holds except the audit log, at one revision.
#[derive(Clone, Debug)]
pub struct State {
    /// Life of the store.
    pub epoch: Epoch,
    /// When this life began with the restoration of a backup; `None` in a
    /// store that was never restored.
    pub restored_at: Option<Timestamp>,
    /// The life that was backed up then.
    pub former_epoch: Option<Epoch>,
    /// Counts changes.
    pub revision: Revision,
    /// What holds for all edges.
    pub settings: Arc<Stored<Settings>>,
    /// Tokens, revoked ones included.
    pub tokens: Records<TokenId, TokenRecord>,
    /// Databases.
    pub databases: Records<DatabaseName, Database>,
    /// Credentials, by database.
    pub credentials: Records<DatabaseName, Credential>,
    /// How credentials rotate, by database.
    pub rotations: Records<DatabaseName, RotationRecord>,
    /// Where credentials come from, by database.
    pub sources: Records<DatabaseName, SourceRecord>,
    /// Roles.
    pub roles: Records<RoleName, Role>,
    /// Edges, banned ones included.
    pub edges: Records<EdgeId, EdgeRecord>,
    /// Operators, banned ones included.
    pub operators: Records<OperatorName, OperatorRecord>,
    /// Join tokens, by verifier.
    pub joins: Records<[u8; 32], JoinRecord>,
    /// Certificate authorities.
    pub authorities: Records<CaSlot, CaRecord>,
    /// Remembered answers, by actor and key.
    pub(super) answers: Records<(String, String), AnswerRecord>,
    /// How far each edge's events are stored, by edge and boot.
    pub(super) ingests: Records<(EdgeId, String), IngestRecord>,
    /// When tokens were last used, by shard.
    pub(super) token_uses: Records<u8, TokenUsesRecord>,
    /// Which keys the store is to have, once that was said.
    pub keys: Records<(), KeysRecord>,
}

/// A stored record of any kind, shared.
#[derive(Clone, Debug)]
pub(super) enum Entry {
    Settings(Arc<Stored<Settings>>),
    Token(Arc<Stored<TokenRecord>>),
    Database(Arc<Stored<Database>>),
    Credential(Arc<Stored<Credential>>),
    Role(Arc<Stored<Role>>),
    Edge(Arc<Stored<EdgeRecord>>),
    Operator(Arc<Stored<OperatorRecord>>),
    Join(Arc<Stored<JoinRecord>>),
    Ca(Arc<Stored<CaRecord>>),
    Answer(Arc<Stored<AnswerRecord>>),
    Ingest(Arc<Stored<IngestRecord>>),
    Rotation(Arc<Stored<RotationRecord>>),
    Source(Arc<Stored<SourceRecord>>),
    TokenUses(Arc<Stored<TokenUsesRecord>>),
    Keys(Arc<Stored<KeysRecord>>),
}

impl Entry {
    pub(super) fn new(record: Record, meta: Meta) -> Self {
        macro_rules! wrap {
            ($($kind:ident),*) => {
                match record {
                    $(Record::$kind(value) => Self::$kind(Arc::new(Stored { value, meta })),)*
                }
            };
        }
        wrap!(
            Settings, Token, Database, Credential, Role, Edge, Operator, Join, Ca, Answer, Ingest, Rotation, Source,
            TokenUses, Keys
        )
    }

    pub(super) fn meta(&self) -> &Meta {
        match self {
            Self::Settings(e) => &e.meta,
            Self::Token(e) => &e.meta,
            Self::Database(e) => &e.meta,
            Self::Credential(e) => &e.meta,
            Self::Role(e) => &e.meta,
            Self::Edge(e) => &e.meta,
            Self::Operator(e) => &e.meta,
            Self::Join(e) => &e.meta,
            Self::Ca(e) => &e.meta,
            Self::Answer(e) => &e.meta,
            Self::Ingest(e) => &e.meta,
            Self::Rotation(e) => &e.meta,
            Self::Source(e) => &e.meta,
            Self::TokenUses(e) => &e.meta,
            Self::Keys(e) => &e.meta,
        }
    }
}

/// Sets or removes one place of a shared map; gives what was there.
fn swap<K: Ord + Clone, T>(
    records: &mut Records<K, T>,
    key: K,
    entry: Option<Arc<Stored<T>>>,
) -> Option<Arc<Stored<T>>> {
    let records = Arc::make_mut(records);
    match entry {
        Some(entry) => records.insert(key, entry),
        None => records.remove(&key),
    }
}

impl State {
    /// A state without objects.
    pub(super) fn empty(epoch: Epoch, settings: Arc<Stored<Settings>>) -> Self {
        Self {
            epoch,
            restored_at: None,
            former_epoch: None,
            revision: Revision(0),
            settings,
            tokens: Arc::default(),
            databases: Arc::default(),
            credentials: Arc::default(),
            rotations: Arc::default(),
            sources: Arc::default(),
            roles: Arc::default(),
            edges: Arc::default(),
            operators: Arc::default(),
            joins: Arc::default(),
            authorities: Arc::default(),
            answers: Arc::default(),
            ingests: Arc::default(),
            token_uses: Arc::default(),
            keys: Arc::default(),
        }
    }

    /// Puts an entry in its place, or empties the place; gives what was there.
    /// The settings' place is never empty.
    pub(super) fn replace(&mut self, key: &RecordKey, entry: Option<Entry>) -> Option<Entry> {
        macro_rules! swap_in {
            ($kind:ident, $field:ident, $key:expr) => {{
                let entry = match entry {
                    Some(Entry::$kind(entry)) => Some(entry),
                    Some(_) => unreachable!("an entry's kind follows from its key"),
                    None => None,
                };
                swap(&mut self.$field, $key, entry).map(Entry::$kind)
            }};
        }
        match key {
            RecordKey::Settings => match entry {
                Some(Entry::Settings(new)) => Some(Entry::Settings(std::mem::replace(&mut self.settings, new))),
                _ => unreachable!("settings are only ever replaced by settings"),
            },
            RecordKey::Token(id) => swap_in!(Token, tokens, *id),
            RecordKey::Database(name) => swap_in!(Database, databases, name.clone()),
            RecordKey::Credential(name) => swap_in!(Credential, credentials, name.clone()),
            RecordKey::Role(name) => swap_in!(Role, roles, name.clone()),
            RecordKey::Edge(id) => swap_in!(Edge, edges, id.clone()),
            RecordKey::Operator(name) => swap_in!(Operator, operators, name.clone()),
            RecordKey::Join(verifier) => swap_in!(Join, joins, *verifier),
            RecordKey::Ca(slot) => swap_in!(Ca, authorities, *slot),
            RecordKey::Answer(actor, id) => swap_in!(Answer, answers, (actor.clone(), id.clone())),
            RecordKey::Rotation(name) => swap_in!(Rotation, rotations, name.clone()),
            RecordKey::Source(name) => swap_in!(Source, sources, name.clone()),
            RecordKey::Ingest(edge, boot) => swap_in!(Ingest, ingests, (edge.clone(), boot.clone())),
            RecordKey::TokenUses(shard) => swap_in!(TokenUses, token_uses, *shard),
            RecordKey::Keys => swap_in!(Keys, keys, ()),
        }
    }

    /// The start of that edge that was heard of least recently, when a new one
    /// would be more than `most`.
    pub(super) fn ingest_to_forget(&self, edge: &EdgeId, boot: &str, most: usize) -> Option<RecordKey> {
        let from = (edge.clone(), String::new());
        let of_edge = || self.ingests.range(from.clone()..).take_while(|((of, _), _)| of == edge);
        if self.ingests.contains_key(&(edge.clone(), boot.to_owned())) || of_edge().count() < most {
            return None;
        }
        let oldest = of_edge().min_by_key(|(_, record)| record.value.at);
        oldest.map(|((edge, boot), _)| RecordKey::Ingest(edge.clone(), boot.clone()))
    }

    /// True for a certificate that this store does not hold because the edge got
    /// it after the backup from which the store was restored: it is newer than
    /// the one that is held, and all that were issued since the restore are held
    /// when they are the newest.
    pub(crate) fn renewed_after_backup(&self, edge: &EdgeRecord, serial: &[u8], not_after: Timestamp) -> bool {
        self.restored_at.is_some() && edge.held(serial).is_none() && not_after > edge.certificate.not_after
    }

    /// A record of any kind, by name.
    pub(super) fn entry(&self, key: &RecordKey) -> Option<Entry> {
        match key {
            RecordKey::Settings => Some(Entry::Settings(self.settings.clone())),
            RecordKey::Token(id) => self.tokens.get(id).cloned().map(Entry::Token),
            RecordKey::Database(name) => self.databases.get(name).cloned().map(Entry::Database),
            RecordKey::Credential(name) => self.credentials.get(name).cloned().map(Entry::Credential),
            RecordKey::Role(name) => self.roles.get(name).cloned().map(Entry::Role),
            RecordKey::Edge(id) => self.edges.get(id).cloned().map(Entry::Edge),
            RecordKey::Operator(name) => self.operators.get(name).cloned().map(Entry::Operator),
            RecordKey::Join(verifier) => self.joins.get(verifier).cloned().map(Entry::Join),
            RecordKey::Ca(slot) => self.authorities.get(slot).cloned().map(Entry::Ca),
            RecordKey::Answer(actor, id) => self.answers.get(&(actor.clone(), id.clone())).cloned().map(Entry::Answer),
            RecordKey::Rotation(name) => self.rotations.get(name).cloned().map(Entry::Rotation),
            RecordKey::Source(name) => self.sources.get(name).cloned().map(Entry::Source),
            RecordKey::Ingest(edge, boot) => {
                self.ingests.get(&(edge.clone(), boot.clone())).cloned().map(Entry::Ingest)
            }
            RecordKey::TokenUses(shard) => self.token_uses.get(shard).cloned().map(Entry::TokenUses),
            RecordKey::Keys => self.keys.get(&()).cloned().map(Entry::Keys),
        }
    }

    /// When a token was last used, as far as it is stored.
    pub fn token_use(&self, token: &TokenId) -> Option<&TokenUse> {
        self.token_uses.get(&TokenUsesRecord::shard_of(token))?.value.uses.get(token)
    }

    /// Number of records.
    pub(super) fn count(&self) -> u64 {
        let counts = [
            1,
            self.tokens.len(),
            self.databases.len(),
            self.credentials.len(),
            self.roles.len(),
            self.edges.len(),
            self.operators.len(),
            self.joins.len(),
            self.authorities.len(),
            self.answers.len(),
            self.ingests.len(),
            self.rotations.len(),
            self.sources.len(),
            self.token_uses.len(),
            self.keys.len(),
        ];
        counts.iter().sum::<usize>() as u64
    }

    /// Where in its life a record was last changed; `None` when there is none.
    pub fn meta(&self, key: &RecordKey) -> Option<Meta> {
        self.entry(key).map(|entry| entry.meta().clone())
    }
}
