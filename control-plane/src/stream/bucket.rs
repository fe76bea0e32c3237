//! How much of something one stream may do: so much at once, and so much each
//! second. Sessions ask before each.

use tokio::time::Instant;

/// See the module.
#[derive(Debug)]
pub(super) struct Bucket {
    per_second: u32,
    at_once: u32,
    left: u32,
    filled: Instant,
}

impl Bucket {
    /// A full one.
    pub(super) fn new(per_second: u32, at_once: u32) -> Self {
        Self { per_second, at_once, left: at_once, filled: Instant::now() }
    }

    /// Whether there is room for one more.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        let seconds = now.saturating_duration_since(self.filled).as_secs();
        if seconds > 0 {
            let more = u32::try_from(seconds).unwrap_or(u32::MAX).saturating_mul(self.per_second);
            self.left = self.left.saturating_add(more).min(self.at_once);
            self.filled += std::time::Duration::from_secs(seconds);
        }
        let room = self.left > 0;
        self.left = self.left.saturating_sub(1);
        room
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn so_much_at_once_and_so_much_each_second() {
        let mut bucket = Bucket::new(2, 5);
        let start = bucket.filled;
        let mut taken = |millis| {
            let at = start + Duration::from_millis(millis);
            (0..10).filter(|_| bucket.take(at)).count()
        };
        let counts = [0, 999, 1_000, 1_500, 4_100, 4_999, 5_000, 1_000_000].map(&mut taken);
        assert_eq!(counts, [5, 0, 2, 0, 5, 0, 2, 5]);
    }
}
