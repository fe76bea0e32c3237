//! When tokens were last used: many small facts that change all the time. They
//! are kept by shard, so that a minute's uses of thousands of tokens are a few
//! dozen sealed records, and outside of the revisions, which edges follow.

use std::{collections::BTreeMap, net::IpAddr};

use nla_domain::{
    clock::Timestamp,
    id::{EdgeId, TokenId},
};

/// Tokens of one shard whose use is kept; an entry takes about 120 bytes, and a
/// record is bounded. With 62 shards that is many times what one installation
/// has. Beyond it, the use that lies back furthest is forgotten.
const MAX_IN_SHARD: usize = 1_500;

/// The newest use of one token, and how many there were.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenUse {
    /// When it was last used.
    pub at: Timestamp,
    /// On which edge.
    pub edge: EdgeId,
    /// From where; `None` when the edge did not say.
    pub address: Option<IpAddr>,
    /// Requests whose token was proven, on all edges.
    pub calls: u64,
}

impl TokenUse {
    /// Adds what an edge has reported since its report before. The newest use
    /// stands, in whatever order reports come.
    #[must_use]
    pub fn merged(self, report: Self) -> Self {
        let calls = self.calls.saturating_add(report.calls);
        let newest = if report.at > self.at { report } else { self };
        Self { calls, ..newest }
    }
}

/// The uses of the tokens of one shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenUsesRecord {
    /// Which one.
    pub shard: u8,
    /// By token.
    pub uses: BTreeMap<TokenId, TokenUse>,
}

impl TokenUsesRecord {
    /// The shard of a token. Ids are random, so that shards grow alike.
    pub(super) fn shard_of(token: &TokenId) -> u8 {
        token.as_str().as_bytes()[0]
    }

    /// Sets uses, and forgets the oldest ones where there are too many.
    pub(super) fn set(&mut self, uses: impl IntoIterator<Item = (TokenId, TokenUse)>) {
        self.uses.extend(uses);
        while self.uses.len() > MAX_IN_SHARD {
            let oldest = self.uses.iter().min_by_key(|(_, used)| used.at).map(|(token, _)| *token);
            let Some(oldest) = oldest else { return };
            self.uses.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn used(at: i64, edge: &str, calls: u64) -> TokenUse {
        TokenUse {
            at: Timestamp::from_micros(at),
            edge: edge.parse().unwrap(),
            address: Some(format!("10.0.0.{at}").parse().unwrap()),
            calls,
        }
    }

    #[test]
    fn the_newest_use_stands_and_calls_add_up() {
        let first = used(5, "e1", 2);
        // Out of order, from another edge, at the same time, again.
        let cases = [
            (vec![used(3, "e2", 4)], used(5, "e1", 6)),
            (vec![used(7, "e2", 4)], used(7, "e2", 6)),
            (vec![used(7, "e2", 1), used(6, "e1", 1)], used(7, "e2", 4)),
            (vec![used(6, "e1", 1), used(7, "e2", 1)], used(7, "e2", 4)),
            (vec![used(5, "e2", 0)], used(5, "e1", 2)),
            (vec![used(5, "e1", 0), used(5, "e1", 0)], used(5, "e1", 2)),
            (vec![used(9, "e1", u64::MAX)], used(9, "e1", u64::MAX)),
        ];
        for (reports, expected) in cases {
            let shown = format!("{reports:?}");
            let merged = reports.into_iter().fold(first.clone(), TokenUse::merged);
            assert_eq!(merged, expected, "{shown}");
        }
    }

    #[test]
    fn a_full_shard_forgets_what_lies_back_furthest() {
        let mut record = TokenUsesRecord { shard: b'a', uses: BTreeMap::new() };
        let token = |n: i64| format!("a{n:011}").parse().unwrap();
        let entry = |n: i64| (token(n), TokenUse { address: None, ..used(n, "e1", 1) });
        record.set(
            (0..1_510)
                .map(|n| (token(n), TokenUse { at: Timestamp::from_micros(n), address: None, ..used(1, "e1", 1) })),
        );
        assert_eq!(record.uses.len(), MAX_IN_SHARD);
        assert!(!record.uses.contains_key(&token(9)) && record.uses.contains_key(&token(10)));
        record.set([entry(3)]);
        assert!(!record.uses.contains_key(&token(3)), "it is the oldest again");
    }
}
