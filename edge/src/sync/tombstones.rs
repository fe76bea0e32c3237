//! Tokens that were ever seen revoked. `state` asks it for each token.
//! Invariant: a token in it never comes back to life on this edge, not even
//! when the control plane is restored from an older backup.

use std::{collections::HashMap, time::Duration};

use nla_domain::{clock::Timestamp, id::TokenId};

/// Ids that are remembered; about 10 MB.
const MAX_IDS: usize = 262_144;
/// A tombstone is kept this much longer than its token would have lived, in
/// case the clock is set back.
const SLACK: Duration = Duration::from_secs(24 * 3600);

#[derive(Debug)]
pub(super) struct Tombstones {
    /// With the end of the token's life, where it was known.
    ids: HashMap<TokenId, Option<Timestamp>>,
    max_ids: usize,
}

impl Default for Tombstones {
    fn default() -> Self {
        Self { ids: HashMap::new(), max_ids: MAX_IDS }
    }
}

impl Tombstones {
    pub(super) fn contains(&self, id: &TokenId) -> bool {
        self.ids.contains_key(id)
    }

    /// Remembers a revoked token. When there is no room, those whose tokens
    /// have expired by themselves go first; if none has, the set grows: a
    /// forgotten revocation is worse than memory, and the number of items that
    /// the stream accepts bounds what one epoch can add.
    pub(super) fn insert(&mut self, id: TokenId, expires_at: Option<Timestamp>, now: Timestamp) {
        if self.ids.len() >= self.max_ids {
            self.ids.retain(|_, end| end.is_none_or(|end| end.plus(SLACK) > now));
            if self.ids.len() >= self.max_ids {
                tracing::warn!(ids = self.ids.len(), "more revoked tokens are remembered than planned for");
                self.max_ids *= 2;
            }
        }
        let known = self.ids.entry(id).or_default();
        *known = (*known).or(expires_at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: usize) -> TokenId {
        format!("{n:012}").parse().unwrap()
    }

    #[test]
    fn only_what_has_expired_makes_room() {
        let start = Timestamp::from_micros(0);
        let later = start.plus(SLACK + Duration::from_secs(2));
        let mut tombstones = Tombstones { ids: HashMap::new(), max_ids: 2 };
        tombstones.insert(id(1), Some(start.plus(Duration::from_secs(1))), start);
        tombstones.insert(id(2), None, start);
        tombstones.insert(id(3), None, later);
        assert!(!tombstones.contains(&id(1)) && tombstones.contains(&id(2)) && tombstones.contains(&id(3)));
        tombstones.insert(id(4), None, later);
        assert!([2, 3, 4].into_iter().all(|n| tombstones.contains(&id(n))), "nothing living is forgotten");
    }
}
