//! The schema as resources: `nla://<database>/schema` for a whole database,
//! `nla://<database>/<schema>/<table>` for one table. What they show is what
//! `get_schema` shows, under the same right.

use std::sync::Arc;

use nla_domain::{database::Database, error::ErrorKind};
use rmcp::model::{Resource, ResourceContents, ResourceTemplate};

use super::{
    failure,
    schema::{self, Wanted},
};
use crate::{
    mcp::{
        call::ResourceRead,
        error::RpcError,
        outcome::{Outcome, ReadOutcome, ReadResult},
    },
    pipeline::{Admitted, Call, Failure, Pipeline},
};

const SCHEME: &str = "nla://";
/// The template of one table.
pub(super) const TABLE_TEMPLATE: &str = "nla://{database}/{schema}/{table}";
/// The template of a database.
pub(super) const DATABASE_TEMPLATE: &str = "nla://{database}/schema";
const TEXT: &str = "text/plain";

pub(super) fn list(databases: &[Arc<Database>]) -> Vec<Resource> {
    let resource = |database: &Arc<Database>| {
        Resource::new(format!("{SCHEME}{}/schema", database.name), format!("{}-schema", database.name))
            .with_title(format!("Schema of {}", database.name))
            .with_description(if database.description.is_empty() {
                "Tables, columns, keys and comments.".to_owned()
            } else {
                database.description.clone()
            })
            .with_mime_type(TEXT)
    };
    databases.iter().map(resource).collect()
}

pub(super) fn templates() -> Vec<ResourceTemplate> {
    vec![
        ResourceTemplate::new(DATABASE_TEMPLATE, "database-schema")
            .with_title("Schema of a database")
            .with_description("The tables of a database that may be read.")
            .with_mime_type(TEXT),
        ResourceTemplate::new(TABLE_TEMPLATE, "table-schema")
            .with_title("Schema of a table")
            .with_description("Columns, keys and comments of one table or view.")
            .with_mime_type(TEXT),
    ]
}

/// What a URI names, decoded.
fn parse(uri: &str) -> Option<(String, Option<(String, String)>)> {
    let mut parts = uri.strip_prefix(SCHEME)?.split('/').map(percent_decoded);
    let database = parts.next()??;
    let second = parts.next()??;
    let third = match parts.next() {
        None if second == "schema" => return Some((database, None)),
        third => third??,
    };
    let complete = parts.next().is_none() && [&database, &second, &third].iter().all(|part| !part.is_empty());
    complete.then_some((database, Some((second, third))))
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let [high, low, tail @ ..] = tail else { return None };
        let digit = |byte: u8| char::from(byte).to_digit(16);
        bytes.push(u8::try_from(digit(*high)? * 16 + digit(*low)?).ok()?);
        rest = tail;
    }
    String::from_utf8(bytes).ok()
}

pub(super) async fn read(pipeline: &Pipeline, admitted: &Admitted, read: &ResourceRead) -> ReadOutcome {
    let Some((database, table)) = parse(&read.uri) else {
        failure::record_unknown(pipeline, admitted, "resources/read", &read.context).await;
        return Outcome::Failed(RpcError::unknown_resource(&read.uri));
    };
    let wanted = Wanted {
        database: Some(&database),
        schema: table.as_ref().map(|(schema, _)| schema.as_str()),
        table: table.as_ref().map(|(_, table)| table.as_str()),
    };
    let work = async |call: &mut Call<'_>| -> Result<String, Failure> {
        Ok(schema::describe(pipeline, call, wanted).await?.text)
    };
    match pipeline.call(admitted, "resources/read", &read.context, work).await.into_inner() {
        Ok(text) => Outcome::Done(ReadResult::private(vec![ResourceContents::text(text, read.uri.clone())])),
        Err(failure) if matches!(failure.kind, ErrorKind::NotFound | ErrorKind::UnknownDatabase) => {
            Outcome::Failed(RpcError::unknown_resource(&read.uri))
        }
        Err(failure) => Outcome::Failed(failure::rpc_error(&failure)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uris() {
        let table = |schema: &str, table: &str| Some((schema.to_owned(), table.to_owned()));
        let cases = [
            ("nla://shop/schema", Some(("shop".to_owned(), None))),
            ("nla://shop/public/orders", Some(("shop".to_owned(), table("public", "orders")))),
            ("nla://shop/my%20schema/a%2Fb", Some(("shop".to_owned(), table("my schema", "a/b")))),
            ("nla://shop", None),
            ("nla://shop/public", None),
            ("nla://shop/public/orders/x", None),
            ("nla://shop//x", None),
            ("nla://shop/a/%zz", None),
            ("nla://shop/a/%ff", None),
            ("file:///etc/passwd", None),
        ];
        for (uri, expected) in cases {
            assert_eq!(parse(uri), expected, "{uri}");
        }
    }
}
