//! The catalog queries behind `get_schema`, the schema resources and completion.
//! Invariants: constant SQL; only relations and columns that the database role
//! may SELECT; partitions count as part of their table.

use std::{collections::HashMap, sync::Arc};

use nla_domain::database::Database;

use crate::{
    pg::OwnSql,
    pipeline::{Call, Failure, Pipeline},
};

/// Tables in one description.
pub(super) const MOST_TABLES: u32 = 500;
/// PostgreSQL allows 1,600 columns; many wide tables together are cut.
const MOST_COLUMNS: u32 = 5_000;
/// A completion has at most as many (MCP, "Completion").
pub(super) const MOST_COMPLETIONS: u32 = 100;

/// A table, view or foreign table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Table {
    pub(super) schema: String,
    pub(super) name: String,
    pub(super) kind: String,
    /// The planner's estimate; `None` before the first ANALYZE.
    pub(super) estimated_rows: Option<i64>,
    pub(super) comment: Option<String>,
    pub(super) partitions: u64,
    pub(super) columns: Vec<Column>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) type_name: String,
    pub(super) nullable: bool,
    pub(super) primary_key: bool,
    /// `schema.table(column)`.
    pub(super) references: Option<String>,
    /// Labels of an enum.
    pub(super) values: Option<String>,
    pub(super) comment: Option<String>,
}

/// Tables of a database, perhaps not all.
#[derive(Debug)]
pub(super) struct Tables {
    pub(super) database: Arc<Database>,
    pub(super) tables: Vec<Table>,
    pub(super) cut: bool,
}

const TABLES: &str = "
SELECT n.nspname, c.relname,
  CASE c.relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view' WHEN 'f' THEN 'foreign table'
    WHEN 'p' THEN 'partitioned table' ELSE 'table' END,
  CASE WHEN c.relkind = 'p' THEN (
    SELECT sum(l.reltuples)::bigint FROM pg_partition_tree(c.oid) t JOIN pg_class l ON l.oid = t.relid
    WHERE t.isleaf AND l.reltuples >= 0)
    WHEN c.relkind IN ('r', 'm') AND c.reltuples >= 0 THEN c.reltuples::bigint END,
  obj_description(c.oid, 'pg_class'),
  (SELECT count(*) FROM pg_inherits i JOIN pg_class p ON p.oid = i.inhrelid
    WHERE i.inhparent = c.oid AND p.relispartition)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')
  AND (NOT c.relispartition OR $2 <> '')
  AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
  AND has_schema_privilege(n.oid, 'USAGE') AND has_any_column_privilege(c.oid, 'SELECT')
  AND ($1 = '' OR n.nspname = $1) AND ($2 = '' OR c.relname = $2)
ORDER BY n.nspname, c.relname";

const COLUMNS: &str = "
SELECT n.nspname, c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
  EXISTS (SELECT FROM pg_constraint k WHERE k.conrelid = c.oid AND k.contype = 'p' AND a.attnum = ANY (k.conkey)),
  (SELECT string_agg(format('%I.%I(%I)', fn.nspname, fc.relname, fa.attname), ', ')
    FROM pg_constraint k
    CROSS JOIN LATERAL unnest(k.conkey, k.confkey) AS u(own, other)
    JOIN pg_class fc ON fc.oid = k.confrelid JOIN pg_namespace fn ON fn.oid = fc.relnamespace
    JOIN pg_attribute fa ON fa.attrelid = k.confrelid AND fa.attnum = u.other
    WHERE k.conrelid = c.oid AND k.contype = 'f' AND u.own = a.attnum),
  (SELECT string_agg(quote_literal(e.enumlabel), ', ' ORDER BY e.enumsortorder) FROM pg_enum e
    WHERE e.enumtypid = a.atttypid),
  col_description(c.oid, a.attnum)
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE a.attnum > 0 AND NOT a.attisdropped
  AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
  AND (NOT c.relispartition OR $2 <> '')
  AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
  AND has_schema_privilege(n.oid, 'USAGE') AND has_column_privilege(c.oid, a.attnum, 'SELECT')
  AND ($1 = '' OR n.nspname = $1) AND ($2 = '' OR c.relname = $2)
