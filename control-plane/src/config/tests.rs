use std::fs;

use super::*;

fn load(name: &str, text: &str) -> Result<Config, ConfigError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    fs::write(&path, text).unwrap();
    Config::load(Some(&path), Overrides::default())
}

#[test]
fn toml_and_yaml_say_the_same() {
    let toml = "data_dir = '/var/lib/nla'\nlisten = '[::]:7443'\nnames = ['nla.example.com']\n[staleness]\nstrict_seconds = 5\n[log]\nformat = 'json'\n";
    let yaml = "data_dir: /var/lib/nla\nlisten: '[::]:7443'\nnames: [nla.example.com]\nstaleness:\n  strict_seconds: 5\nlog:\n  format: json\n";
    for (name, text) in [("a.toml", toml), ("a.yaml", yaml), ("a.yml", yaml)] {
        let config = load(name, text).unwrap();
        assert_eq!(config.data_dir, Path::new("/var/lib/nla"));
        assert_eq!(config.key_file, Path::new("/var/lib/nla.kek"));
        assert_eq!(config.listen.to_string(), "[::]:7443");
        assert_eq!(config.enrolment_listen.to_string(), "127.0.0.1:7444");
        assert_eq!(config.names, ["nla.example.com"]);
        assert_eq!(
            config.staleness,
            StalenessBounds { strict: Duration::from_secs(5), standard: Duration::from_secs(300) }
        );
        assert_eq!(config.log, LogConfig { format: LogFormat::Json, level: "info".to_owned() });
    }
}

#[test]
fn a_refusal_names_key_value_and_range() {
    let cases = [
        ("a.toml", "", "data_dir is missing"),
        ("a.yaml", "", "data_dir is missing"),
        ("a.toml", "data_dir = ''", "data_dir is missing"),
        ("a.toml", "data_dir = 'd'\nlissten = 'x'", "lissten"),
        ("a.yaml", "data_dir: d\nlissten: x", "lissten"),
        ("a.yaml", "data_dir: d\nlimits: {concurrent_calls: many}", "limits.concurrent_calls"),
        ("a.json", "{}", ".toml, .yaml or .yml"),
        ("a.toml", "data_dir = 'd'\nlisten = 'localhost'", "listen: \"localhost\""),
        ("a.toml", "data_dir = 'd'\nenrolment_listen = '1:2'", "enrolment_listen"),
        ("a.toml", "data_dir = 'd'\nnames = ['a b']", "names: \"a b\""),
        ("a.toml", "data_dir = 'd'\ntrust_domain = 'Nla'", "trust_domain: \"Nla\""),
        ("a.toml", "data_dir = 'd'\n[staleness]\nstrict_seconds = 0", "1 to 86400"),
        ("a.toml", "data_dir = 'd'\n[staleness]\nstandard_seconds = 86401", "1 to 86400"),
        ("a.toml", "data_dir = 'd'\n[staleness]\nstrict_seconds = 301", "at most staleness.standard_seconds"),
        ("a.toml", "data_dir = 'd'\n[tokens]\nmax_lifetime_days = 0", "1 to 3650"),
        ("a.toml", "data_dir = 'd'\n[tokens]\ndefault_lifetime_days = 3651", "1 to 3650"),
        ("a.toml", "data_dir = 'd'\n[tokens]\ndefault_lifetime_days = 366", "max_lifetime_days, which is 365"),
        ("a.toml", "data_dir = 'd'\n[tokens]\nallow_never = 'yes'", "allow_never = 'yes'"),
        ("a.toml", "data_dir = 'd'\n[limits]\nconnected_edges = 0", "1 to 100000"),
        ("a.toml", "data_dir = 'd'\n[log]\nformat = 'xml'", "text or json"),
        ("a.toml", "data_dir = 'd'\n[log]\nlevel = 'a=b=c'", "log.level"),
        ("a.toml", "data_dir = 'd'\nshutdown_seconds = 301", "0 to 300"),
        ("a.toml", "data_dir = 'd'\n[credentials]\nexec = ['vault']", "credentials.exec"),
        ("a.toml", "data_dir = 'd'\n[credentials]\nexec = ['/bin/vault  x']", "credentials.exec"),
        ("a.toml", "data_dir = 'd'\n[credentials]\nexec_env = ['NLA_KEY']", "credentials.exec_env"),
        ("a.toml", "data_dir = 'd'\n[credentials]\nfiles_under = ['/']", "credentials.files_under"),
        ("a.toml", "data_dir = 'd'\n[credentials]\nenv = ['NLA_KEY']", "credentials.env"),
        ("a.toml", "data_dir = 'd'\n[backup]\nkeep = 3", "backup.dir is missing"),
        ("a.toml", "data_dir = 'd'\n[backup]\ndir = 'b'\nkeep = 0", "1 to 1000"),
        ("a.toml", "data_dir = 'd'\n[backup]\ndir = 'b'\nevery_hours = 721", "1 to 720"),
    ];
    for (name, text, expected) in cases {
        let error = load(name, text).unwrap_err().to_string();
        assert!(error.contains(expected), "{text:?}: {error}");
    }
}

#[test]
fn flags_win_over_the_file_and_paths_start_at_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.toml");
    fs::write(&path, "data_dir = 'data'\nkey_file = '/k'\nlisten = '127.0.0.1:1'\n").unwrap();
    let overrides = Overrides { listen: Some("127.0.0.1:2".to_owned()), ..Overrides::default() };
    let config = Config::load(Some(&path), overrides).unwrap();
    assert_eq!(config.listen.port(), 2);
    assert_eq!(config.data_dir, folder.path().join("data"));
    assert_eq!(config.key_file, Path::new("/k"));
    assert_eq!(config.backup, None);
    fs::write(&path, "data_dir = 'data'\n[backup]\ndir = 'backups'\n").unwrap();
    let schedule = Config::load(Some(&path), Overrides::default()).unwrap().backup.unwrap();
    assert_eq!(schedule.dir, folder.path().join("backups"));
    assert_eq!((schedule.every, schedule.keep), (Duration::from_secs(24 * 3600), 7));
}

#[test]
fn the_key_never_lies_in_the_folder_that_it_opens() {
    for folder in ["/d/data", "/d/data/", "/d/data/."] {
        assert_eq!(default_key_file(Path::new(folder)), Path::new("/d/data.kek"), "{folder}");
    }
}

#[test]
fn a_shorter_longest_life_shortens_what_is_given_by_default() {
    let days = |days: u64| Duration::from_secs(days * 24 * 3600);
    let policy = load("a.toml", "data_dir = 'd'\n[tokens]\nmax_lifetime_days = 30\nallow_never = true").unwrap().tokens;
    assert_eq!(policy, TokenPolicy { allow_never: true, max_lifetime: days(30), default_lifetime: days(30) });
    let policy = load("a.toml", "data_dir = 'd'").unwrap().tokens;
    assert_eq!(policy, TokenPolicy { allow_never: false, max_lifetime: days(365), default_lifetime: days(90) });
}
