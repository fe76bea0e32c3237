//! Time since an arbitrary start, for staleness. `snapshot` measures the age
//! of its state with it. Invariant: the production clock keeps counting while
//! the machine is suspended, so that an edge that slept for an hour knows that
//! it has not heard from the control plane for an hour.

mod fleet;

use std::{fmt, time::Duration};

use tokio::time::Instant;

pub use self::fleet::FleetClock;

/// Tells time that only ever grows.
pub trait MonotonicClock: Send + Sync + fmt::Debug {
    /// Time since the clock's own start.
    fn elapsed(&self) -> Duration;
}

/// The operating system's clock that counts suspend.
#[derive(Debug, Default, Clone, Copy)]
pub struct BootClock;

impl MonotonicClock for BootClock {
    fn elapsed(&self) -> Duration {
        use rustix::time::{ClockId, clock_gettime};

        #[cfg(target_os = "linux")]
        const CLOCK: ClockId = ClockId::Boottime;
        // Elsewhere CLOCK_MONOTONIC is the nearest; on macOS it counts sleep.
        #[cfg(not(target_os = "linux"))]
        const CLOCK: ClockId = ClockId::Monotonic;

        let now = clock_gettime(CLOCK);
        let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
        Duration::from_secs(seconds) + Duration::from_nanos(u64::try_from(now.tv_nsec).unwrap_or(0))
    }
}

/// Tokio's clock, which tests can pause and advance.
#[derive(Debug, Clone, Copy)]
pub struct TokioClock {
    start: Instant,
}

impl TokioClock {
    /// A clock that starts now. Call it within a runtime.
    pub fn start() -> Self {
        Self { start: Instant::now() }
    }
}

impl MonotonicClock for TokioClock {
    fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_boot_clock_agrees_with_the_kernel() {
        let uptime = std::fs::read_to_string("/proc/uptime").unwrap();
        let kernel: f64 = uptime.split(' ').next().unwrap().parse().unwrap();
        let difference = (BootClock.elapsed().as_secs_f64() - kernel).abs();
        assert!(difference < 5.0, "{difference}");
    }

    #[tokio::test(start_paused = true)]
    async fn the_tokio_clock_follows_paused_time() {
        let clock = TokioClock::start();
        tokio::time::advance(Duration::from_secs(7)).await;
        assert_eq!(clock.elapsed(), Duration::from_secs(7));
    }
}
