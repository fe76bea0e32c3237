use super::*;
use crate::identity::Storage;

const COMPLETE: &str = r#"
listen = "0.0.0.0:8443"
public_url = "https://nla.example.com/mcp"
join_token_file = "join-token"
state_dir = "/var/lib/nla-edge"
allowed_origins = ["https://app.example.com"]
trusted_proxies = ["10.0.0.0/8", "192.0.2.1"]
shutdown_seconds = 5

[control_plane]
url = "https://cp.example.com:7443"
enrolment_url = "https://cp.example.com:7444"

[tls]
certificate = "edge.crt"
key = "/etc/nla/edge.key"

[limits]
connections = 10
audit_queue_events = 100

[log]
format = "json"
level = "info,nla_edge=debug"
"#;

fn load(name: &str, text: &str) -> Result<Config, ConfigError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, text).unwrap();
    Config::load(Some(&path), Overrides::default())
}

/// The complete file with one line replaced.
fn with(from: &str, to: &str) -> Result<Config, ConfigError> {
    assert!(COMPLETE.contains(from), "{from}");
    load("edge.toml", &COMPLETE.replacen(from, to, 1))
}

#[test]
fn a_complete_file_is_read() {
    let config = load("edge.toml", COMPLETE).unwrap();
    assert_eq!(config.identity.storage, Storage::File("/var/lib/nla-edge".into()));
    assert_eq!(config.identity.join.file.as_ref().and_then(|path| path.file_name()).unwrap(), "join-token");
    assert!(config.identity.join.file.unwrap().is_absolute(), "paths start at the file's folder");
    assert_eq!(config.trusted_proxies.len(), 2);
    assert_eq!(config.limits.connections, 10);
    assert_eq!(config.limits.address_burst, DEFAULT_ADDRESS_BURST);
    assert_eq!(config.audit.max_events, 100);
    assert_eq!(config.log.format, LogFormat::Json);
    assert_eq!(config.shutdown_deadline, Duration::from_secs(5));
}

#[test]
fn yaml_says_the_same() {
    let text = "plain_http: true\ncontrol_plane:\n  url: https://127.0.0.1:7443\n";
    let config = load("edge.yaml", text).unwrap();
    assert_eq!(config.transport, Transport::PlainHttp);
    assert_eq!(config.listen, DEFAULT_LISTEN);
    assert_eq!(config.identity.storage, Storage::Memory);
}

#[test]
fn flags_win_over_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("edge.toml");
    std::fs::write(&path, COMPLETE).unwrap();
    let overrides = Overrides {
        listen: Some("127.0.0.1:0".into()),
        control_plane_url: Some("https://[::1]:1".into()),
        log_level: Some("warn".into()),
        ..Overrides::default()
    };
    let config = Config::load(Some(&path), overrides).unwrap();
    assert_eq!(config.listen.port(), 0);
    assert_eq!(config.identity.control_plane_url, "https://[::1]:1");
    assert_eq!(config.log.level, "warn");
}

#[test]
fn refusals_name_key_value_and_range() {
    let cases = [
        (r#"listen = "0.0.0.0:8443""#, r#"listen = "8443""#, ["listen", "8443", "127.0.0.1:8443"]),
        (
            r#"url = "https://cp.example.com:7443""#,
            r#"url = "http://cp:1""#,
            ["control_plane.url", "http://cp:1", "https://host:port"],
        ),
        (
            r#"url = "https://cp.example.com:7443""#,
            r#"url = "https://cp""#,
            ["control_plane.url", "https://cp", "https://host:port"],
        ),
        (r#"url = "https://cp.example.com:7443""#, "", ["control_plane.url", "missing", "https://"]),
        (
            r#"enrolment_url = "https://cp.example.com:7444""#,
            "",
            ["control_plane.enrolment_url", "missing", "join token"],
        ),
        (r#"certificate = "edge.crt""#, "", ["tls.certificate", "missing", "PEM"]),
        (r#"key = "/etc/nla/edge.key""#, "", ["tls.key", "missing", "0600"]),
        ("connections = 10", "connections = 0", ["limits.connections", "0", "1 to 100000"]),
        ("connections = 10", "connections = 99999999999", ["limits.connections", "99999999999", "1 to 100000"]),
        ("audit_queue_events = 100", "audit_queue_events = 1", ["limits.audit_queue_events", "1", "16 to"]),
        ("audit_queue_events = 100", "audit_queue_bytes = 1", ["limits.audit_queue_bytes", "1", " to "]),
        ("shutdown_seconds = 5", "shutdown_seconds = 0", ["shutdown_seconds", "0", "1 to 300"]),
        (r#"format = "json""#, r#"format = "xml""#, ["log.format", "xml", "text or json"]),
        (r#""info,nla_edge=debug""#, r#""info,=x=y""#, ["log.level", "=x=y", "directives"]),
        (r#""10.0.0.0/8""#, r#""10.0.0.0/33""#, ["trusted_proxies", "10.0.0.0/33", "10.0.0.0/8"]),
        ("https://app.example.com", "https://app.example.com/x", ["allowed_origins", "/x", "without a path"]),
        ("https://nla.example.com/mcp", "nla", ["public_url", "nla", "https://"]),
        ("shutdown_seconds = 5", "shutdown_second = 5", ["shutdown_second", "unknown", "listen"]),
        ("shutdown_seconds = 5", "plain_http = true", ["plain_http", "true", "not both"]),
        ("shutdown_seconds = 5", r#"identity = "memory""#, ["state_dir", "/var/lib/nla-edge", "memory"]),
        ("shutdown_seconds = 5", r#"identity = "disk""#, ["identity", "disk", "\"file\""]),
        (r#"state_dir = "/var/lib/nla-edge""#, r#"identity = "file""#, ["state_dir", "missing", "folder"]),
        ("[tls]", "[tls", ["edge.toml", "", ""]),
    ];
    for (from, to, expected) in cases {
        let error = with(from, to).unwrap_err().to_string();
        for part in expected {
            assert!(error.contains(part), "{to}: {part:?} is not in {error:?}");
        }
    }
}

#[test]
fn plain_http_is_for_loopback_only() {
    let cases = [
        ("127.0.0.1:80", true),
        ("[::1]:80", true),
        ("0.0.0.0:80", false),
        ("192.0.2.7:80", false),
        ("[::]:80", false),
    ];
    for (listen, accepted) in cases {
        let text =
            format!("listen = \"{listen}\"\nplain_http = true\ncontrol_plane.url = \"https://127.0.0.1:7443\"\n");
        assert_eq!(load("edge.toml", &text).is_ok(), accepted, "{listen}");
    }
}

#[test]
fn other_endings_and_missing_files_are_refused() {
    assert!(matches!(load("edge.json", "{}"), Err(ConfigError::Format(_))));
    let missing = Config::load(Some(Path::new("/nonexistent/edge.toml")), Overrides::default());
    assert!(matches!(missing, Err(ConfigError::Read { .. })));
}
