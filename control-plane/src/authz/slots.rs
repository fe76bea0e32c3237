//! Calls in work on one listener. A call is in work from its headers on, so a
//! caller that never sends its message holds a place until the deadline of
//! calls; no caller may hold all of them.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

/// Places for calls; clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Slots(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    most: usize,
    most_of_one: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    /// Callers that hold a place, so that this is no larger than `all`.
    of: HashMap<String, usize>,
}

/// One place; dropping it gives the place back.
#[derive(Debug)]
pub(super) struct Slot {
    slots: Slots,
    caller: String,
}

impl Slots {
    /// `most` in all, of which one caller gets a quarter.
    pub(crate) fn new(most: usize) -> Self {
        Self(Arc::new(Shared { most, most_of_one: most.div_ceil(4), taken: Mutex::default() }))
    }

    /// A place for a call of `caller`; `None` when there is none for it.
    pub(super) fn take(&self, caller: String) -> Option<Slot> {
        let mut taken = self.0.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.all >= self.0.most || taken.of.get(&caller).is_some_and(|held| *held >= self.0.most_of_one) {
            return None;
        }
        taken.all += 1;
        *taken.of.entry(caller.clone()).or_default() += 1;
        Some(Slot { slots: self.clone(), caller })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut taken = self.slots.0.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.all -= 1;
        let left = taken.of.get_mut(&self.caller).map(|held| {
            *held -= 1;
            *held
        });
        if left == Some(0) {
            taken.of.remove(&self.caller);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_caller_gets_its_share_and_places_come_back() {
        let slots = Slots::new(8);
        let greedy: Vec<Slot> = (0..8).filter_map(|_| slots.take("edge/a".into())).collect();
        assert_eq!(greedy.len(), 2);
        let others: Vec<Slot> = (0..10).filter_map(|n| slots.take(format!("edge/{n}"))).collect();
        assert_eq!(others.len(), 6, "no more than there are in all");
        drop((greedy, others));
        assert!(slots.0.taken.lock().unwrap().of.is_empty());
        assert!(slots.take("edge/a".into()).is_some());
    }
}
