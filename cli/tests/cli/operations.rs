//! Runs docs/operations.md and docs/tokens.md: each of their commands, in order,
//! in one shell for each page.

use std::{fs, path::Path, process::Stdio};

use crate::{
    control_plane::ControlPlane,
    support::{command, ended, run},
};

const PAGE: &str = include_str!("../../../docs/operations.md");
const TOKENS: &str = include_str!("../../../docs/tokens.md");

/// The lines after a `$` in a page's console blocks.
fn commands(page: &'static str) -> impl Iterator<Item = &'static str> {
    let blocks = page.split("```").skip(1).step_by(2).filter_map(|block| block.strip_prefix("console\n"));
    blocks.flat_map(str::lines).map(|line| line.strip_prefix("$ ").expect("blocks hold commands only"))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_of_the_page_works() {
    let plane = ControlPlane::start().await;
    plane.enrol("edge-1").await;
    fs::copy(plane.operator().join("ca.crt"), plane.folder().join("db-ca.pem")).unwrap();
    nla_proto::files::write_private(&plane.folder().join("shop.password"), b"hunter2\n").unwrap();
    run_page(PAGE, &plane).await;
    plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_of_the_page_about_tokens_works() {
    let plane = ControlPlane::start().await;
    for words in [
        &["database", "add", "shop", "--url", "postgres://127.0.0.1/shop?sslmode=disable"][..],
        &["role", "create", "reporting", "--database", "shop"],
    ] {
        run(plane.operator(), words).await.expect(0);
    }
    run_page(TOKENS, &plane).await;
    for file in ["ana.token", "etl-1.token", "ana-2.token", "new-tokens/rotation.json"] {
        assert!(plane.folder().join(file).exists(), "{file}");
    }
    plane.stop().await;
}

async fn run_page(page: &'static str, plane: &ControlPlane) {
    // A line that fails ends the script and names itself.
    let script: String = commands(page)
        .map(|line| {
            format!(
                "{line}\ncode=$?; [ $code = 0 ] || {{ echo \"line: {}: $code\" >&2; exit 9; }}\n",
                line.replace('"', "'").replace('$', "\\$")
            )
        })
        .collect();
    let mut shell = tokio::process::Command::new("sh");
    let programs = Path::new(env!("CARGO_BIN_EXE_nlactl")).parent().unwrap();
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap());
    shell.arg("-c").arg(script).env_clear().env("PATH", path).env("NLA_CONFIG_DIR", plane.operator());
    shell.current_dir(plane.folder()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let ended = ended(shell.kill_on_drop(true).spawn().unwrap()).await.expect(0);
    assert!(!ended.out.contains("hunter2") && !ended.err.contains("hunter2"));
    // Events take one line each, however long; everything else fits a terminal.
    let tables = ended.out.lines().filter(|line| !line.contains("Z #"));
    let wide: Vec<_> = tables.filter(|line| line.chars().count() > 80).collect();
    assert!(wide.is_empty(), "{wide:#?}");
}

#[tokio::test]
async fn the_page_names_every_command() {
    let nothing = tempfile::tempdir().unwrap();
    for noun in names(nothing.path(), &["--help"]).await {
        let verbs = names(nothing.path(), &[&noun, "--help"]).await;
        let verbs = if verbs.is_empty() { vec![String::new()] } else { verbs };
        for verb in verbs {
            let name = format!("nlactl {noun} {verb}");
            let name = name.trim_end();
            let shown = PAGE.contains(name) || TOKENS.contains(name);
            assert!(shown, "neither docs/operations.md nor docs/tokens.md shows {name:?}");
        }
    }
}

/// The commands that a help text lists.
async fn names(config_dir: &Path, words: &[&str]) -> Vec<String> {
    let help = ended(command(config_dir, words).spawn().unwrap()).await.expect(0).out;
    let list = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    // What does not fit goes on in lines that are indented further.
    let first_lines = list.filter_map(|line| line.strip_prefix("  ")).filter(|line| !line.starts_with(' '));
    first_lines.filter_map(|line| line.split_whitespace().next().map(Into::into)).collect()
}
