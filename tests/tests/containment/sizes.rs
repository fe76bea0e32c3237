//! Answers far beyond the limits: cut soon, with flat memory, and nothing of
//! them left on the server.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use nla_proto::v1;
use serde_json::json;

use super::bench::{Bench, alone, result, rows};

fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1_024
}

/// Watches the memory of this process, in which the edge runs, from a thread of
/// its own. The peak that the kernel keeps is of the process's whole life.
struct Memory {
    stop: Arc<AtomicBool>,
    peak: Arc<AtomicU64>,
    before: u64,
    watcher: thread::JoinHandle<()>,
}

impl Memory {
    fn watch() -> Self {
        let before = resident_bytes();
        let (stop, peak) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(before)));
        let watcher = thread::spawn({
            let (stop, peak) = (Arc::clone(&stop), Arc::clone(&peak));
            move || {
                while !stop.load(Ordering::Acquire) {
                    peak.fetch_max(resident_bytes(), Ordering::AcqRel);
                    thread::park_timeout(Duration::from_millis(2));
                }
            }
        });
        Self { stop, peak, before, watcher }
    }

    /// How much more there was than at the start.
    fn growth(self) -> u64 {
        self.stop.store(true, Ordering::Release);
        self.watcher.join().unwrap();
        self.peak.load(Ordering::Acquire).saturating_sub(self.before)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_beyond_every_limit() {
    let _turn = alone().await;
    let bench = Bench::start().await;
    let limits = v1::DatabaseLimits { max_rows: 200, max_bytes: 100_000, ..Default::default() };
    bench.database("narrow", limits).await;
    let (_, client) = bench.token("narrow").await;
    // What is loaded or grows with the first calls is none of an answer's.
    for _ in 0..3 {
        rows(&client, "SELECT repeat('x', 90000)").await;
    }

    let cases = [
        // Rows: 50 million, 225 million, and as many as there are numbers.
        ("SELECT generate_series(1, 50000000)", "rows", 200),
        ("SELECT * FROM generate_series(1, 50000000)", "rows", 200),
        ("SELECT a.id, b.id FROM shop.orders a, shop.orders b", "rows", 200),
        ("SELECT generate_series(1, 9223372036854775807)", "rows", 200),
        ("WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t) SELECT n FROM t", "rows", 200),
        // Bytes: one cell of 300 MB, one behind small ones, and many of 1 MB.
        ("SELECT repeat('x', 300000000)", "bytes", 0),
        ("SELECT CASE WHEN n < 5 THEN 'x' ELSE repeat('x', 300000000) END FROM generate_series(1, 10) n", "bytes", 4),
        ("SELECT repeat('x', 1000000) FROM generate_series(1, 1000)", "bytes", 0),
        ("SELECT repeat('é', 10000), n FROM generate_series(1, 100000) n", "bytes", 4),
        // A value that JSON makes six times as long, and one that the text form escapes.
        ("SELECT repeat(chr(1), 50000000)", "bytes", 0),
        ("SELECT repeat(chr(9), 50000000)", "bytes", 0),
        ("SELECT array_fill(0, ARRAY[5000000])", "bytes", 0),
    ];
    for (sql, cut_by, wanted) in cases {
        let memory = Memory::watch();
        let began = Instant::now();
        let result = result(&client, sql).await;
        let (took, grown) = (began.elapsed(), memory.growth());
        println!("{:6.0} ms, {:6} KiB more: {sql}", took.as_secs_f64() * 1_000.0, grown / 1_024);
        let content = &result["structuredContent"];
        assert_eq!(
            (&content["truncated"], &content["truncated_by"]),
            (&json!(true), &json!(cut_by)),
            "{sql}: {result}"
        );
        assert_eq!(content["row_count"], json!(wanted), "{sql}");
        assert!(took < Duration::from_secs(15), "{sql}: {took:?}");
        // A twentieth of the value at most; buffers of the connections are in it.
        assert!(grown < 16 << 20, "{sql}: {grown} bytes more");
        bench.until_running(0).await;
    }
    assert_eq!(rows(&client, "SELECT 41 + 1").await, json!([[42]]));
    assert_eq!(bench.count("SELECT count(*) FROM pg_ls_tmpdir()").await, 0, "temporary files stay");
}
