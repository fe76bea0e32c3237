//! The threads that parse: few, with large stacks, behind a bounded queue. The
//! edge starts one [`Parser`] and hands every statement to it, so that no parse
//! runs on a request worker.
//! Invariant: each job that was accepted is answered exactly once, unless the
//! parser is dropped first; a job that finds the queue full is refused at once.

use std::collections::VecDeque;
use std::fmt;
use std::sync::mpsc;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use crate::check::judge;
use crate::checked::CheckedSql;
use crate::explain::{ExplainOptions, judge_explained};
use crate::refusal::Refusal;
use crate::rules::Rules;

/// libpg_query writes trees up to 5,000 levels deep; decoding a level takes
/// 3 to 4 KiB of stack when optimised, which the workspace's profiles see to
/// (40 KiB when not). Twice the deepest, proven by a test of `check`; only pages
/// that were touched cost memory.
pub(crate) const STACK_BYTES: usize = 64 * 1024 * 1024;

/// How many threads and how long a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParserConfig {
    /// At least 1 is started.
    pub threads: usize,
    /// Statements that may wait; at 0.1 ms each the default is a tenth of a
    /// second of work.
    pub queue: usize,
}

impl Default for ParserConfig {
    fn default() -> Self {
        Self { threads: std::thread::available_parallelism().map_or(2, |n| n.get().clamp(2, 8)), queue: 1024 }
    }
}

/// The parser could not take the statement; nothing was judged.
#[derive(Debug, thiserror::Error)]
pub enum ParserError {
    #[error("too many statements wait to be checked")]
    Full,
    #[error("the parser is shutting down")]
    Stopped,
    #[error("a parser thread could not be started")]
    Spawn(#[source] std::io::Error),
}

type Job = Box<dyn FnOnce() + Send>;

struct Queue {
    jobs: VecDeque<Job>,
    open: bool,
}

struct Shared {
    queue: Mutex<Queue>,
    filled: Condvar,
    capacity: usize,
}

impl Shared {
    /// No job runs under the lock, so a poisoned one is still consistent.
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next(&self) -> Option<Job> {
        let mut queue = self.lock();
        loop {
            if let Some(job) = queue.jobs.pop_front() {
                return Some(job);
            }
            if !queue.open {
                return None;
            }
            queue = self.filled.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// A bounded pool of parsing threads. Dropping it waits for the running parses
/// and forgets the waiting ones, whose callbacks are dropped uncalled.
pub struct Parser {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl fmt::Debug for Parser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parser").field("threads", &self.threads.len()).field("waiting", &self.waiting()).finish()
    }
}

impl Parser {
    /// Starts the threads.
    ///
    /// # Errors
    /// [`ParserError::Spawn`] when the system gives no thread.
    pub fn start(config: ParserConfig) -> Result<Self, ParserError> {
        let mut parser = Self {
            shared: Arc::new(Shared {
                queue: Mutex::new(Queue { jobs: VecDeque::new(), open: true }),
                filled: Condvar::new(),
                capacity: config.queue,
            }),
            threads: Vec::new(),
        };
        for _ in 0..config.threads.max(1) {
            let shared = Arc::clone(&parser.shared);
            let thread = std::thread::Builder::new()
                .name("nla-parse".into())
                .stack_size(STACK_BYTES)
                .spawn(move || {
                    while let Some(job) = shared.next() {
                        // The callback is the caller's: its panic must not cost a thread.
                        let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(job));
                    }
                })
                .map_err(ParserError::Spawn)?;
            parser.threads.push(thread);
        }
        Ok(parser)
    }

    /// Judges a statement on a parsing thread and calls `reply` there, which
    /// must not block. Returns at once.
    ///
    /// # Errors
    /// [`ParserError::Full`] or [`ParserError::Stopped`]; `reply` is not called.
    pub fn submit(
        &self,
        sql: String,
        rules: Arc<Rules>,
        reply: impl FnOnce(Result<CheckedSql, Refusal>) + Send + 'static,
    ) -> Result<(), ParserError> {
        self.push(Box::new(move || reply(judge(&sql, &rules))))
    }

    /// Like [`Parser::submit`] for a statement that is only to be explained; see
    /// [`crate::explain()`].
    ///
    /// # Errors
    /// [`ParserError::Full`] or [`ParserError::Stopped`]; `reply` is not called.
    pub fn submit_explain(
        &self,
        sql: String,
        rules: Arc<Rules>,
        options: ExplainOptions,
        reply: impl FnOnce(Result<CheckedSql, Refusal>) + Send + 'static,
    ) -> Result<(), ParserError> {
        self.push(Box::new(move || reply(judge_explained(&sql, &rules, options))))
    }

    /// Judges a statement and waits for the verdict. Not for async code.
    ///
    /// # Errors
    /// [`ParserError::Full`] or [`ParserError::Stopped`].
    pub fn check(&self, sql: &str, rules: &Rules) -> Result<Result<CheckedSql, Refusal>, ParserError> {
        let (send, receive) = mpsc::sync_channel(1);
        self.submit(sql.to_owned(), Arc::new(rules.clone()), move |verdict| {
            // The receiver waits below for as long as the sender lives.
            let _ = send.send(verdict);
        })?;
        receive.recv().map_err(|_| ParserError::Stopped)
    }

    /// Statements that wait for a thread, for metrics.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.shared.lock().jobs.len()
    }

