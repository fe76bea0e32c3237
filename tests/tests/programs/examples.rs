//! The example configurations: they load, and each key that exists is in them.

use std::path::{Path, PathBuf};

fn deploy(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("deploy").join(file)
}

/// The keys of the structs that a configuration file is read into.
fn keys(source: &str) -> Vec<String> {
    let mut keys = Vec::new();
    let (mut inside, mut skipped) = (false, false);
    for line in source.lines() {
        let line = line.trim().trim_start_matches("pub(super) ");
        if line.starts_with("struct Raw") {
            inside = true;
        } else if line.starts_with('}') {
            inside = false;
        } else if inside && line.starts_with("#[serde(skip)]") {
            skipped = true;
        } else if inside
            && let Some((key, _)) = line.split_once(": ")
            && !std::mem::take(&mut skipped)
            && !key.starts_with("//")
        {
            keys.push(key.to_owned());
        }
    }
    keys
}

#[test]
fn the_examples_load_and_name_every_key() {
    nla_control_plane::config::Config::load(Some(&deploy("control-plane.toml")), Default::default()).unwrap();
    nla_edge::config::Config::load(Some(&deploy("edge.toml")), Default::default()).unwrap();
    let examples = [
        ("control-plane.toml", include_str!("../../../control-plane/src/config/raw.rs"), "data_dir"),
        ("edge.toml", include_str!("../../../edge/src/config/raw.rs"), "join_token_file"),
    ];
    for (file, source, known) in examples {
        let text = std::fs::read_to_string(deploy(file)).unwrap();
        let keys = keys(source);
        assert!(keys.len() > 10 && keys.iter().any(|key| key == known), "{keys:?}");
        for key in keys {
            let named = text
                .lines()
                .map(|line| line.trim_start_matches(['#', ' ']))
                .any(|line| line == format!("[{key}]") || line.starts_with(&format!("{key} =")));
            assert!(named, "deploy/{file} does not show {key:?}");
        }
    }
}

#[test]
fn the_page_for_agents_names_every_error_rule_and_tool() {
    use nla_domain::{error::ErrorKind, role::Tool};
    let page = include_str!("../../../docs/agents.md");
    // These answer operators only.
    let elsewhere = [ErrorKind::Conflict, ErrorKind::FailedPrecondition];
    for kind in ErrorKind::ALL.into_iter().filter(|kind| !elsewhere.contains(kind)) {
        assert!(page.contains(&format!("`{}`", kind.reason())), "{kind:?}");
    }
    for rule in nla_guard::Rule::ALL {
        let group = rule.code().rsplit_once('.').map_or(rule.code(), |(group, _)| group);
        assert!(group == "guard" || page.contains(&format!("`{group}`")), "{}", rule.code());
    }
    for tool in Tool::ALL {
        assert!(page.contains(&format!("| `{}` |", tool.as_str())), "{tool:?}");
    }
}
