//! Killing the process in the middle of its writes, many times over: what was
//! acknowledged is there, and what is there fits together.

use std::{
    io::{BufRead, BufReader, Write as _},
    process::{Command, Stdio},
};

use nla_domain::clock::SystemClock;

use super::*;

const FOLDER: &str = "NLA_TEST_CRASH_FOLDER";
const CALLERS: usize = 4;

fn options(folder: &std::path::Path) -> StoreOptions {
    StoreOptions { cache_bytes: 4 << 20, ..StoreOptions::new(folder.join("store"), Arc::new(SystemClock)) }
}

/// The process that is killed. Each caller counts in a role of its own and
/// tells on stdout what was acknowledged.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "is run by the test below, in a process of its own"]
async fn child() {
    let folder = PathBuf::from(std::env::var(FOLDER).expect("set by the parent"));
    let store = Store::open(options(&folder), &Kek::new(Key32::new([7; 32]))).unwrap();
    let callers: Vec<_> = (0..CALLERS)
        .map(|caller| {
            let store = store.clone();
            tokio::spawn(async move {
                let name = format!("caller{caller}");
                let edge: EdgeId = name.parse().unwrap();
                let mut count: u64 =
                    store.state().roles.get(name.as_str()).map_or(0, |role| role.value.description.parse().unwrap());
                loop {
                    count += 1;
                    put_role(&store, &name, &count.to_string()).await.unwrap();
                    let through = store.audit_append(&edge, "boot", count, vec![call(&count.to_string())]).await;
                    let line = format!("{caller} {count} {}\n", through.unwrap());
                    if std::io::stdout().lock().write_all(line.as_bytes()).is_err() {
                        return;
                    }
                }
            })
        })
        .collect();
    for caller in callers {
        caller.await.unwrap();
    }
}

#[tokio::test]
async fn kill_9_loses_nothing_that_was_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let kek = Kek::new(Key32::new([7; 32]));
    let first = |draft: &mut Draft<'_>| {
        draft.event(event("init"));
        Ok(())
    };
    let (store, ()) = Store::create(options(folder.path()), &kek, settings(), first).unwrap();
    store.close().await;
    for round in 0..12_usize {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "store::tests::crash::child", "--ignored", "--nocapture", "--test-threads=1"])
            .env(FOLDER, folder.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut acknowledged = [(0_u64, 0_u64); CALLERS];
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut note = |line: &str| -> bool {
            let mut parts = line.split(' ').map(str::parse::<u64>);
            let (Some(Ok(caller)), Some(Ok(count)), Some(Ok(through))) = (parts.next(), parts.next(), parts.next())
            else {
                return false;
            };
            acknowledged[usize::try_from(caller).unwrap()] = (count, through);
            true
        };
        // The kill falls at another point of the work each time.
        let mut wanted = 1 + round * 17 % 60;
        while wanted > 0 {
            let line = lines.next().expect("the child works until it is killed").unwrap();
            wanted -= usize::from(note(&line));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        for line in lines.map_while(Result::ok) {
            note(&line);
        }
        let store = Store::open(options(folder.path()), &kek).unwrap();
        let state = store.state();
        for (caller, (count, through)) in acknowledged.into_iter().enumerate() {
            let name = format!("caller{caller}");
            let found = state.roles.get(name.as_str()).map_or(0, |role| role.value.description.parse().unwrap());
            assert!(found >= count, "round {round}, {name}: {count} acknowledged, {found} found");
            let place = (name.parse().unwrap(), "boot".to_owned());
            let stored = state.ingests.get(&place).map_or(0, |entry| entry.value.stored_through);
            assert!(stored >= through, "round {round}, {name}: {through} acknowledged, {stored} stored");
            // Fill the hole that a kill between change and event leaves, so
            // that the next child goes on without a gap.
            if stored < found {
                let edge = name.parse().unwrap();
                let missing = (stored + 1..=found).map(|at| call(&at.to_string())).collect();
                assert_eq!(store.audit_append(&edge, "boot", stored + 1, missing).await.unwrap(), found);
            }
        }
        store.verify().await.unwrap();
        store.close().await;
    }
}
