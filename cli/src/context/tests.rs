//! Where contexts are looked for, and what malformed ones lead to.

use std::fs;

use super::*;

#[test]
fn folders() {
    let path = |text: &str| Some(PathBuf::from(text));
    let cases = [
        (path("/given"), path("/xdg"), path("/home/a"), path("/given")),
        (path("given"), None, None, path("given")),
        (None, path("/xdg"), path("/home/a"), path("/xdg/nla")),
        (None, path("relative"), path("/home/a"), path("/home/a/.config/nla")),
        (path(""), path(""), path("/home/a"), path("/home/a/.config/nla")),
        (None, None, path(""), None),
        (None, None, None, None),
    ];
    for (given, xdg, home, expected) in cases {
        assert_eq!(locate(given.clone(), xdg.clone(), home.clone()), expected, "{given:?} {xdg:?} {home:?}");
    }
}

const GOOD: &str = "\
current_context: prod
contexts:
  - {name: prod, url: 'https://cp:7443', certificate: a.crt, key: a.key, ca: ca.crt}
  - {name: test, url: 'https://test:7443', certificate: a.crt, key: a.key, ca: ca.crt}
";

fn written(text: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(CONFIG_FILE);
    fs::write(&path, text).unwrap();
    (folder, path)
}

#[test]
fn the_named_context_wins_over_the_current_one() {
    let (_folder, path) = written(GOOD);
    let config = ConfigFile::read(&path).unwrap();
    for (name, url) in [(None, Some("https://cp:7443")), (Some("test"), Some("https://test:7443")), (Some("x"), None)] {
        assert_eq!(config.choose(name, &path).ok().map(|entry| entry.url.as_str()), url, "{name:?}");
    }
    let text = crate::exit::message(&config.choose(Some("x"), &path).unwrap_err());
    assert!(text.contains("it has prod, test"), "{text}");
}

#[test]
fn malformed_files_are_refused_and_say_where() {
    let cases = [
        (GOOD.replace("name: test", "name: prod"), "two contexts"),
        (GOOD.replace("url:", "uri:"), "uri"),
        (GOOD.replace("ca: ca.crt}", "ca: [1]}"), "ca"),
        ("contexts: 3".into(), "contexts"),
        ("surprise: 1".into(), "surprise"),
    ];
    for (text, part) in cases {
        let (_folder, path) = written(&text);
        let message = crate::exit::message(&ConfigFile::read(&path).unwrap_err());
        assert!(message.contains(part) && message.contains(CONFIG_FILE), "{message}");
    }
}

#[test]
fn a_missing_file_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(CONFIG_FILE);
    let message = crate::exit::message(&ConfigFile::read(&path).unwrap_err());
    assert!(message.contains("nla-control-plane init"), "{message}");
    assert_eq!(ConfigFile::read_or_empty(&path).unwrap(), ConfigFile::default());
}

#[test]
fn what_is_written_is_read_back() {
    let (_folder, path) = written(GOOD);
    let config = ConfigFile::read(&path).unwrap();
    config.write(&path).unwrap();
    assert_eq!(ConfigFile::read(&path).unwrap(), config);
}

#[test]
fn a_key_that_others_can_read_is_not_used() {
    use std::os::unix::fs::PermissionsExt as _;
    let (folder, path) = written(GOOD);
    for name in ["a.crt", "a.key", "ca.crt"] {
        fs::write(folder.path().join(name), "x").unwrap();
    }
    fs::set_permissions(folder.path().join("a.key"), fs::Permissions::from_mode(0o644)).unwrap();
    let config = ConfigFile::read(&path).unwrap();
    let error = Context::load(&config.contexts[0], folder.path()).unwrap_err();
    let message = crate::exit::message(&error);
    assert!(message.contains("chmod 600") && message.contains("a.key"), "{message}");
}

#[test]
fn authorities_are_replaced_when_the_control_plane_tells_others() {
    let (folder, path) = written(GOOD);
    let entry = ConfigFile::read(&path).unwrap().choose(None, &path).unwrap().clone();
    let made = |name: &str| rcgen::generate_simple_self_signed([name.to_owned()]).unwrap().cert.pem();
    let (old, new) = (made("old.example"), made("new.example"));
    let file = folder.path().join(&entry.ca);
    for (told, changed, left) in [
        (old.clone() + &new, true, old.clone() + &new),
        (new.clone(), true, new.clone()),
        (new.clone(), false, new.clone()),
        (String::new(), false, new.clone()),
    ] {
        assert_eq!(refresh_authorities(&entry, folder.path(), &told).unwrap(), changed);
        assert_eq!(fs::read_to_string(&file).unwrap(), left);
    }
    refresh_authorities(&entry, folder.path(), "no certificate").unwrap_err();
    assert_eq!(fs::read_to_string(&file).unwrap(), new);
}
