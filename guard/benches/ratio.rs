//! Fails when a check costs more than 1.8 times a bare parse (the goal is one and a
//! half, the rest is for a busy machine). Run by CI:
//!
//!   cargo bench --workspace --profile dev --bench ratio
//!
//! Both are measured in turns in the same process, so that only their relation
//! counts and not the machine's speed.
#![expect(clippy::print_stdout, reason = "shows what was measured")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use nla_guard::check_here;
use pg_query::ParserOptions;

mod statements;

const GOAL: f64 = 1.5;
const BOUND: f64 = 1.8;

/// Turns; the quickest of each side counts, since a disturbance only ever adds.
const TURNS: usize = 40;
/// How long one turn of one side takes.
const TURN: Duration = Duration::from_millis(10);

fn main() {
    let measured = std::thread::Builder::new().stack_size(64 * 1024 * 1024).spawn(measure).map(|thread| thread.join());
    assert!(matches!(measured, Ok(Ok(()))), "a check costs too much beside a bare parse, or could not be measured");
}

fn measure() {
    let rules = statements::rules();
    let mut beyond = Vec::new();
    for (name, sql) in statements::all() {
        let (mut parse, mut check) = (f64::MAX, f64::MAX);
        for _ in 0..TURNS {
            parse = parse.min(each(|| {
                let tree = pg_query::parse(black_box(&sql), ParserOptions::DISABLE_ESCAPE_STRING_WARNING);
                assert!(tree.is_ok(), "{name} is not parsed");
            }));
            check = check.min(each(|| {
                let verdict = check_here(black_box(&sql), &rules);
                assert!(verdict.is_ok(), "{name} is not accepted");
            }));
        }
        let ratio = check / parse;
        println!(
            "{name}: {} bytes, parse {:.1} us, check {:.1} us, ratio {ratio:.2} (goal {GOAL}, bound {BOUND})",
            sql.len(),
            parse * 1e6,
            check * 1e6,
        );
        if ratio > BOUND {
            beyond.push(name);
        }
    }
    assert!(beyond.is_empty(), "beyond the bound of {BOUND}: {beyond:?}");
}

/// Seconds that one call takes, over a turn.
fn each(mut work: impl FnMut()) -> f64 {
    let start = Instant::now();
    let mut calls = 0u32;
    while start.elapsed() < TURN {
        work();
        calls += 1;
    }
    start.elapsed().as_secs_f64() / f64::from(calls)
}