ORDER BY n.nspname, c.relname, a.attnum";

const NAMES: &str = "
SELECT DISTINCT CASE WHEN $3 = 'schema' THEN n.nspname ELSE c.relname END AS name
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND NOT c.relispartition
  AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
  AND has_schema_privilege(n.oid, 'USAGE') AND has_any_column_privilege(c.oid, 'SELECT')
  AND ($1 = '' OR n.nspname = $1)
  AND starts_with(CASE WHEN $3 = 'schema' THEN n.nspname ELSE c.relname END, $2)
ORDER BY name";

/// Which names a completion wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NameKind {
    Schema,
    Table,
}

/// Tables without their columns.
pub(super) async fn tables(
    pipeline: &Pipeline,
    call: &mut Call<'_>,
    database: Option<&str>,
    schema: Option<&str>,
    table: Option<&str>,
) -> Result<Tables, Failure> {
    let sql = OwnSql::new(TABLES, &[schema.unwrap_or(""), table.unwrap_or("")]);
    let (database, cells) = pipeline.catalog(call, database, &sql, MOST_TABLES).await?;
    let cut = cells.cut || cells.rows.len() > rows(MOST_TABLES);
    let tables = cells.rows.into_iter().take(rows(MOST_TABLES)).map(table_of).collect();
    Ok(Tables { database, tables, cut })
}

/// Adds the columns to tables that were found with the same names.
pub(super) async fn add_columns(
    pipeline: &Pipeline,
    call: &mut Call<'_>,
    found: &mut Tables,
    schema: Option<&str>,
    table: Option<&str>,
) -> Result<(), Failure> {
    let sql = OwnSql::new(COLUMNS, &[schema.unwrap_or(""), table.unwrap_or("")]);
    let (_, cells) = pipeline.catalog(call, Some(found.database.name.as_str()), &sql, MOST_COLUMNS).await?;
    found.cut |= cells.cut || cells.rows.len() > rows(MOST_COLUMNS);
    let places: HashMap<(String, String), usize> =
        found.tables.iter().enumerate().map(|(at, t)| ((t.schema.clone(), t.name.clone()), at)).collect();
    for row in cells.rows {
        let mut next = cells_of(row);
        let key = (next().unwrap_or_default(), next().unwrap_or_default());
        // A table that appeared between the two queries is left to the next call.
        let Some(at) = places.get(&key) else { continue };
        found.tables[*at].columns.push(Column {
            name: next().unwrap_or_default(),
            type_name: next().unwrap_or_default(),
            nullable: next().as_deref() != Some("t"),
            primary_key: next().as_deref() == Some("t"),
            references: next(),
            values: next(),
            comment: next(),
        });
    }
    Ok(())
}

/// Names that begin with what was typed.
pub(super) async fn names(
    pipeline: &Pipeline,
    call: &mut Call<'_>,
    database: Option<&str>,
    kind: NameKind,
    schema: Option<&str>,
    typed: &str,
) -> Result<Vec<String>, Failure> {
    let kind = if kind == NameKind::Schema { "schema" } else { "table" };
    let sql = OwnSql::new(NAMES, &[schema.unwrap_or(""), typed, kind]);
    let (_, cells) = pipeline.catalog(call, database, &sql, MOST_COMPLETIONS).await?;
    Ok(cells.rows.into_iter().filter_map(|row| row.into_iter().next().flatten()).collect())
}

fn rows(limit: u32) -> usize {
    usize::try_from(limit).unwrap_or(usize::MAX)
}

/// The cells of a row, one after the other.
fn cells_of(row: Vec<Option<String>>) -> impl FnMut() -> Option<String> {
    let mut cells = row.into_iter();
    move || cells.next().flatten()
}

fn table_of(row: Vec<Option<String>>) -> Table {
    let mut next = cells_of(row);
    Table {
        schema: next().unwrap_or_default(),
        name: next().unwrap_or_default(),
        kind: next().unwrap_or_default(),
        estimated_rows: next().and_then(|number| number.parse().ok()),
        comment: next(),
        partitions: next().and_then(|number| number.parse().ok()).unwrap_or(0),
        columns: Vec::new(),
    }
}
