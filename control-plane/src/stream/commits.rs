//! When the latest revisions were committed, as the publisher saw it. Receipts
//! count from there.

use std::{collections::VecDeque, sync::Mutex};

use nla_domain::id::Revision;
use tokio::time::Instant;

use super::registry::lock;

/// Revisions that are remembered, counting those that were committed together
/// as one.
const REMEMBERED: usize = 4_096;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Commits(Mutex<VecDeque<(Revision, Instant)>>);

impl Commits {
    /// All revisions since the last note up to this one are committed.
    pub(super) fn note(&self, revision: Revision, now: Instant) {
        let mut commits = lock(&self.0);
        if commits.len() == REMEMBERED {
            commits.pop_front();
        }
        commits.push_back((revision, now));
    }

    /// When a revision was committed; `None` when that was before this process
    /// or too long ago.
    pub(super) fn at(&self, revision: Revision) -> Option<Instant> {
        let commits = lock(&self.0);
        let at = commits.partition_point(|(known, _)| *known < revision);
        // What lies before the first note is not known to the first note.
        if at == 0 && commits.front().is_none_or(|(first, _)| *first != revision) {
            return None;
        }
        commits.get(at).map(|(_, instant)| *instant)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_revision_is_found_with_those_of_its_batch() {
        let (commits, start) = (Commits::default(), Instant::now());
        let later = start + Duration::from_secs(1);
        commits.note(Revision(4), start);
        commits.note(Revision(7), later);
        for (revision, expected) in [(3, None), (4, Some(start)), (5, Some(later)), (7, Some(later)), (8, None)] {
            assert_eq!(commits.at(Revision(revision)), expected, "{revision}");
        }
        (8..10_000).for_each(|n| commits.note(Revision(n), later));
        assert_eq!(commits.at(Revision(7)), None, "forgotten");
    }
}
