//! The rule of 2026-07-28 that headers repeat what the body says, so that load balancers can route.
//!
//! Called by `prepare` for each modern message. Invariant: a message whose headers and body disagree,
//! in either direction, is never executed; a gateway that decided on the header was not deceived.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName};
use rmcp::model::{JsonObject, Tool};
use serde_json::Value;

use super::error::RpcError;

pub(super) const PROTOCOL_VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
pub(super) const METHOD: HeaderName = HeaderName::from_static("mcp-method");
pub(super) const NAME: HeaderName = HeaderName::from_static("mcp-name");

/// Nested objects that are searched for annotations; real schemas are flat.
const DEEPEST_PROPERTY: usize = 8;

/// The one value of a header, without surrounding blanks.
///
/// # Errors
/// When it is repeated or has bytes outside visible ASCII.
pub(super) fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, RpcError> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(RpcError::header_mismatch(format!("header {name} is repeated")));
    }
    match value.to_str() {
        Ok(text) => Ok(Some(text.trim_matches([' ', '\t']))),
        Err(_) => Err(RpcError::header_mismatch(format!(
            "header {name} has characters outside visible ASCII; encode it as =?base64?...?="
        ))),
    }
}

/// Checks `Mcp-Method`, which a notification may leave out.
pub(super) fn check_method(headers: &HeaderMap, method: &str, required: bool) -> Result<(), RpcError> {
    match single(headers, &METHOD)? {
        Some(value) if value == method => Ok(()),
        None if !required => Ok(()),
        None => Err(missing(&METHOD)),
        Some(_) => Err(differs(&METHOD)),
    }
}

/// Checks `Mcp-Name` against the name or URI of the body.
pub(super) fn check_name(headers: &HeaderMap, name: &str) -> Result<(), RpcError> {
    match single(headers, &NAME)? {
        None => Err(missing(&NAME)),
        Some(value) if decode(&NAME, value)? == name => Ok(()),
        Some(_) => Err(differs(&NAME)),
    }
}

fn missing(name: &HeaderName) -> RpcError {
    RpcError::header_mismatch(format!("header {name} is missing"))
}

fn differs(name: &HeaderName) -> RpcError {
    RpcError::header_mismatch(format!("header {name} differs from the body"))
}

/// Values that are not plain ASCII travel as `=?base64?...?=`; all others are literal.
fn decode<'a>(name: &HeaderName, value: &'a str) -> Result<Cow<'a, str>, RpcError> {
    let encoded = value.strip_prefix("=?base64?").and_then(|rest| rest.strip_suffix("?="));
    let Some(encoded) = encoded else {
        return Ok(Cow::Borrowed(value));
    };
    STANDARD
        .decode(encoded)
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .map(Cow::Owned)
        .ok_or_else(|| RpcError::header_mismatch(format!("header {name} is not base64 of UTF-8 text")))
}

/// A property of a tool's input that clients repeat in an `Mcp-Param-*` header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParamHeader {
    header: HeaderName,
    path: Vec<String>,
}

/// An `x-mcp-header` annotation for which clients would drop the tool.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("x-mcp-header at {path}: {reason}")]
pub struct AnnotationError {
    path: String,
    reason: &'static str,
}

impl ParamHeader {
    /// All annotations of a tool's input schema.
    ///
    /// # Errors
    /// When one is not a header token, is used twice, or stands at something other than a string,
    /// integer or boolean that is reached by `properties` alone.
    pub fn of_tool(tool: &Tool) -> Result<Vec<Self>, AnnotationError> {
        let mut found = Vec::new();
        collect(&tool.input_schema, &mut Vec::new(), &mut found)?;
        Ok(found)
    }

    pub(super) fn check(&self, headers: &HeaderMap, arguments: &JsonObject) -> Result<(), RpcError> {
        let header = single(headers, &self.header)?;
        match (header, lookup(arguments, &self.path)) {
            (None, None) => Ok(()),
            (None, Some(_)) => Err(missing(&self.header)),
            (Some(_), None) => Err(differs(&self.header)),
            (Some(text), Some(value)) => {
                let text = decode(&self.header, text)?;
                let same = match value {
                    Value::String(string) => *string == text,
                    Value::Bool(boolean) => text == if *boolean { "true" } else { "false" },
                    // 42.0 and 42 are the same integer.
                    Value::Number(number) => {
                        number.to_string() == text
                            || text.parse::<f64>().ok().is_some_and(|n| n.is_finite() && number.as_f64() == Some(n))
                    }
                    _ => false,
                };
                if same { Ok(()) } else { Err(differs(&self.header)) }
            }
        }
    }
}

fn lookup<'a>(arguments: &'a JsonObject, path: &[String]) -> Option<&'a Value> {
    let (last, parents) = path.split_last()?;
    let mut object = arguments;
    for parent in parents {
        object = object.get(parent)?.as_object()?;
    }
    object.get(last).filter(|value| !value.is_null())
}

fn collect(schema: &JsonObject, path: &mut Vec<String>, found: &mut Vec<ParamHeader>) -> Result<(), AnnotationError> {
    let refuse = |path: &[String], reason| Err(AnnotationError { path: path.join("."), reason });
    if path.len() > DEEPEST_PROPERTY {
        return Ok(());
    }
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else {
        return Ok(());
    };
    for (name, property) in properties {
        let Some(property) = property.as_object() else {
            continue;
        };
        path.push(name.clone());
        if let Some(annotation) = property.get("x-mcp-header") {
            let Some(token) = annotation.as_str().filter(|token| !token.is_empty()) else {
                return refuse(path, "must be a non-empty string");
            };
            let Ok(header) = HeaderName::try_from(format!("mcp-param-{token}")) else {
                return refuse(path, "must be a header token");
            };
            let kind = property.get("type").and_then(Value::as_str);
            if !matches!(kind, Some("string" | "integer" | "boolean")) {
                return refuse(path, "must stand at a string, integer or boolean");
            }
            if found.iter().any(|other| other.header == header) {
                return refuse(path, "must be unique, whatever its case");
            }
            found.push(ParamHeader { header, path: path.clone() });
        }
        collect(property, path, found)?;
        path.pop();
    }
    Ok(())
}
