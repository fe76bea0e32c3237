//! `get_schema`: tables for a model to write SQL from, as text and as data. A
//! summary first when there are many; the columns when there are few or one was
//! asked for. `resources` shows the same text.

use nla_domain::{error::ErrorKind, role::Tool};
use serde_json::{Value, json};

use super::{
    answer,
    arguments::{self, GetSchema},
    catalog::{self, Column, MOST_TABLES, Table, Tables},
};
use crate::{
    mcp::{call::ToolCall, outcome::ToolResult},
    pipeline::{Admitted, Call, Failure, Pipeline},
};

/// With more tables than this their columns would fill a model's context before
/// it knows which it needs.
const DETAILED_TABLES: usize = 25;

/// What to describe.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Wanted<'a> {
    pub(super) database: Option<&'a str>,
    pub(super) schema: Option<&'a str>,
    pub(super) table: Option<&'a str>,
}

/// A description in both forms.
#[derive(Debug)]
pub(super) struct Description {
    pub(super) text: String,
    structured: Value,
}

pub(super) async fn call(pipeline: &Pipeline, admitted: &Admitted, mut call: ToolCall) -> ToolResult {
    let arguments = arguments::take::<GetSchema>(Tool::GetSchema, &mut call);
    let work = async |call: &mut Call<'_>| -> Result<ToolResult, Failure> {
        let arguments = arguments?;
        let wanted = Wanted {
            database: arguments::text(&arguments.database),
            schema: arguments::text(&arguments.schema),
            table: arguments::text(&arguments.table),
        };
        let description = describe(pipeline, call, wanted).await?;
        answer::with_structured(description.text, &description.structured)
    };
    answer::of(pipeline.call(admitted, Tool::GetSchema.as_str(), &call.context, work).await)
}

pub(super) async fn describe(
    pipeline: &Pipeline,
    call: &mut Call<'_>,
    wanted: Wanted<'_>,
) -> Result<Description, Failure> {
    let (schema, table) = qualified(wanted);
    let mut found = catalog::tables(pipeline, call, wanted.database, schema, table).await?;
    if found.tables.is_empty() && (schema.is_some() || table.is_some()) {
        let message = "there is no such schema or table that this token's database role may read; names are \
                       case-sensitive here; get_schema without schema and table lists what there is";
        return Err(Failure::new(ErrorKind::NotFound, message));
    }
    let detailed = found.tables.len() <= DETAILED_TABLES && !found.cut;
    if detailed {
        catalog::add_columns(pipeline, call, &mut found, schema, table).await?;
    }
    Ok(Description { text: text(&found, detailed), structured: structured(&found, detailed) })
}

/// Models like to write `schema.table` where a table is asked for.
fn qualified<'a>(wanted: Wanted<'a>) -> (Option<&'a str>, Option<&'a str>) {
    match (wanted.schema, wanted.table.and_then(|table| table.split_once('.'))) {
        (None, Some((schema, table))) if !schema.is_empty() && !table.is_empty() => (Some(schema), Some(table)),
        _ => (wanted.schema, wanted.table),
    }
}

fn note(found: &Tables, detailed: bool) -> Option<String> {
    if found.cut {
        return Some(format!("not everything is shown (at most {MOST_TABLES} tables): ask for one schema or table"));
    }
    (!detailed).then(|| "columns are left out because there are many tables: ask for one schema or table".to_owned())
}

fn text(found: &Tables, detailed: bool) -> String {
    let count = found.tables.len();
    let mut out =
        format!("Database {}: {count} {}\n", found.database.name, if count == 1 { "table" } else { "tables" });
    for table in &found.tables {
        out.push_str(&table_line(table));
        for column in &table.columns {
            out.push_str(&column_line(column));
        }
    }
    if let Some(note) = note(found, detailed) {
        out.push_str(&format!("-- {note}\n"));
    }
    out
}

fn table_line(table: &Table) -> String {
    let mut line = format!("\n{}.{} ({}", table.schema, table.name, table.kind);
    if table.partitions > 0 {
        line.push_str(&format!(" in {} partitions", table.partitions));
    }
    if let Some(rows) = table.estimated_rows {
        line.push_str(&format!(", about {rows} rows"));
    }
    line.push(')');
    push_comment(&mut line, table.comment.as_deref());
    line
}

fn column_line(column: &Column) -> String {
    let mut line = format!("  {} {}", column.name, column.type_name);
    if column.primary_key {
        line.push_str(" primary key");
    } else if !column.nullable {
        line.push_str(" not null");
    }
    if let Some(target) = &column.references {
        line.push_str(&format!(" references {target}"));
    }
    if let Some(values) = &column.values {
        line.push_str(&format!(" one of {values}"));
    }
    push_comment(&mut line, column.comment.as_deref());
    line
}

/// A comment stays on its line, so that it cannot look like another table.
fn push_comment(line: &mut String, comment: Option<&str>) {
    if let Some(comment) = comment {
        line.push_str(" -- ");
        line.push_str(&comment.replace(['\n', '\r'], " "));
    }
    line.push('\n');
}

fn structured(found: &Tables, detailed: bool) -> Value {
    let mut value = json!({
        "database": found.database.name.as_str(),
        "tables": found.tables.iter().map(|table| table_value(table, detailed)).collect::<Vec<_>>(),
        "truncated": found.cut,
    });
    if let Some(note) = note(found, detailed) {
        value["note"] = note.into();
    }
    value
}

fn table_value(table: &Table, detailed: bool) -> Value {
    let mut value = json!({ "schema": table.schema, "name": table.name, "kind": table.kind });
    if let Some(rows) = table.estimated_rows {
        value["estimated_rows"] = rows.into();
    }
    if table.partitions > 0 {
        value["partitions"] = table.partitions.into();
    }
    if let Some(comment) = &table.comment {
        value["comment"] = comment.clone().into();
    }
    if detailed {
        value["columns"] = table.columns.iter().map(column_value).collect();
    }
    value
}

fn column_value(column: &Column) -> Value {
    let mut value = json!({ "name": column.name, "type": column.type_name, "nullable": column.nullable });
    if column.primary_key {
        value["primary_key"] = true.into();
    }
    for (key, text) in [("references", &column.references), ("values", &column.values), ("comment", &column.comment)] {
        if let Some(text) = text {
            value[key] = text.clone().into();
        }
    }
    value
}
