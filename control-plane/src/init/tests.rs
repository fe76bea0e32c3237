use std::{collections::BTreeSet, fs, os::unix::fs::PermissionsExt};

use super::*;

fn names(folder: &Path) -> BTreeSet<String> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn everything_is_made_and_closed_to_others() {
    let folder = tempfile::tempdir().unwrap();
    let data_dir = folder.path().join("data");
    let config = folder.path().join("nla.toml");
    let options = InitOptions {
        config: Some(config.clone()),
        names: vec!["nla.example.com".to_owned()],
        ..InitOptions::new(&data_dir)
    };
    let report = init(options).await.unwrap();
    let made: BTreeSet<String> = ["data", "data.kek", "data-operator", "nla.toml"].map(Into::into).into();
    assert_eq!(names(folder.path()), made);
    assert_eq!(mode(&folder.path().join("data.kek")), 0o600);
    assert_eq!(mode(&data_dir), 0o700);
    let operator = folder.path().join("data-operator");
    assert_eq!(mode(&operator), 0o700);
    assert_eq!(mode(&operator.join("operator.key")), 0o600);
    let bundle: BTreeSet<String> = ["ca.crt", "config.yaml", "operator.crt", "operator.key"].map(Into::into).into();
    assert_eq!(names(&operator), bundle);
    let contexts = fs::read_to_string(operator.join("config.yaml")).unwrap();
    assert!(contexts.contains("url: https://127.0.0.1:7443"), "{contexts}");

    let loaded = Config::load(Some(&config), Overrides::default()).unwrap();
    assert_eq!(loaded.data_dir, report.config.data_dir);
    assert_eq!(loaded.names, ["nla.example.com"]);
    assert!(report.to_string().contains(&format!("nla-control-plane --config {}", config.display())));
}

#[tokio::test]
async fn nothing_is_overwritten() {
    for taken in ["data", "data.kek", "data-operator"] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(taken);
        if taken == "data" {
            fs::create_dir(&path).unwrap();
            fs::write(path.join("mine"), "mine").unwrap();
        } else {
            fs::write(&path, "mine").unwrap();
        }
        let error = init(InitOptions::new(folder.path().join("data"))).await.unwrap_err();
        assert!(matches!(&error, InitError::Exists(at) if *at == path), "{taken}: {error}");
        assert_eq!(names(folder.path()), [taken.to_owned()].into());
    }
}

#[tokio::test]
async fn a_failure_half_way_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let data_dir = folder.path().join("data");
    fs::create_dir(&data_dir).unwrap();
    // The configuration is the step after the operator's bundle.
    let options = InitOptions { config: Some(folder.path().join("none/c.toml")), ..InitOptions::new(&data_dir) };
    let error = init(options).await.unwrap_err();
    assert!(matches!(error, InitError::File(_)), "{error}");
    assert_eq!(names(folder.path()), ["data".to_owned()].into());
    assert!(names(&data_dir).is_empty());

    assert!(matches!(init(InitOptions::new(folder.path().join("no/data"))).await, Err(InitError::NoParent(_))));
    let options = InitOptions { config: Some(folder.path().join("c.json")), ..InitOptions::new(&data_dir) };
    assert!(matches!(init(options).await, Err(InitError::Config(ConfigError::Format(_)))));
    assert_eq!(names(folder.path()), ["data".to_owned()].into());
    init(InitOptions::new(&data_dir)).await.unwrap();
}

#[tokio::test]
async fn an_existing_configuration_is_used_and_kept() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("nla.yaml");
    let text = "listen: 0.0.0.0:9000\nnames: [nla.example.com]\ntrust_domain: example.com\n";
    fs::write(&config, text).unwrap();
    let options = InitOptions { config: Some(config.clone()), ..InitOptions::new(folder.path().join("data")) };
    let report = init(options).await.unwrap();
    assert_eq!(fs::read_to_string(&config).unwrap(), text);
    assert_eq!(report.config.trust_domain, "example.com");
    fs::write(&config, "data_dir: elsewhere\n").unwrap();
    let options = InitOptions { config: Some(config.clone()), ..InitOptions::new(folder.path().join("more")) };
    assert!(matches!(init(options).await, Err(InitError::OtherFolder { .. })));
    assert!(!folder.path().join("more.kek").exists());
    let contexts = fs::read_to_string(report.operator_dir.join("config.yaml")).unwrap();
    assert!(contexts.contains("https://nla.example.com:9000"), "{contexts}");
}
