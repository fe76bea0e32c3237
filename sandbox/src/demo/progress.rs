//! What the demo is doing, on stderr, with the time that each step took.

use std::{
    io::{IsTerminal as _, Write as _},
    time::Instant,
};

use super::{Arguments, arguments::Output};

/// Prints steps as they begin and end.
pub(super) struct Progress {
    /// On a terminal a step's line is completed in place.
    in_place: bool,
    quiet: bool,
}

impl Progress {
    pub(super) fn new(arguments: &Arguments) -> Self {
        let in_place = std::io::stderr().is_terminal();
        // A script reads stdout; a person who watches it still sees progress.
        Self { in_place, quiet: arguments.output == Output::Json && !in_place }
    }

    pub(super) async fn step<T, E>(&self, what: &str, work: impl Future<Output = Result<T, E>>) -> Result<T, E> {
        let began = Instant::now();
        if self.in_place && !self.quiet {
            self.write(&format!("  ...     {what}"));
        }
        let outcome = work.await;
        if !self.quiet {
            let start = if self.in_place { "\r" } else { "" };
            let mark =
                if outcome.is_ok() { format!("{:>5.1} s", began.elapsed().as_secs_f64()) } else { " FAILED".into() };
            self.write(&format!("{start}{mark}   {what}\n"));
        }
        outcome
    }

    fn write(&self, text: &str) {
        let mut stderr = std::io::stderr().lock();
        // Progress is not worth failing for when stderr is closed.
        let _ = stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush());
    }
}
