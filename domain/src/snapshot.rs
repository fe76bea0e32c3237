//! What an edge knows: the items that the control plane streams to it, and
//! their digest. A snapshot is immutable; a change makes a new one.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use aws_lc_rs::digest;

use crate::{
    credential::Credential,
    database::Database,
    id::{DatabaseName, Epoch, Revision, RoleName, TokenId},
    pepper::Peppers,
    role::Role,
    token::Token,
};

/// Kinds of items on the stream. The numbers are those of the wire.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum ItemKind {
    /// [`Settings`]; its id is empty.
    Settings,
    /// [`Database`], by name.
    Database,
    /// [`Credential`], by its database's name.
    Credential,
    /// [`Role`], by name.
    Role,
    /// [`Token`], by id.
    Token,
    /// A revoked token's id. It outlives the token on the edge.
    Tombstone,
}

/// Names one item.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ItemKey {
    /// What it is.
    pub kind: ItemKind,
    /// Which one.
    pub id: Box<str>,
}

impl fmt::Display for ItemKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}/{}", self.kind, self.id)
    }
}

/// SHA-256.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Digest(pub [u8; 32]);

/// Bytes of a set of items that are hashed at once.
const PIECE_BYTES: usize = 16 << 10;

impl Digest {
    /// The digest of one item's encoded body.
    pub fn of(body: &[u8]) -> Self {
        let hash = digest::digest(&digest::SHA256, body);
        Self(hash.as_ref().try_into().expect("SHA-256 yields 32 bytes"))
    }

    /// From its 32 bytes; `None` for any other length.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        Some(Self(bytes.try_into().ok()?))
    }

    /// The digest of a whole set of items: SHA-256 over each key and body
    /// digest in key order. Both ends compute it; a difference means that the
    /// edge does not hold what the control plane thinks, and it asks for all.
    pub fn of_items<'a>(items: impl IntoIterator<Item = (&'a ItemKey, &'a Digest)>) -> Self {
        let mut context = digest::Context::new(&digest::SHA256);
        // Hashed in large pieces: a call for each field would cost more than the hash.
        let mut piece = Vec::with_capacity(PIECE_BYTES + 1_024);
        for (key, body) in items {
            let length = u32::try_from(key.id.len()).unwrap_or(u32::MAX);
            piece.push(key.kind as u8);
            piece.extend_from_slice(&length.to_be_bytes());
            piece.extend_from_slice(key.id.as_bytes());
            piece.extend_from_slice(&body.0);
            if piece.len() >= PIECE_BYTES {
                context.update(&piece);
                piece.clear();
            }
        }
        context.update(&piece);
        Self(context.finish().as_ref().try_into().expect("SHA-256 yields 32 bytes"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Settings that hold for all edges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Keys of the token verifiers.
    pub peppers: Peppers,
    /// How long `strict` tokens survive without a heartbeat.
    pub strict_staleness: Duration,
    /// How long `standard` tokens survive without a heartbeat.
    pub standard_staleness: Duration,
    /// Certificate authorities that edges trust, PEM, the one that signs first.
    /// Empty: those that came with the edge's certificate.
    pub ca_bundle_pem: String,
}

impl Settings {
    /// Settings with these peppers, and everything else as usual.
    pub fn new(peppers: Peppers) -> Self {
        Self {
            peppers,
            strict_staleness: DEFAULT_STRICT_STALENESS,
            standard_staleness: DEFAULT_STANDARD_STALENESS,
            ca_bundle_pem: String::new(),
        }
    }
}

/// Bound of `strict` tokens unless configured: a few missed heartbeats, so
/// that a cut-off edge stops before anyone has finished reading the alert.
pub const DEFAULT_STRICT_STALENESS: Duration = Duration::from_secs(15);
/// Bound of `standard` tokens unless configured: long enough to restart or
/// upgrade the control plane.
pub const DEFAULT_STANDARD_STALENESS: Duration = Duration::from_secs(300);
/// No bound may be longer than a day: an edge must not serve for ever what may
/// have been revoked.
pub const MAX_STALENESS: Duration = Duration::from_secs(24 * 3600);

/// All that an edge decides by, at one revision.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Life of the control plane's state.
    pub epoch: Epoch,
    /// The state's counter.
    pub revision: Revision,
    /// Settings for all edges.
    pub settings: Arc<Settings>,
    /// By name.
    pub databases: BTreeMap<DatabaseName, Arc<Database>>,
    /// By the database's name.
    pub credentials: BTreeMap<DatabaseName, Arc<Credential>>,
    /// By name.
    pub roles: BTreeMap<RoleName, Arc<Role>>,
    /// By id. Revoked tokens are not in it.
    pub tokens: std::collections::HashMap<TokenId, Arc<Token>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(kind: ItemKind, id: &str) -> ItemKey {
        ItemKey { kind, id: id.into() }
    }

    #[test]
    fn the_digest_sees_key_kind_body_and_boundaries() {
        let body = Digest::of(b"x");
        let other = Digest::of(b"y");
        let sets: Vec<Vec<(ItemKey, Digest)>> = vec![
            vec![],
            vec![(key(ItemKind::Role, "a"), body)],
            vec![(key(ItemKind::Role, "a"), other)],
            vec![(key(ItemKind::Token, "a"), body)],
            vec![(key(ItemKind::Role, "ab"), body)],
            vec![(key(ItemKind::Role, "a"), body), (key(ItemKind::Role, "b"), body)],
        ];
        let digests: Vec<Digest> = sets.iter().map(|set| Digest::of_items(set.iter().map(|(k, d)| (k, d)))).collect();
        for (i, a) in digests.iter().enumerate() {
            for (j, b) in digests.iter().enumerate() {
                assert_eq!(a == b, i == j, "{i} {j}");
            }
        }
    }
}
