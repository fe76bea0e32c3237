//! How long to wait before trying again: exponential with full jitter, so that
//! a fleet that lost its control plane does not come back in step. `sync`,
//! `audit` and `identity` each hold one. Invariant: every error path of theirs
//! waits here, and a success starts it over.

use std::time::Duration;

use aws_lc_rs::rand;

/// The first wait is at most this long.
const FIRST: Duration = Duration::from_millis(100);
/// No wait is longer.
const LONGEST: Duration = Duration::from_secs(15);

/// Waits that grow from failure to failure.
#[derive(Debug, Default)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The next wait.
    pub fn next_delay(&mut self) -> Duration {
        let ceiling = FIRST.saturating_mul(1 << self.failures.min(16)).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        ceiling.mul_f64(random_fraction())
    }

    /// It worked: the next failure starts over.
    pub fn reset(&mut self) {
        self.failures = 0;
    }

    /// Waits for the next delay.
    pub async fn wait(&mut self) {
        tokio::time::sleep(self.next_delay()).await;
    }
}

/// Uniform in `[0, 1)`.
pub(crate) fn random_fraction() -> f64 {
    let mut bytes = [0; 4];
    // Without randomness the middle is as good a guess as any: the delay only
    // has to differ between edges.
    if rand::fill(&mut bytes).is_err() {
        return 0.5;
    }
    f64::from(u32::from_le_bytes(bytes)) / (f64::from(u32::MAX) + 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_ceiling_and_vary() {
        let mut backoff = Backoff::default();
        let first: Vec<_> = (0..100).map(|_| Backoff::default().next_delay()).collect();
        assert!(first.iter().all(|wait| *wait < FIRST));
        assert!(first.iter().any(|wait| *wait != first[0]));
        let later: Vec<_> = (0..200).map(|_| backoff.next_delay()).collect();
        assert!(later.iter().all(|wait| *wait < LONGEST));
        assert!(later.iter().any(|wait| *wait > LONGEST / 2));
        backoff.reset();
        assert!(backoff.next_delay() < FIRST);
    }
}
