//! Percentiles, and figures as a table and as JSON.

use std::time::Duration;

use serde_json::{Value, json};

/// Durations of the same thing.
#[derive(Debug, Default)]
pub(super) struct Sample(Vec<Duration>);

impl Sample {
    pub(super) fn add(&mut self, took: Duration) {
        let at = self.0.partition_point(|known| *known <= took);
        self.0.insert(at, took);
    }

    /// The smallest value that this part of all values does not exceed
    /// (nearest rank).
    pub(super) fn percentile(&self, percent: usize) -> Duration {
        let rank = (self.0.len() * percent).div_ceil(100).max(1);
        self.0.get(rank - 1).copied().unwrap_or_default()
    }

    pub(super) fn json(&self) -> Value {
        let at = |percent| milliseconds(self.percentile(percent));
        json!({ "runs": self.0.len(), "p50_ms": at(50), "p90_ms": at(90), "p99_ms": at(99), "max_ms": at(100) })
    }

    pub(super) fn row(&self, name: &str) -> String {
        let at = |percent| milliseconds(self.percentile(percent));
        format!("{name:<44} {:>8.1} {:>8.1} {:>8.1} {:>8.1}", at(50), at(90), at(99), at(100))
    }
}

/// Milliseconds with three places.
pub(super) fn milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

/// A figure that is to stay at or below a limit.
#[derive(Debug)]
pub(super) struct Goal {
    pub(super) what: &'static str,
    pub(super) unit: &'static str,
    pub(super) found: f64,
    pub(super) limit: f64,
}

impl Goal {
    pub(super) fn is_met(&self) -> bool {
        self.found <= self.limit
    }

    pub(super) fn json(&self) -> Value {
        let Self { what, unit, found, limit } = self;
        json!({ "what": what, "unit": unit, "found": found, "limit": limit, "met": self.is_met() })
    }

    pub(super) fn row(&self) -> String {
        let Self { what, unit, found, limit } = self;
        let verdict = if self.is_met() { "met" } else { "MISSED" };
        format!("{what:<44} {found:>8.1} {unit:<3} of at most {limit} {unit}: {verdict}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_nearest_rank() {
        let mut sample = Sample::default();
        assert_eq!(sample.percentile(99), Duration::ZERO);
        for ms in (1..=200).rev() {
            sample.add(Duration::from_millis(ms));
        }
        for (percent, ms) in [(0, 1), (50, 100), (99, 198), (100, 200)] {
            assert_eq!(sample.percentile(percent), Duration::from_millis(ms), "{percent}");
        }
    }
}
