//! Whoever is killed in the middle leaves nothing that looks whole, and the
//! next attempt succeeds.

use std::{
    fs,
    io::Read as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    time::Instant,
};

use nla_control_plane::{
    crypto::Kek,
    store::{Draft, Store, StoreOptions, TokenRecord},
};
use nla_domain::{
    clock::SystemClock,
    secret::Key32,
    token::{Token, TokenLimits, TokenText},
};
use nla_proto::v1;

use nla_tests::programs::{
    binaries::{self, program},
    plane::Plane,
    process::{Ended, Running, until},
};

/// Enough for a backup to take longer than a look at it.
const TOKENS: usize = 8_000;

fn token() -> TokenRecord {
    let text = TokenText::generate().unwrap();
    TokenRecord {
        token: Token {
            id: text.id(),
            verifier: text.verifier(&Key32::new([9; 32])),
            owner: "filler".into(),
            roles: vec!["reader".parse().unwrap()],
            databases: vec![],
            expires_at: None,
            allowed_cidrs: vec![],
            staleness: Default::default(),
            limits: TokenLimits::default(),
            pepper_generation: 1,
        },
        purpose: "x".repeat(200),
        revoked: None,
        predecessor: None,
        successor: None,
        labels: Default::default(),
        noticed: None,
    }
}

/// A control plane with a large store.
fn large() -> Plane {
    let (plane, _) = Plane::init();
    let data = plane.folder().join("data");
    let kek = Kek::load(&plane.folder().join("data.kek"), &data).unwrap();
    let store = Store::open(StoreOptions::new(&data, Arc::new(SystemClock)), &kek).unwrap();
    let fill = |draft: &mut Draft<'_>| {
        draft.event(v1::AdminEvent { action: "fill".into(), ..Default::default() });
        (0..2_000).for_each(|_| drop(draft.put(token())));
        Ok(())
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        for _ in 0..TOKENS / 2_000 {
            store.mutate("tests", fill).await.unwrap();
        }
        store.close().await;
    });
    plane
}

fn length(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |found| found.len())
}

fn verify_backup(plane: &Plane, file: &str) -> Ended {
    let mut command = program("nla-control-plane");
    Ended::of(command.args(["verify-backup", file, "--key-file", "data.kek"]).current_dir(plane.folder()))
}

#[test]
fn killed_backups_leave_nothing_that_looks_whole() {
    let mut plane = large();
    plane.start();
    let (file, part) = (plane.folder().join("b"), plane.folder().join("b.part"));

    // The client, in the middle.
    let mut client = Running::start(&mut plane.nlactl(&["system", "backup", "b"]), plane.folder(), "nlactl");
    until("a part of a backup", || length(&part) > 0);
    client.signal("KILL");
    client.wait();
    assert!(!file.exists() && length(&part) > 0, "killed too late");
    let shown = Ended::of(&mut plane.nlactl(&["system", "backup-info", "b.part"])).expect(1);
    assert!(shown.err.contains("cut off after"), "{shown:?}");
    // The moment that it held is free, and what it left is in nobody's way.
    until("the next backup", || Ended::of(&mut plane.nlactl(&["system", "backup", "b"])).code == 0);
    assert!(!part.exists());
    verify_backup(&plane, "b").expect(0);
    let again = Ended::of(&mut plane.nlactl(&["system", "backup", "b"])).expect(2);
    assert!(again.err.contains("--force"), "{again:?}");

    // The server, while a reader is slow: certainly in the middle.
    let mut command = plane.nlactl(&["system", "backup", "-"]);
    let mut slow = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut begun = vec![0; 1_000];
    slow.stdout.as_mut().unwrap().read_exact(&mut begun).unwrap();
    let second = Ended::of(&mut plane.nlactl(&["system", "backup", "c"])).expect(5);
    assert!(second.err.contains("another backup is being made"), "{second:?}");
    let mut written = Running::start(&mut plane.nlactl(&["system", "verify"]), plane.folder(), "verify");
    assert_eq!(written.wait().code(), Some(0), "a slow reader holds up nobody: {}", written.log());
    plane.kill();
    slow.stdout.as_mut().unwrap().read_to_end(&mut begun).unwrap();
    let ended = slow.wait_with_output().unwrap();
    assert_ne!(ended.status.code(), Some(0), "{ended:?}");
    fs::write(plane.folder().join("cut"), &begun).unwrap();
    let refused = verify_backup(&plane, "cut").expect(1);
    assert!(refused.err.contains("cut off after"), "{refused:?}");
    assert!(!plane.folder().join("c").exists() && !plane.folder().join("c.part").exists());

    plane.start();
    plane.run(&["system", "verify"]);
    plane.run(&["system", "backup", "b", "--force"]);
    plane.stop();
    let offline = Ended::of(
        program("nla-control-plane").args(["verify", "--config", "control-plane.toml"]).current_dir(plane.folder()),
    );
    assert!(offline.expect(0).out.contains("The store is sound"));
}

