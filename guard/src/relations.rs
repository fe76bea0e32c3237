//! Which of PostgreSQL's own relations describe the schema (allowed) and which
//! show other sessions, secrets, values or configuration (refused). Called by
//! `walk` for each relation that is not a CTE.
//! Invariant: a `pg_` relation that is not named here is refused in any schema,
//! since extensions put theirs (pg_stat_statements) into ordinary ones.

/// What may be done with a relation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Allowed,
    /// Allowed but for these columns.
    Without(&'static [&'static str]),
    Sensitive,
    Temporary,
}

/// Relations with a column that may hold source, a password or an address.
const PARTLY: &[(&str, &[&str])] = &[
    ("pg_foreign_data_wrapper", &["fdwoptions"]),
    ("pg_foreign_server", &["srvoptions"]),
    ("pg_foreign_table", &["ftoptions"]),
    ("pg_proc", &["prosrc", "probin", "prosqlbody"]),
    ("pg_roles", &["rolconfig", "rolpassword"]),
    ("pg_user", &["useconfig", "passwd"]),
];

const DESCRIBES: &[&str] = &[
    "pg_aggregate",
    "pg_am",
    "pg_amop",
    "pg_amproc",
    "pg_attrdef",
    "pg_attribute",
    "pg_auth_members",
    "pg_available_extension_versions",
    "pg_available_extensions",
    "pg_cast",
    "pg_class",
    "pg_collation",
    "pg_constraint",
    "pg_conversion",
    "pg_database",
    "pg_default_acl",
    "pg_depend",
    "pg_description",
    "pg_enum",
    "pg_event_trigger",
    "pg_extension",
    "pg_group",
    "pg_index",
    "pg_indexes",
    "pg_inherits",
    "pg_init_privs",
    "pg_language",
    "pg_matviews",
    "pg_namespace",
    "pg_opclass",
    "pg_operator",
    "pg_opfamily",
    "pg_partitioned_table",
    "pg_policies",
    "pg_policy",
    "pg_publication",
    "pg_publication_namespace",
    "pg_publication_rel",
    "pg_publication_tables",
    "pg_range",
    "pg_rewrite",
    "pg_rules",
    "pg_sequence",
    "pg_sequences",
    "pg_shdepend",
    "pg_shdescription",
    "pg_stat_all_indexes",
    "pg_stat_all_tables",
    "pg_stat_sys_indexes",
    "pg_stat_sys_tables",
    "pg_stat_user_functions",
    "pg_stat_user_indexes",
    "pg_stat_user_tables",
    "pg_statio_all_indexes",
    "pg_statio_all_sequences",
    "pg_statio_all_tables",
    "pg_statio_user_indexes",
    "pg_statio_user_sequences",
    "pg_statio_user_tables",
    "pg_statistic_ext",
    "pg_tables",
    "pg_tablespace",
    "pg_timezone_abbrevs",
    "pg_timezone_names",
    "pg_transform",
    "pg_trigger",
    "pg_ts_config",
    "pg_ts_config_map",
    "pg_ts_dict",
    "pg_ts_parser",
    "pg_ts_template",
    "pg_type",
    "pg_views",
];

/// Views of information_schema that show options, where passwords stand.
const INFORMATION_SCHEMA_REFUSED: &[&str] = &[
    "foreign_data_wrapper_options",
    "foreign_server_options",
    "foreign_table_options",
    "user_mapping_options",
    "user_mappings",
];

pub(crate) fn verdict(schema: Option<&str>, name: &str) -> Verdict {
    match schema {
        Some(schema) if schema.starts_with("pg_temp") || schema.starts_with("pg_toast_temp") => Verdict::Temporary,
        Some("information_schema") => {
            if name.starts_with("_pg_") || INFORMATION_SCHEMA_REFUSED.contains(&name) {
                Verdict::Sensitive
            } else if name == "routines" {
                Verdict::Without(&["routine_definition"])
            } else {
                Verdict::Allowed
            }
        }
        None | Some("pg_catalog") => catalog(name, schema.is_some()),
        // PostgreSQL reserves the prefix for its own schemas (pg_toast ...).
        Some(schema) if schema.starts_with("pg_") => Verdict::Sensitive,
        Some(_) => catalog(name, false),
    }
}

fn catalog(name: &str, certainly: bool) -> Verdict {
    if let Some((_, columns)) = PARTLY.iter().find(|(relation, _)| *relation == name) {
        return Verdict::Without(columns);
    }
    if DESCRIBES.binary_search(&name).is_ok() {
        return Verdict::Allowed;
    }
    if certainly || name.starts_with("pg_") { Verdict::Sensitive } else { Verdict::Allowed }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_sorted() {
        assert!(DESCRIBES.is_sorted());
    }

    #[test]
    fn judges_by_schema_and_name() {
        let cases: &[(Option<&str>, &str, Verdict)] = &[
            (None, "orders", Verdict::Allowed),
            (Some("public"), "orders", Verdict::Allowed),
            (None, "pg_class", Verdict::Allowed),
            (None, "pg_authid", Verdict::Sensitive),
            (Some("pg_catalog"), "pg_stat_activity", Verdict::Sensitive),
            (Some("public"), "pg_stat_statements", Verdict::Sensitive),
            (Some("pg_catalog"), "anything_new", Verdict::Sensitive),
            (Some("pg_toast"), "pg_toast_1", Verdict::Sensitive),
            (Some("pg_temp"), "t", Verdict::Temporary),
            (Some("pg_temp_3"), "t", Verdict::Temporary),
            (Some("information_schema"), "tables", Verdict::Allowed),
            (Some("information_schema"), "user_mapping_options", Verdict::Sensitive),
            (Some("information_schema"), "_pg_user_mappings", Verdict::Sensitive),
        ];
        for (schema, name, expected) in cases {
            assert_eq!(verdict(*schema, name), *expected, "{schema:?} {name}");
        }
    }
}
