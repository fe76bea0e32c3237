//! Runs docs/backup.md: each of its commands, in its order, in one shell.

use std::process::Command;

use nla_tests::programs::{binaries, plane::Plane, process::Ended};

const PAGE: &str = include_str!("../../../docs/backup.md");

#[test]
fn every_command_of_the_page_works() {
    let (mut plane, _) = Plane::init();
    plane.start();
    let blocks = PAGE.split("```").skip(1).step_by(2).filter_map(|block| block.strip_prefix("console\n"));
    let lines: Vec<&str> =
        blocks.flat_map(str::lines).map(|line| line.strip_prefix("$ ").expect("blocks hold commands only")).collect();
    assert!(lines.len() > 10, "{lines:?}");
    let script: String = lines
        .iter()
        .map(|line| format!("{line}\ncode=$?; [ $code = 0 ] || {{ echo \"{line}: $code\" >&2; exit 9; }}\n"))
        .collect();
    let mut shell = Command::new("sh");
    let path = format!("{}:{}", binaries::folder().display(), std::env::var("PATH").unwrap());
    shell.arg("-c").arg(script).env_clear().env("PATH", path).env("NLA_CONFIG_DIR", plane.operator_dir());
    let ended = Ended::of(shell.current_dir(plane.folder())).expect(0);
    for expected in ["can be restored with this key", "Check these", "The store is sound", "fits: the file is whole"] {
        assert!(ended.out.contains(expected), "{expected}: {ended:#?}");
    }
    plane.stop();
}

#[test]
fn the_page_names_every_refusal_and_command() {
    for command in ["verify", "verify-backup", "restore", "operator-certificate"] {
        assert!(PAGE.contains(&format!("nla-control-plane {command}")), "{command}");
    }
    for action in ["revoke-after-restore", "audit-gap", ".before-restore-", ".restoring"] {
        assert!(PAGE.contains(action), "{action}");
    }
}
