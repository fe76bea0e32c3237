//! The facts as `facts.sql` returns them: arrays in the order of its comments.
//! Read once by `catalog`, which keeps what the walk looks up.

use std::collections::HashMap;

use serde::Deserialize;

use super::CatalogError;

/// PostgreSQL's number of an object.
pub(super) type Oid = u32;

#[derive(Deserialize)]
pub(super) struct Facts {
    pub(super) server_version_num: u32,
    /// Schemas that are searched, without those that do not exist.
    pub(super) path: Vec<String>,
    #[serde(default, deserialize_with = "or_empty")]
    pub(super) catalog_relations: Vec<String>,
    #[serde(default, deserialize_with = "or_empty")]
    pub(super) builtin_functions: HashMap<Oid, String>,
    #[serde(default, deserialize_with = "or_empty")]
    pub(super) builtin_relations: HashMap<Oid, (String, String)>,
    #[serde(default, deserialize_with = "or_empty")]
    pub(super) relations: Vec<Relation>,
    #[serde(default, deserialize_with = "or_empty")]
    pub(super) functions: Vec<Function>,
    #[serde(default, deserialize_with = "or_empty")]
    pub(super) operators: Vec<Operator>,
    #[serde(default, deserialize_with = "or_empty")]
    pub(super) types: Vec<Type>,
    /// PostgreSQL's own row types that a function takes.
    #[serde(default, deserialize_with = "or_empty")]
    pub(super) builtin_rows: Vec<Oid>,
    #[serde(default, deserialize_with = "or_empty")]
    pub(super) casts: Vec<Cast>,
}

impl Facts {
    pub(super) fn read(json: &[u8]) -> Result<Self, CatalogError> {
        serde_json::from_slice(json).map_err(|error| CatalogError(error.to_string()))
    }
}

#[derive(Deserialize)]
pub(super) struct Relation {
    pub(super) oid: Oid,
    pub(super) schema: String,
    pub(super) name: String,
    #[expect(dead_code, reason = "stands in the array; every kind is judged alike")]
    kind: String,
    pub(super) row_type: Oid,
    pub(super) of_extension: bool,
    #[serde(deserialize_with = "or_empty")]
    pub(super) code_functions: Vec<Oid>,
    #[serde(deserialize_with = "or_empty")]
    pub(super) code_relations: Vec<Oid>,
    #[serde(deserialize_with = "or_empty")]
    pub(super) code_types: Vec<Oid>,
    #[serde(deserialize_with = "or_empty")]
    pub(super) column_types: Vec<Oid>,
    /// Columns that have the name of a function.
    #[serde(deserialize_with = "or_empty")]
    pub(super) namesakes: Vec<String>,
    #[serde(deserialize_with = "or_empty")]
    pub(super) parents: Vec<Oid>,
    /// A foreign table that is the output of a program on the server.
    pub(super) program: bool,
    /// What finds the partition of a value.
    #[serde(deserialize_with = "or_empty")]
    pub(super) partition_functions: Vec<Oid>,
}

#[derive(Deserialize)]
pub(super) struct Function {
    pub(super) oid: Oid,
    pub(super) schema: String,
    pub(super) name: String,
    #[expect(dead_code, reason = "stands in the array; an aggregate is judged by what it runs")]
    kind: char,
    /// `pg_proc.provolatile`.
    pub(super) volatility: char,
    pub(super) definer: bool,
    pub(super) of_extension: bool,
    pub(super) language: String,
    pub(super) arguments: u16,
    pub(super) defaults: u16,
    pub(super) variadic: bool,
    pub(super) result: Oid,
    #[serde(deserialize_with = "or_empty")]
    pub(super) argument_types: Vec<Oid>,
    #[serde(deserialize_with = "or_empty")]
    pub(super) default_functions: Vec<Oid>,
    #[serde(deserialize_with = "or_empty")]
    pub(super) default_types: Vec<Oid>,
    #[serde(deserialize_with = "or_empty")]
    pub(super) support_functions: Vec<Oid>,
    /// Of an aggregate's state; else none.
    pub(super) state: Option<Oid>,
    /// Only its schema's name leads to it: PostgreSQL has one for the same arguments.
    pub(super) hidden: bool,
    /// PostgreSQL has one for a text: a plain literal goes there.
    pub(super) beside_text: bool,
}

#[derive(Deserialize)]
pub(super) struct Operator {
    pub(super) schema: String,
    pub(super) name: String,
    pub(super) left: Oid,
    pub(super) right: Oid,
    pub(super) result: Oid,
    pub(super) function: Oid,
    /// As with functions.
    pub(super) hidden: bool,
}

#[derive(Deserialize)]
pub(super) struct Type {
    pub(super) oid: Oid,
    pub(super) schema: String,
    pub(super) name: String,
    /// `pg_type.typtype`.
    pub(super) kind: char,
    /// Of an array; else 0.
    pub(super) element: Oid,
    /// Of a domain; else 0.
    pub(super) base: Oid,
    #[serde(deserialize_with = "or_empty")]
    pub(super) check_functions: Vec<Oid>,
    #[serde(deserialize_with = "or_empty")]
    pub(super) check_types: Vec<Oid>,
    /// Of a composite's fields or a range's bounds.
    #[serde(deserialize_with = "or_empty")]
    pub(super) part_types: Vec<Oid>,
}

#[derive(Deserialize)]
pub(super) struct Cast {
    pub(super) source: Oid,
    pub(super) target: Oid,
    /// 0 for a cast through text.
    pub(super) function: Oid,
}

/// SQL's json_agg over nothing is null.
fn or_empty<'de, D: serde::Deserializer<'de>, T: Deserialize<'de> + Default>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}
