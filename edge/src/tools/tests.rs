//! The published schemas and the typed arguments say the same.

use jsonschema::Validator;
use nla_domain::role::Tool as ToolName;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{
    arguments::{ExplainQuery, GetSchema, ListDatabases, QueryDatabase},
    definitions::Definitions,
};

fn input_validator(name: ToolName) -> Validator {
    let tool = Definitions::new().list(|other| other == name).remove(0);
    jsonschema::validator_for(&Value::Object((*tool.input_schema).clone())).unwrap()
}

fn parses(name: ToolName, arguments: &Value) -> bool {
    let arguments = arguments.clone();
    match name {
        ToolName::ListDatabases => serde_json::from_value::<ListDatabases>(arguments).is_ok(),
        ToolName::GetSchema => serde_json::from_value::<GetSchema>(arguments).is_ok(),
        ToolName::QueryDatabase => serde_json::from_value::<QueryDatabase>(arguments).is_ok(),
        ToolName::ExplainQuery => serde_json::from_value::<ExplainQuery>(arguments).is_ok(),
    }
}

#[test]
fn every_tool_is_described_and_read_only() {
    let tools = Definitions::new().list(|_| true);
    assert_eq!(tools.iter().map(|tool| tool.name.as_ref()).collect::<Vec<_>>(), ToolName::ALL.map(ToolName::as_str));
    for tool in tools {
        let hints = tool.annotations.as_ref().unwrap();
        assert_eq!(
            (hints.read_only_hint, hints.destructive_hint, hints.idempotent_hint, hints.open_world_hint),
            (Some(true), Some(false), Some(true), Some(false)),
        );
        assert!(tool.title.is_some() && tool.description.is_some(), "{}", tool.name);
        assert_eq!(tool.input_schema["additionalProperties"], false);
        jsonschema::meta::validate(&Value::Object((*tool.input_schema).clone())).unwrap();
        jsonschema::meta::validate(&Value::Object((**tool.output_schema.as_ref().unwrap()).clone())).unwrap();
    }
}

#[test]
fn arguments_table() {
    let long = "x".repeat(201);
    let cases = [
        (ToolName::ListDatabases, json!({}), true),
        (ToolName::ListDatabases, json!({"a": 1}), false),
        (ToolName::GetSchema, json!({}), true),
        (ToolName::GetSchema, json!({"database": "shop", "schema": "public", "table": "orders"}), true),
        (ToolName::GetSchema, json!({"table": null}), true),
        (ToolName::GetSchema, json!({"table": ""}), false),
        (ToolName::GetSchema, json!({"table": long}), false),
        (ToolName::GetSchema, json!({"table": 1}), false),
        (ToolName::QueryDatabase, json!({"sql": "SELECT 1"}), true),
        (ToolName::QueryDatabase, json!({"sql": "SELECT 1", "max_rows": 10}), true),
        (ToolName::QueryDatabase, json!({"sql": "SELECT 1", "max_rows": 10.0}), true),
        (ToolName::QueryDatabase, json!({"sql": "SELECT 1", "max_rows": 10.5}), false),
        (ToolName::QueryDatabase, json!({"sql": "SELECT 1", "max_rows": 0}), false),
        (ToolName::QueryDatabase, json!({"sql": "SELECT 1", "max_rows": 1_000_001}), false),
        (ToolName::QueryDatabase, json!({"sql": "SELECT 1", "max_rows": "10"}), false),
        (ToolName::QueryDatabase, json!({"max_rows": 10}), false),
        (ToolName::QueryDatabase, json!({"sql": null}), false),
        (ToolName::QueryDatabase, json!({"sql": "SELECT 1", "Database": "shop"}), false),
        (ToolName::ExplainQuery, json!({"sql": "SELECT 1", "analyze": true}), true),
        (ToolName::ExplainQuery, json!({"sql": "SELECT 1", "analyze": "yes"}), false),
    ];
    for (name, arguments, valid) in cases {
        assert_eq!(input_validator(name).is_valid(&arguments), valid, "schema: {name} {arguments}");
        assert_eq!(parses(name, &arguments), valid, "types: {name} {arguments}");
    }
}

fn some_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-3_i64..2_000_000).prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,8}".prop_map(Value::from),
        Just(json!([])),
        Just(json!({})),
    ]
}

proptest! {
    #[test]
    fn schema_and_types_agree(
        tool in 0..4_usize,
        fields in proptest::collection::hash_map(
            prop_oneof!["sql", "database", "schema", "table", "max_rows", "analyze", "[a-z]{1,3}"], some_value(), 0..4),
    ) {
        let name = ToolName::ALL[tool];
        let arguments = Value::Object(fields.into_iter().collect());
        prop_assert_eq!(input_validator(name).is_valid(&arguments), parses(name, &arguments), "{} {}", name, arguments);
    }
}
