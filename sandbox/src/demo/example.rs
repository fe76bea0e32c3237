//! The demo's example: the same question to each edge, then what the audit log
//! has about it.

use std::io::{self, Write};

use anyhow::{Context as _, Result};
use comfy_table::{ContentArrangement, Table, presets::UTF8_FULL_CONDENSED};
use nla_proto::{convert, v1};
use serde_json::Value;

use super::{report::Ready, target::Target};
use crate::{
    mcp::McpClient,
    system::{Admin, wait_for},
};

/// What one edge answered.
pub(super) struct Answered {
    url: String,
    content: Value,
}

pub(super) async fn run(ready: &Ready, target: &Target) -> Result<Vec<Answered>> {
    let mut answers = Vec::new();
    for url in &ready.mcp_urls {
        let client = McpClient::new(url, &ready.ca_cert, Some(ready.token.clone()))?;
        let content = client.query(target.question()).await.with_context(|| format!("the example failed on {url}"))?;
        answers.push(Answered { url: url.clone(), content });
    }
    Ok(answers)
}

/// The events of the example, oldest first; they arrive a moment after the
/// answers.
pub(super) async fn events(admin: &Admin, token: &str, count: usize) -> Result<Vec<v1::CallEvent>> {
    let filter = v1::AuditFilter { token: token.into(), kind: "call".into(), ..Default::default() };
    let queries = async || {
        let events = admin.audit(filter.clone()).await?;
        let calls = events.into_iter().rev().filter_map(|event| match event.event {
            Some(v1::audit_event::Event::Call(call)) if call.action == "query_database" => Some(call),
            _ => None,
        });
        Ok::<Vec<v1::CallEvent>, anyhow::Error>(calls.collect())
    };
    wait_for("the audit events of the example", || async { queries().await.is_ok_and(|events| events.len() >= count) })
        .await?;
    queries().await
}

pub(super) fn print(
    out: &mut impl Write,
    target: &Target,
    answers: &[Answered],
    events: &[v1::CallEvent],
) -> io::Result<()> {
    writeln!(out, "\n{}\n", target.question())?;
    for answer in answers {
        let content = &answer.content;
        writeln!(out, "{}:", answer.url)?;
        let columns = content["columns"].as_array().into_iter().flatten().map(|column| text(&column["name"]));
        let rows = content["rows"].as_array().into_iter().flatten();
        let rows = rows.map(|row| row.as_array().into_iter().flatten().map(text).collect::<Vec<_>>());
        writeln!(out, "{}\n", table(columns.collect(), rows))?;
    }
    writeln!(out, "What the audit log says:")?;
    let rows = events.iter().map(|event| {
        vec![
            event.edge.clone(),
            event.token.clone(),
            event.owner.clone(),
            event.database.clone(),
            event.relations.join(", "),
            event.rows.to_string(),
            convert::from_outcome("outcome", event.outcome).map_or("unknown", |outcome| outcome.as_str()).to_owned(),
        ]
    });
    let header = ["edge", "token", "owner", "database", "relations", "rows", "outcome"];
    writeln!(out, "{}", table(header.map(str::to_owned).to_vec(), rows))
}

fn table(header: Vec<String>, rows: impl Iterator<Item = Vec<String>>) -> Table {
    let mut table = Table::new();
    table.load_preset(UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(header);
    table.add_rows(rows);
    table
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => "NULL".into(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
