//! What a check costs beside the parses that libpg_query offers, all on one
//! thread with the stack that the guard's own threads have:
//!
//!   cargo bench --package nla-guard --bench check
//!
//! `grammar` is the barest: PostgreSQL's scanner and grammar, the tree thrown
//! away. `parse` also brings the tree into Rust, which no judge can do without.

use std::hint::black_box;

use criterion::Criterion;
use nla_guard::check_here;
use pg_query::ParserOptions;

mod statements;

fn main() {
    let measured = std::thread::Builder::new().stack_size(64 * 1024 * 1024).spawn(measure).map(|thread| thread.join());
    assert!(matches!(measured, Ok(Ok(()))), "the measurement failed");
}

fn measure() {
    let mut criterion = Criterion::default().configure_from_args();
    let rules = statements::rules();
    for (name, sql) in statements::all() {
        let mut group = criterion.benchmark_group(name);
        group.bench_function("grammar", |b| b.iter(|| pg_query::split_with_parser(black_box(&sql)).map(|s| s.len())));
        group.bench_function("parse", |b| {
            b.iter(|| pg_query::parse(black_box(&sql), ParserOptions::DISABLE_ESCAPE_STRING_WARNING));
        });
        group.bench_function("scan", |b| b.iter(|| pg_query::scan(black_box(&sql))));
        group.bench_function("fingerprint", |b| b.iter(|| pg_query::fingerprint(black_box(&sql), 0, 0)));
        group.bench_function("check", |b| b.iter(|| check_here(black_box(&sql), &rules)));
        group.finish();
    }
    criterion.final_summary();
}