    fn push(&self, job: Job) -> Result<(), ParserError> {
        let mut queue = self.shared.lock();
        if !queue.open {
            return Err(ParserError::Stopped);
        }
        if queue.jobs.len() >= self.shared.capacity {
            return Err(ParserError::Full);
        }
        queue.jobs.push_back(job);
        drop(queue);
        self.shared.filled.notify_one();
        Ok(())
    }
}

impl Drop for Parser {
    fn drop(&mut self) {
        let forgotten = {
            let mut queue = self.shared.lock();
            queue.open = false;
            std::mem::take(&mut queue.jobs)
        };
        self.shared.filled.notify_all();
        // Dropped outside the lock: a callback's own drop may be anything.
        drop(forgotten);
        for thread in self.threads.drain(..) {
            // A thread that drops the parser itself (in a callback) cannot join itself.
            if thread.thread().id() != std::thread::current().id() {
                let _ = thread.join();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Rule;

    #[test]
    fn judges_on_its_threads() {
        let parser = Parser::start(ParserConfig { threads: 2, queue: 8 }).unwrap();
        let checked = parser.check("select 1;", &Rules::default()).unwrap().unwrap();
        assert_eq!(checked.sql(), "select 1");
        let refusal = parser.check("drop table t", &Rules::default()).unwrap().unwrap_err();
        assert_eq!(refusal.rule, Rule::StatementDdl);
    }

    #[test]
    fn a_full_queue_refuses_at_once_and_a_panicking_callback_costs_no_thread() {
        let parser = Parser::start(ParserConfig { threads: 1, queue: 1 }).unwrap();
        let rules = Arc::new(Rules::default());
        let (started, wait_started) = mpsc::channel();
        let (release, wait_release) = mpsc::channel::<()>();
        parser
            .submit("select 1".into(), Arc::clone(&rules), move |_| {
                started.send(()).unwrap();
                let _ = wait_release.recv();
                panic!("a callback that fails");
            })
            .unwrap();
        wait_started.recv().unwrap();
        let (done, wait_done) = mpsc::channel();
        parser.submit("select 2".into(), Arc::clone(&rules), move |verdict| done.send(verdict).unwrap()).unwrap();
        let full = parser.submit("select 3".into(), rules, |_| {});
        assert!(matches!(full, Err(ParserError::Full)), "{full:?}");
        release.send(()).unwrap();
        assert_eq!(wait_done.recv().unwrap().unwrap().sql(), "select 2");
    }

    #[test]
    fn dropping_it_drops_waiting_callbacks() {
        let parser = Parser::start(ParserConfig { threads: 1, queue: 4 }).unwrap();
        let rules = Arc::new(Rules::default());
        let (release, wait_release) = mpsc::channel::<()>();
        let (started, wait_started) = mpsc::channel();
        parser
            .submit("select 1".into(), Arc::clone(&rules), move |_| {
                started.send(()).unwrap();
                let _ = wait_release.recv();
            })
            .unwrap();
        wait_started.recv().unwrap();
        let (done, wait_done) = mpsc::channel::<()>();
        parser.submit("select 2".into(), rules, move |_| done.send(()).unwrap()).unwrap();
        let dropping = std::thread::spawn(move || drop(parser));
        // The waiting callback goes first, while the running one still holds its thread.
        assert!(wait_done.recv().is_err());
        release.send(()).unwrap();
        dropping.join().unwrap();
    }
}
