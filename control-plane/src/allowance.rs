//! How often one source may do something that costs or that fills the audit
//! log: a few times at once, then at a steady rate. The table of sources is
//! bounded; beyond it, new sources share one allowance.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// Sources that are told apart.
const MAX_SOURCES: usize = 1_000;

/// Allowances by source.
#[derive(Debug)]
pub(crate) struct Allowances {
    burst: u32,
    refill: Duration,
    sources: Mutex<HashMap<String, Allowance>>,
}

/// Who shares an allowance: an IPv4 address, or an IPv6 network of 64 bits, which
/// is what one customer gets.
pub(crate) fn source_of(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).to_string(),
        v4 @ IpAddr::V4(_) => v4.to_string(),
    }
}

#[derive(Debug)]
struct Allowance {
    left: u32,
    refilled: Instant,
    denied: u64,
}

impl Allowances {
    /// `burst` at once, then one per `refill`.
    pub(crate) fn new(burst: u32, refill: Duration) -> Self {
        Self { burst, refill, sources: Mutex::default() }
    }

    /// Takes one. Gives how many were denied to this source since the last one
    /// that it got; `None` when there is none to take.
    pub(crate) fn take(&self, source: &str) -> Option<u64> {
        let now = Instant::now();
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        if sources.len() >= MAX_SOURCES && !sources.contains_key(source) {
            let full = self.refill.saturating_mul(self.burst);
            sources.retain(|_, allowance| now.duration_since(allowance.refilled) < full);
        }
        let source = if sources.len() >= MAX_SOURCES && !sources.contains_key(source) { "" } else { source };
        let fresh = || Allowance { left: self.burst, refilled: now, denied: 0 };
        sources.entry(source.to_owned()).or_insert_with(fresh).take(now, self.burst, self.refill)
    }
}

impl Allowance {
    fn take(&mut self, now: Instant, burst: u32, refill: Duration) -> Option<u64> {
        let earned = now.duration_since(self.refilled).as_nanos() / refill.as_nanos().max(1);
        if earned > 0 {
            self.left = self.left.saturating_add(u32::try_from(earned).unwrap_or(u32::MAX)).min(burst);
            self.refilled = now;
        }
        if self.left == 0 {
            self.denied += 1;
            return None;
        }
        self.left -= 1;
        Some(std::mem::take(&mut self.denied))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REFILL: Duration = Duration::from_secs(10);

    #[tokio::test(start_paused = true)]
    async fn one_source_gets_its_share_and_takes_no_others() {
        let allowances = Allowances::new(10, REFILL);
        assert_eq!((0..1_000).filter(|_| allowances.take("a").is_some()).count(), 10);
        assert_eq!(allowances.take("b"), Some(0));
        tokio::time::advance(REFILL).await;
        assert_eq!(allowances.take("a"), Some(990));
        assert_eq!(allowances.take("a"), None);
        tokio::time::advance(REFILL * 100).await;
        assert_eq!((0..1_000).filter(|_| allowances.take("a").is_some()).count(), 10, "rest does not pile up");
    }

    #[test]
    fn one_customer_is_one_source() {
        let source = |text: &str| source_of(text.parse().unwrap());
        assert_eq!(source("2001:db8:1:2:3:4:5:6"), source("2001:db8:1:2::1"));
        assert_ne!(source("2001:db8:1:2::1"), source("2001:db8:1:3::1"));
        assert_ne!(source("192.0.2.1"), source("192.0.2.2"));
        assert_eq!(source("::ffff:192.0.2.1"), source("192.0.2.1"));
    }

    #[tokio::test(start_paused = true)]
    async fn the_table_is_bounded_and_forgets_the_idle() {
        let allowances = Allowances::new(1, REFILL);
        let accepted = (0..3_000).filter(|n| allowances.take(&n.to_string()).is_some()).count();
        assert_eq!(accepted, MAX_SOURCES + 1);
        assert_eq!(allowances.sources.lock().unwrap().len(), MAX_SOURCES + 1);
        tokio::time::advance(REFILL).await;
        assert_eq!(allowances.take("new"), Some(0));
        assert_eq!(allowances.sources.lock().unwrap().len(), 1);
    }
}
