//! Audit events: a line each for people, an object each for programs. Much of
//! an event was chosen by an agent, so the line is escaped as a whole.

use std::{fmt::Write as _, time::Duration};

use nla_proto::v1;
use serde::Serialize;
use serde_json::Value;

use super::wire::{self, When};
use crate::output::{Show, Table, elapsed, escape, millis};

/// Longest piece of SQL on a line; the other forms show all of it.
const LINE_SQL_CHARS: usize = 200;

/// An event.
#[derive(Debug, Serialize)]
pub(crate) struct Event {
    pub(crate) sequence: u64,
    at: When,
    #[serde(flatten)]
    kind: Kind,
}

#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Kind {
    Call(Box<Call>),
    Admin(Box<Admin>),
    /// Of a newer control plane.
    Unknown,
}

#[derive(Debug, Serialize)]
struct Call {
    called_at: When,
    request_id: String,
    action: String,
    edge: String,
    boot_id: String,
    boot_sequence: u64,
    client_address: Option<String>,
    client_name: Option<String>,
    token: Option<String>,
    owner: Option<String>,
    role: Option<String>,
    database: Option<String>,
    sql: Option<String>,
    sql_form: Option<&'static str>,
    relations: Vec<String>,
    outcome: &'static str,
    reason: Option<String>,
    rule: Option<String>,
    sqlstate: Option<String>,
    rows: u64,
    bytes: u64,
    truncated: bool,
    duration_ms: f64,
    database_duration_ms: f64,
    #[serde(skip)]
    duration: Duration,
}

#[derive(Debug, Serialize)]
struct Admin {
    actor: String,
    action: String,
    object: Option<String>,
    client_address: Option<String>,
    outcome: &'static str,
    reason: Option<String>,
    revision: u64,
    before: Value,
    after: Value,
}

impl Event {
    pub(crate) fn from_wire(event: v1::AuditEvent) -> Self {
        let kind = match event.event {
            Some(v1::audit_event::Event::Call(call)) => Kind::Call(Box::new(Call::from_wire(call))),
            Some(v1::audit_event::Event::Admin(admin)) => Kind::Admin(Box::new(Admin::from_wire(admin))),
            None => Kind::Unknown,
        };
        Self { sequence: event.sequence, at: When::from_wire(event.at.as_ref()), kind }
    }

    /// The event on one line.
    pub(crate) fn line(&self) -> String {
        let at = self.at.0.map_or_else(|| "-".to_owned(), |at| at.to_string());
        let what = match &self.kind {
            Kind::Call(call) => call.line(),
            Kind::Admin(admin) => admin.line(),
            Kind::Unknown => "event of a kind that this nlactl does not know".into(),
        };
        escape(&format!("{at} #{} {what}", self.sequence)).into_owned()
    }
}

impl Call {
    fn from_wire(call: v1::CallEvent) -> Self {
        let duration = wire::duration(call.duration.as_ref());
        let sql_form = call.sql.as_ref().map(|sql| wire::sql_audit(sql.form));
        Self {
            called_at: When::from_wire(call.at.as_ref()),
            request_id: call.request_id,
            action: call.action,
            edge: call.edge,
            boot_id: call.boot_id,
            boot_sequence: call.boot_sequence,
            client_address: wire::text(call.client_address),
            client_name: wire::text(call.client_name),
            token: wire::text(call.token),
            owner: wire::text(call.owner),
            role: wire::text(call.role),
            database: wire::text(call.database),
            sql: call.sql.map(|sql| sql.text),
            sql_form,
            relations: call.relations,
            outcome: wire::outcome(call.outcome),
            reason: wire::text(call.reason),
            rule: wire::text(call.rule),
            sqlstate: wire::text(call.sqlstate),
            rows: call.rows,
            bytes: call.bytes,
            truncated: call.truncated,
            duration_ms: millis(duration),
            database_duration_ms: millis(wire::duration(call.database_duration.as_ref())),
            duration,
        }
    }

    fn line(&self) -> String {
        let mut line = format!("{} {} edge={}", self.outcome, self.action, self.edge);
        let pairs = [
            ("token", &self.token),
            ("owner", &self.owner),
            ("database", &self.database),
            ("reason", &self.reason),
            ("rule", &self.rule),
            ("sqlstate", &self.sqlstate),
        ];
        push_pairs(&mut line, &pairs);
        if self.outcome == "succeeded" {
            let cut = if self.truncated { "+" } else { "" };
            let _ = write!(line, " rows={}{cut}", self.rows);
        }
        let _ = write!(line, " in {}", elapsed(self.duration));
        if let Some(sql) = &self.sql {
            line.push_str(": ");
            line.extend(sql.chars().take(LINE_SQL_CHARS));
            if sql.chars().nth(LINE_SQL_CHARS).is_some() {
                line.push('…');
            }
        }
        line
    }
}

impl Admin {
    fn from_wire(admin: v1::AdminEvent) -> Self {
        Self {
            actor: admin.actor,
            action: admin.action,
            object: wire::text(admin.object),
            client_address: wire::text(admin.client_address),
            outcome: wire::outcome(admin.outcome),
            reason: wire::text(admin.reason),
            revision: admin.revision,
            before: document(admin.before_json),
            after: document(admin.after_json),
        }
    }

    fn line(&self) -> String {
        let action = self.action.trim_start_matches("/nla.v1.");
        let mut line = format!("{} {action} by={}", self.outcome, self.actor);
        push_pairs(&mut line, &[("object", &self.object), ("reason", &self.reason)]);
        if self.revision != 0 {
            let _ = write!(line, " revision={}", self.revision);
        }
        line
    }
}

/// `key=value`, quoted where a value could be mistaken for more pairs.
fn push_pairs(line: &mut String, pairs: &[(&str, &Option<String>)]) {
    for (key, value) in pairs.iter().filter_map(|(key, value)| Some((key, value.as_ref()?))) {
        let plain = |c: char| c.is_alphanumeric() || "-_.@/:+".contains(c);
        if value.chars().all(plain) {
            let _ = write!(line, " {key}={value}");
        } else {
            let _ = write!(line, " {key}={}", Value::from(value.as_str()));
        }
    }
}

/// The JSON that the text holds; the text itself when it holds none.
fn document(text: String) -> Value {
    if text.is_empty() { Value::Null } else { serde_json::from_str(&text).unwrap_or(Value::String(text)) }
}

/// Events as one result.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(crate) struct Events(pub(crate) Vec<Event>);

impl Show for Events {
    fn table(&self) -> Table {
        self.0.iter().fold(Table::fields(), |table, event| table.line(event.line()))
    }

    fn essence(&self) -> Vec<String> {
        self.0.iter().map(Event::line).collect()
    }
}

#[cfg(test)]
mod tests;
