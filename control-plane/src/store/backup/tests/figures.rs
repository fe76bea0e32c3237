//! How long a large backup takes, and what others notice of it:
//! `cargo test -p nla-control-plane --lib backup::tests::figures -- --ignored --nocapture`

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use super::*;

/// Peak of resident memory since [`forget_peak`], in KiB.
fn peak_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn forget_peak() {
    fs::write("/proc/self/clear_refs", "5").unwrap();
}

/// How long one commit after the other takes, in order of length.
async fn commits(store: Store, stop: Arc<AtomicBool>) -> Vec<Duration> {
    let mut waits = Vec::new();
    while !stop.load(Ordering::Acquire) {
        let began = Instant::now();
        put_role(&store, "busy", "again").await.unwrap();
        waits.push(began.elapsed());
    }
    waits.sort();
    waits
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes; prints figures"]
async fn figures() {
    let bench = Bench::new();
    let store = bench.create();
    for _ in 0..50 {
        put_tokens(&store, 2_000).await;
    }
    let edge: EdgeId = "e1".parse().unwrap();
    for batch in 0..200_u64 {
        let calls = (0..1_000).map(|at| call(&format!("{batch}-{at}"))).collect();
        store.audit_append(&edge, "boot", batch * 1_000 + 1, calls).await.unwrap();
    }
    let stop = Arc::new(AtomicBool::new(false));
    let writer = tokio::spawn(commits(store.clone(), Arc::clone(&stop)));
    let report = |what: &str, waits: &[Duration]| {
        println!(
            "{what}: {} commits, median {:?}, longest {:?}",
            waits.len(),
            waits[waits.len() / 2],
            waits.last().unwrap()
        );
    };
    tokio::time::sleep(Duration::from_secs(5)).await;
    stop.store(true, Ordering::Release);
    report("without a backup", &writer.await.unwrap());

    stop.store(false, Ordering::Release);
    let writer = tokio::spawn(commits(store.clone(), Arc::clone(&stop)));
    let path = bench.folder.path().join("backup");
    forget_peak();
    let before = peak_kib();
    let began = Instant::now();
    let frozen = store.freeze(Timestamp::from_micros(1)).await.unwrap();
    println!("the moment was held after {:?}", began.elapsed());
    let out = io::BufWriter::new(fs::File::create(&path).unwrap());
    let (sum, _) = tokio::task::spawn_blocking(move || frozen.write(out, |_, _| Ok(())).unwrap()).await.unwrap();
    println!(
        "backup: {:?}, {} pairs, {} bytes, peak {} KiB more",
        began.elapsed(),
        sum.pairs,
        sum.bytes,
        peak_kib() - before
    );
    stop.store(true, Ordering::Release);
    report("during the backup", &writer.await.unwrap());
    store.close().await;
    drop(store);

    forget_peak();
    let (began, before) = (Instant::now(), peak_kib());
    let open = || Locked::open(io::BufReader::new(fs::File::open(&path).unwrap()), &path).unwrap();
    let report = open().unlock(&bench.kek).unwrap().verify().unwrap();
    println!(
        "verify-backup: {:?}, {} records, {} events, peak {} KiB more",
        began.elapsed(),
        report.records,
        report.audit_events,
        peak_kib() - before
    );
    forget_peak();
    let (began, before) = (Instant::now(), peak_kib());
    restore(open(), &bench.kek, &options(&bench, "again", false)).unwrap();
    println!("restore: {:?}, peak {} KiB more", began.elapsed(), peak_kib() - before);
}