fn restore(plane: &Plane, flags: &[&str]) -> Command {
    let mut command = program("nla-control-plane");
    command.args(["restore", "b", "--config", "control-plane.toml"]).args(flags).current_dir(plane.folder());
    command
}

#[test]
fn a_killed_restore_is_all_or_nothing() {
    let mut plane = large();
    plane.start();
    plane.run(&["system", "backup", "b"]);
    plane.kill();
    let (data, workshop) = (plane.folder().join("data"), plane.folder().join("data.restoring"));
    fs::rename(&data, plane.folder().join("lost")).unwrap();

    // How long one takes here.
    let began = Instant::now();
    Ended::of(&mut restore(&plane, &[])).expect(0);
    let whole = began.elapsed();
    let again = Ended::of(&mut restore(&plane, &[])).expect(1);
    assert!(again.err.contains("--replace moves it aside"), "{again:?}");
    fs::remove_dir_all(&data).unwrap();

    let mut unfinished = 0;
    for tenth in 1..=9 {
        let mut running = Running::start(&mut restore(&plane, &[]), plane.folder(), "restore");
        std::thread::sleep(whole * tenth / 10);
        running.signal("KILL");
        running.wait();
        if data.exists() {
            // It was through already: then it is whole.
            verify(&plane);
            fs::remove_dir_all(&data).unwrap();
        } else {
            unfinished += u32::from(workshop.exists());
        }
    }
    assert!(unfinished > 0, "none was killed in the middle");
    Ended::of(&mut restore(&plane, &[])).expect(0);
    assert!(!workshop.exists());
    verify(&plane);

    // Over a store that is there: at each moment there is one, old or new.
    for tenth in [5, 8, 9, 10] {
        let mut running = Running::start(&mut restore(&plane, &["--replace"]), plane.folder(), "replace");
        std::thread::sleep(whole * tenth / 10);
        running.signal("KILL");
        running.wait();
        verify(&plane);
    }
    if workshop.exists() && !workshop.join("restoring").exists() {
        // Killed between the two renames: that is the former store.
        fs::remove_dir_all(&workshop).unwrap();
    }
    Ended::of(&mut restore(&plane, &["--replace"])).expect(0);
    plane.start();
    let tokens: serde_json::Value = serde_json::from_str(&plane.run(&["system", "status", "-o", "json"])).unwrap();
    assert_eq!(tokens["tokens_active"], TOKENS);
    plane.stop();
}

fn verify(plane: &Plane) {
    let mut command = program("nla-control-plane");
    Ended::of(command.args(["verify", "--config", "control-plane.toml"]).current_dir(plane.folder())).expect(0);
}

/// On a disk that is too small, made for this process alone.
#[test]
fn a_full_disk_is_said_and_leaves_nothing() {
    let mut plane = large();
    plane.start();
    plane.run(&["system", "backup", "b"]);
    plane.stop();
    let small = plane.folder().join("small");
    fs::create_dir(&small).unwrap();
    let script = "mount -t tmpfs -o size=70m nla-test \"$1\" || exit 99
        \"$2\" restore b --data-dir \"$1/data\" --key-file data.kek; code=$?
        echo \"left: $(ls -A \"$1\")\"; exit $code";
    let program: PathBuf = binaries::folder().join("nla-control-plane");
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", script, "sh"]).arg(&small).arg(program).current_dir(plane.folder());
    let ended = match command.stdin(Stdio::null()).output() {
        Ok(ended) if ended.status.code() != Some(99) && ended.status.code() != Some(1) => panic!("{ended:?}"),
        Ok(ended) if ended.status.code() == Some(1) && !ended.stdout.is_empty() => ended,
        other => {
            println!("no small disk could be mounted, which takes root: {other:?}");
            return;
        }
    };
    let (out, err) = (String::from_utf8(ended.stdout).unwrap(), String::from_utf8(ended.stderr).unwrap());
    assert!(err.contains("is full: free some space"), "{err}");
    assert_eq!(out.trim(), "left:", "{err}");
}
