//! What to paste where, once everything is up.

use std::{
    io::{self, Write},
    path::PathBuf,
    time::Duration,
};

use nla_domain::secret::Secret;
use serde_json::{Value, json};

use super::Arguments;
use crate::mcp::PROTOCOL_VERSION;

/// Where everything is. The token belongs to a demo that ends with Ctrl-C, and
/// to show it is what the demo is for.
pub(super) struct Ready {
    pub(super) mcp_urls: Vec<String>,
    pub(super) token: Secret,
    pub(super) ca_cert: PathBuf,
    pub(super) control_plane: String,
    pub(super) operator_dir: PathBuf,
    pub(super) postgres_url: Secret,
    pub(super) data_dir: PathBuf,
}

impl Ready {
    /// For scripts: one object, on one line.
    pub(super) fn to_json(&self) -> Value {
        json!({
            "mcp_urls": self.mcp_urls,
            "token": self.token.expose(),
            "ca_cert": self.ca_cert,
            "control_plane": self.control_plane,
            "operator_dir": self.operator_dir,
            "postgres_url": self.postgres_url.expose(),
            "data_dir": self.data_dir,
        })
    }

    /// For people.
    pub(super) fn print(&self, out: &mut impl Write, took: Duration, arguments: &Arguments) -> io::Result<()> {
        writeln!(out, "\nReady after {:.1} s.\n", took.as_secs_f64())?;
        for url in &self.mcp_urls {
            writeln!(out, "  MCP            {url}")?;
        }
        writeln!(out, "  token          {}", self.token.expose())?;
        writeln!(out, "  CA certificate {}", self.ca_cert.display())?;
        writeln!(out, "  control plane  {}", self.control_plane)?;
        writeln!(out, "  PostgreSQL     {}", self.postgres_url.expose())?;
        writeln!(out, "  folder         {}", self.data_dir.display())?;
        if arguments.exit {
            return Ok(());
        }
        let Some(url) = self.mcp_urls.first() else { return Ok(()) };
        self.print_clients(out, url)?;
        writeln!(out, "\nAdminister it in another terminal:\n")?;
        writeln!(out, "  export NLA_CONFIG_DIR={}", self.operator_dir.display())?;
        writeln!(out, "  target/debug/nlactl audit tail")?;
        writeln!(out, "\nCtrl-C stops everything.")
    }

    fn print_clients(&self, out: &mut impl Write, url: &str) -> io::Result<()> {
        let (token, ca) = (self.token.expose(), self.ca_cert.display());
        let authorization = format!("Bearer {token}");
        writeln!(out, "\nClaude Code:\n")?;
        writeln!(out, "  export NODE_EXTRA_CA_CERTS={ca}")?;
        writeln!(out, "  claude mcp add --transport http nla {url} --header \"Authorization: {authorization}\"")?;
        writeln!(out, "\nClaude Desktop (claude_desktop_config.json):\n")?;
        let bridge = json!({ "mcpServers": { "nla": {
            "command": "npx",
            "args": ["mcp-remote", url, "--header", format!("Authorization: {authorization}")],
            "env": { "NODE_EXTRA_CA_CERTS": self.ca_cert },
        } } });
        print_json(out, &bridge)?;
        writeln!(out, "\nCursor (~/.cursor/mcp.json):\n")?;
        print_json(
            out,
            &json!({ "mcpServers": { "nla": { "url": url, "headers": { "Authorization": authorization } } } }),
        )?;
        writeln!(out, "\nVS Code (.vscode/mcp.json):\n")?;
        let code = json!({ "servers": { "nla": {
            "type": "http", "url": url, "headers": { "Authorization": authorization },
        } } });
        print_json(out, &code)?;
        writeln!(out, "\n(Cursor and VS Code trust the certificate when started with NODE_EXTRA_CA_CERTS={ca})")?;
        writeln!(out, "\ncurl:\n")?;
        let call = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {
            "name": "query_database",
            "arguments": { "sql": "SELECT version()" },
            "_meta": {
                "io.modelcontextprotocol/protocolVersion": PROTOCOL_VERSION,
                "io.modelcontextprotocol/clientCapabilities": {},
            },
        } });
        writeln!(
            out,
            "  curl --cacert {ca} {url} -H 'Authorization: {authorization}' -H 'Content-Type: application/json' \
             -H 'Accept: application/json, text/event-stream' -H 'MCP-Protocol-Version: {PROTOCOL_VERSION}' \
             -H 'Mcp-Method: tools/call' -H 'Mcp-Name: query_database' -d '{call}'"
        )
    }
}

fn print_json(out: &mut impl Write, value: &Value) -> io::Result<()> {
    for line in format!("{value:#}").lines() {
        writeln!(out, "  {line}")?;
    }
    Ok(())
}
