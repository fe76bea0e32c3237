//! Which refused requests become audit events of their own: the first few of
//! each address or token in a minute; the rest are counted and told with the
//! next one. Called by `turned_away`.
//! Invariant: memory and audit events stay bounded, whoever knocks.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use nla_domain::id::TokenId;
use tokio::time::Instant;

/// A person who mistypes makes fewer; a scan shows by its count.
const EVENTS_PER_WINDOW: u32 = 10;
const WINDOW: Duration = Duration::from_secs(60);
/// About 300 KiB. Sources beyond it share one entry.
const MAX_SOURCES: usize = 4_096;

/// Who is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Source {
    Address(IpAddr),
    Token(TokenId),
    /// All whom the table has no room for.
    Others,
}

#[derive(Debug)]
struct Window {
    began: Instant,
    noted: u32,
    left_out: u64,
}

/// Recent refusals by source.
#[derive(Debug, Default)]
pub(super) struct Attempts(Mutex<HashMap<Source, Window>>);

impl Attempts {
    /// `Some(n)`: record this one, and say that `n` before it were not recorded.
    pub(super) fn note(&self, source: Source) -> Option<u64> {
        let now = Instant::now();
        let mut windows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut source = source;
        if !windows.contains_key(&source) && windows.len() >= MAX_SOURCES {
            windows.retain(|_, window| now.duration_since(window.began) < WINDOW || window.left_out > 0);
            if windows.len() >= MAX_SOURCES {
                source = Source::Others;
            }
        }
        let window = windows.entry(source).or_insert(Window { began: now, noted: 0, left_out: 0 });
        if now.duration_since(window.began) >= WINDOW {
            window.began = now;
            window.noted = 0;
        }
        if window.noted >= EVENTS_PER_WINDOW {
            window.left_out += 1;
            return None;
        }
        window.noted += 1;
        Some(std::mem::take(&mut window.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_flood_is_counted_and_told_in_the_next_minute() {
        let attempts = Attempts::default();
        let source = Source::Address("192.0.2.1".parse().unwrap());
        let recorded = (0..1_000).filter(|_| attempts.note(source).is_some()).count();
        assert_eq!(recorded, 10);
        assert_eq!(attempts.note(Source::Address("192.0.2.2".parse().unwrap())), Some(0));
        tokio::time::advance(WINDOW).await;
        assert_eq!(attempts.note(source), Some(990));
        assert_eq!(attempts.note(source), Some(0));
    }

    #[tokio::test(start_paused = true)]
    async fn many_addresses_do_not_fill_memory_or_the_log() {
        let attempts = Attempts::default();
        let mut recorded = 0;
        for number in 0..20_000_u32 {
            let address = IpAddr::from(std::net::Ipv4Addr::from(number));
            recorded += usize::from(attempts.note(Source::Address(address)).is_some());
        }
        assert!(attempts.0.lock().unwrap().len() <= MAX_SOURCES + 1);
        assert!(recorded <= MAX_SOURCES + usize::try_from(EVENTS_PER_WINDOW).unwrap());
    }
}
