//! What the worst texts take of memory: each construct as often as the largest
//! size admits and as often as the other limits admit just so. One test in a
//! program of its own, since it watches the memory of the process.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test may end at the first surprise")]

use std::fs;

use constructs::{NESTED, most, nested};
use nla_guard::{ExplainOptions, HARD_MAX_SQL_BYTES, Rules, check, explain};

mod constructs;

/// Beyond what the process had before. The tree of 64 KiB of SQL takes some
/// thousand times its text at worst, and the stack of its thread some of 64 MiB.
const BOUND_KIB: u64 = 256 * 1024;

/// A field of the process's status, in KiB.
fn status(field: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    line.trim_start_matches(':').trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn no_text_takes_more_than_its_share_of_memory() {
    let rules = Rules { max_sql_bytes: HARD_MAX_SQL_BYTES, server_major: 18, ..Rules::default() };
    let mut worst = (0, "");
    for case in NESTED {
        let most = most(HARD_MAX_SQL_BYTES, case);
        for n in [most, most.min(4000), most.min(1200), most.min(250)] {
            let sql = nested(n, case);
            // Sets the peak to what is there now.
            fs::write("/proc/self/clear_refs", "5").unwrap();
            let before = status("VmRSS");
            let _ = check(&sql, &rules);
            let _ = explain(&sql, &rules, ExplainOptions::default());
            let taken = status("VmHWM").saturating_sub(before);
            assert!(taken < BOUND_KIB, "{taken} KiB for {n} of {}", case.0);
            worst = worst.max((taken, case.0));
        }
    }
    println!("at most {} KiB, for {}", worst.0, worst.1);
}
