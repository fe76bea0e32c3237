//! The newest state, in memory and typed. Readers hold an `Arc<State>` and see
//! one revision of everything; only the writer makes new ones. Each map is
//! shared between revisions until it changes.

use std::{collections::BTreeMap, sync::Arc};

use nla_domain::{
    credential::Credential,
    database::Database,
    id::{DatabaseName, EdgeId, Epoch, OperatorName, Revision, RoleName, TokenId},
    role::Role,
    snapshot::Settings,
};

use super::record::{
    AnswerRecord, CaRecord, CaSlot, EdgeRecord, IngestRecord, JoinRecord, Meta, OperatorRecord, Record, RecordKey,
    Stored, TokenRecord,
};
use super::token_use::{TokenUse, TokenUsesRecord};

/// A shared map of records.
pub type Records<K, T> = Arc<BTreeMap<K, Arc<Stored<T>>>>;

/// Everything that the store holds except the audit log, at one revision.
#[derive(Clone, Debug)]
pub struct State {
    /// Life of the store.
    pub epoch: Epoch,
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
    TokenUses(Arc<Stored<TokenUsesRecord>>),
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
        wrap!(Settings, Token, Database, Credential, Role, Edge, Operator, Join, Ca, Answer, Ingest, TokenUses)
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
            Self::TokenUses(e) => &e.meta,
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
            revision: Revision(0),
            settings,
            tokens: Arc::default(),
            databases: Arc::default(),
            credentials: Arc::default(),
            roles: Arc::default(),
            edges: Arc::default(),
            operators: Arc::default(),
            joins: Arc::default(),
            authorities: Arc::default(),
            answers: Arc::default(),
            ingests: Arc::default(),
            token_uses: Arc::default(),
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
            RecordKey::Ingest(edge, boot) => swap_in!(Ingest, ingests, (edge.clone(), boot.clone())),
            RecordKey::TokenUses(shard) => swap_in!(TokenUses, token_uses, *shard),
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
            RecordKey::Ingest(edge, boot) => {
                self.ingests.get(&(edge.clone(), boot.clone())).cloned().map(Entry::Ingest)
            }
            RecordKey::TokenUses(shard) => self.token_uses.get(shard).cloned().map(Entry::TokenUses),
        }
    }

    /// When a token was last used, as far as it is stored.
    pub fn token_use(&self, token: &TokenId) -> Option<&TokenUse> {
        self.token_uses.get(&TokenUsesRecord::shard_of(token))?.value.uses.get(token)
    }

    /// Where in its life a record was last changed; `None` when there is none.
    pub fn meta(&self, key: &RecordKey) -> Option<Meta> {
        self.entry(key).map(|entry| entry.meta().clone())
    }
}
