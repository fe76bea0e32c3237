//! `query_database` and `explain_query`: a caller's statement and its rows or
//! its plan. The rows were written as JSON and as text while they arrived; here
//! they only get their frame.

use std::sync::Arc;

use nla_domain::{database::Database, error::ErrorKind, role::Tool};
use nla_guard::ExplainOptions;
use serde_json::json;

use super::{
    answer,
    arguments::{self, ExplainQuery, QueryDatabase, Rows},
};
use crate::{
    mcp::{
        call::ToolCall,
        outcome::{RawJson, ToolResult},
    },
    pg::{Cut, RowSet, write_string},
    pipeline::{Admitted, Ask, Call, Failure, Pipeline},
};

/// Room for the names around the rows.
const FRAME_BYTES: usize = 512;

pub(super) async fn query(pipeline: &Pipeline, admitted: &Admitted, mut call: ToolCall) -> ToolResult {
    let arguments = arguments::take::<QueryDatabase>(Tool::QueryDatabase, &mut call);
    let work = async |call: &mut Call<'_>| -> Result<ToolResult, Failure> {
        let arguments = arguments?;
        let ask = Ask {
            sql: &arguments.sql,
            database: arguments::text(&arguments.database),
            max_rows: arguments.max_rows.map(|Rows(rows)| rows),
            explain: None,
        };
        let (database, rows) = pipeline.query(call, ask).await?;
        Ok(rows_result(&database, rows))
    };
    answer::of(pipeline.call(admitted, Tool::QueryDatabase.as_str(), &call.context, work).await)
}

pub(super) async fn explain(pipeline: &Pipeline, admitted: &Admitted, mut call: ToolCall) -> ToolResult {
    let arguments = arguments::take::<ExplainQuery>(Tool::ExplainQuery, &mut call);
    let work = async |call: &mut Call<'_>| -> Result<ToolResult, Failure> {
        let arguments = arguments?;
        let analyze = arguments.analyze.unwrap_or(false);
        let ask = Ask {
            sql: &arguments.sql,
            database: arguments::text(&arguments.database),
            max_rows: None,
            explain: Some(ExplainOptions { analyze, buffers: analyze, ..ExplainOptions::default() }),
        };
        let (database, rows) = pipeline.query(call, ask).await?;
        plan_result(&database, rows, analyze)
    };
    answer::of(pipeline.call(admitted, Tool::ExplainQuery.as_str(), &call.context, work).await)
}

fn rows_result(database: &Arc<Database>, rows: RowSet) -> ToolResult {
    let note = note(&rows);
    let mut json = Vec::with_capacity(rows.open_json().len() + FRAME_BYTES);
    json.extend_from_slice(b"{\"database\":");
    write_string(&mut json, database.name.as_str());
    json.extend_from_slice(b",\"columns\":[");
    for (at, column) in rows.columns().iter().enumerate() {
        if at > 0 {
            json.push(b',');
        }
        json.extend_from_slice(b"{\"name\":");
        write_string(&mut json, &column.name);
        json.extend_from_slice(b",\"type\":");
        write_string(&mut json, &column.type_name);
        json.push(b'}');
    }
    json.extend_from_slice(b"],\"rows\":");
    json.extend_from_slice(rows.open_json());
    json.extend_from_slice(
        format!("],\"row_count\":{},\"truncated\":{}", rows.row_count(), rows.cut().is_some()).as_bytes(),
    );
    if let Some(cut) = rows.cut() {
        json.extend_from_slice(b",\"truncated_by\":");
        write_string(&mut json, cut.as_str());
    }
    if let Some(note) = &note {
        json.extend_from_slice(b",\"note\":");
        write_string(&mut json, note);
    }
    json.push(b'}');

    let count = rows.row_count();
    let mut text = rows.into_text();
    text.push_str(&format!("-- {count} {}", if count == 1 { "row" } else { "rows" }));
    if let Some(note) = &note {
        text.push_str("; ");
        text.push_str(note);
    }
    ToolResult::text(text).with_structured(RawJson::from_written(json))
}

/// How to go on after a cut.
fn note(rows: &RowSet) -> Option<String> {
    match rows.cut()? {
        Cut::Rows => Some(format!(
            "cut at the limit of {} rows, there are more: aggregate, filter, or page with ORDER BY on a unique key and \
             WHERE key > the last one",
            rows.row_count()
        )),
        Cut::Bytes if rows.row_count() == 0 => Some(
            "cut at the byte limit before the end of the first row: select fewer or smaller columns, for example \
             left(column, 1000) or length(column)"
                .to_owned(),
        ),
        Cut::Bytes => Some(
            "cut at the byte limit, there are more rows: select fewer columns, shorten long ones with left(column, 100), \
             or page with ORDER BY on a unique key"
                .to_owned(),
        ),
    }
}

fn plan_result(database: &Arc<Database>, rows: RowSet, analyze: bool) -> Result<ToolResult, Failure> {
    let mut json = rows.open_json().to_vec();
    json.push(b']');
    let lines: Vec<[String; 1]> =
        serde_json::from_slice(&json).map_err(|_| Failure::new(ErrorKind::Internal, "the plan could not be read"))?;
    let mut plan = lines.into_iter().map(|[line]| line).collect::<Vec<_>>().join("\n");
    if rows.cut().is_some() {
        plan.push_str("\n-- the plan was cut here");
    }
    let value = json!({
        "database": database.name.as_str(),
        "analyze": analyze,
        "plan": plan,
        "truncated": rows.cut().is_some(),
    });
    answer::with_structured(plan, &value)
}
