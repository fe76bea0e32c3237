//! Relations: collected, and refused where they show what is not for everybody.
//!
//! A few catalogs are allowed but for some columns. Without the catalog a column
//! cannot be traced through `*`, whole rows and renaming aliases, so beside such
//! a relation those are refused as well.

use std::collections::{BTreeMap, BTreeSet};

use pg_query::protobuf::{Alias, RangeVar};

use super::own::{self, Thing};
use super::{Verdict, Walk};
use crate::catalog::Found;
use crate::checked::RelationName;
use crate::functions;
use crate::refusal::{Position, Refusal, Rule};
use crate::relations::{self, Verdict as Judged};

/// What the walk saw that matters beside a partly allowed relation.
#[derive(Debug, Default)]
pub(super) struct Partly {
    /// The partly allowed relations in the statement and their hidden columns.
    relations: Vec<(String, &'static [&'static str])>,
    /// Names that stand for whole rows of such a relation or of a join.
    rows: BTreeSet<String>,
    renames: bool,
    star: Option<Option<Position>>,
    /// Every column name and attribute, with its first place.
    columns: BTreeMap<String, Option<Position>>,
    /// Those that end a reference: columns, whole rows, or functions of a row.
    last: BTreeMap<String, Option<Position>>,
    /// A function that a qualified reference ends with, as in `p.to_jsonb`.
    function: Option<(String, Option<Position>)>,
}

impl Partly {
    pub(super) fn column(&mut self, name: &str, position: Option<Position>) {
        self.columns.entry(name.to_owned()).or_insert(position);
    }

    /// The end of a reference; a qualified one may call a function of the row.
    pub(super) fn last(&mut self, name: &str, qualified: bool, position: Option<Position>) {
        self.last.entry(name.to_owned()).or_insert(position);
        // These two are casts that no row can take, and columns of the catalogs.
        let column = matches!(name, "oid" | "name");
        if qualified && !column && self.function.is_none() && functions::is_builtin(name) {
            self.function = Some((name.to_owned(), position));
        }
    }

    pub(super) fn star(&mut self, position: Option<Position>) {
        self.star.get_or_insert(position);
    }

    pub(super) fn join_alias(&mut self, alias: &Alias) {
        self.rows.insert(alias.aliasname.clone());
        self.renames |= !alias.colnames.is_empty();
    }

    fn relation(&mut self, name: &str, alias: Option<&Alias>, hidden: &'static [&'static str]) {
        self.relations.push((name.to_owned(), hidden));
        self.rows.insert(alias.map_or(name, |alias| &alias.aliasname).to_owned());
        self.renames |= alias.is_some_and(|alias| !alias.colnames.is_empty());
    }
}

impl<'a> Walk<'a> {
    /// A relation in FROM, which a WITH query of that name hides.
    pub(super) fn relation(&mut self, relation: &RangeVar) -> Verdict {
        if let Some(alias) = &relation.alias {
            self.alias(alias)?;
        }
        let plain = relation.catalogname.is_empty() && relation.schemaname.is_empty();
        if plain && self.ctes.iter().any(|cte| cte.name == relation.relname) {
            return Ok(());
        }
        self.table(relation)
    }

    /// A relation where WITH queries are not looked at: the target of a
    /// modification.
    pub(super) fn table(&mut self, relation: &RangeVar) -> Verdict {
        let RangeVar { catalogname, schemaname, relname, inh: _, relpersistence: _, alias, location } = relation;
        let position = self.position(*location);
        if !catalogname.is_empty() {
            return Err(Refusal::new(
                Rule::RelationDatabase,
                format!("{catalogname}.{schemaname}.{relname} names a database"),
                format!("Write {schemaname}.{relname}; a statement reaches one database only."),
            )
            .at(position));
        }
        let mut name = RelationName {
            schema: Some(schemaname).filter(|schema| !schema.is_empty()).cloned(),
            name: relname.clone(),
        };
        let alias_name = alias.as_ref().map_or(relname.as_str(), |alias| &alias.aliasname);
        if let Some(verdict) = self.own_relation(&mut name, alias_name, position) {
            verdict?;
            self.relations.insert(name);
            return Ok(());
        }
        let granted = self.rules.relations.iter().any(|granted| {
            granted.split_once('.').is_some_and(|(schema, relation)| {
                relation == relname && name.schema.as_deref().is_none_or(|wanted| wanted == schema)
            })
        });
        match relations::verdict(name.schema.as_deref(), relname) {
            Judged::Allowed => {}
            _ if granted => {}
            Judged::Without(hidden) => self.partly.relation(relname, alias.as_ref(), hidden),
            Judged::Sensitive => {
                return Err(Refusal::new(
                    Rule::RelationSensitive,
                    format!("{name} may not be read: it can show other sessions, secrets, values or configuration"),
                    "For the schema use information_schema or pg_class, pg_attribute, pg_constraint, pg_index; for table statistics pg_stat_user_tables; for a setting SHOW.",
                )
                .at(position));
            }
            Judged::Temporary => {
                return Err(Refusal::new(
                    Rule::RelationTemporary,
                    format!("{name} is in a schema of temporary tables"),
                    "Temporary tables cannot be used here; put the inner query into a WITH clause.",
                )
                .at(position));
            }
        }
        self.relations.insert(name);
        Ok(())
    }

    /// Finds the relation as PostgreSQL does and judges what reading it runs.
    /// `None` leaves it to the lists: it is PostgreSQL's own, or there is no
    /// catalog. Whatever is found gets its schema's name.
    fn own_relation(&mut self, name: &mut RelationName, alias: &str, position: Option<Position>) -> Option<Verdict> {
        let catalog = self.rules.catalog.as_deref()?;
        let schema = name.schema.as_deref();
        let temporary = schema.is_some_and(|schema| schema.starts_with("pg_"));
        if temporary || schema == Some("information_schema") {
            return None;
        }
        let refuse = |rule, message: String, hint: &str| Some(Err(Refusal::new(rule, message, hint).at(position)));
        match catalog.relation(schema, &name.name) {
            Found::Catalog => {
                name.schema = Some("pg_catalog".to_owned());
                None
            }
            Found::Own(schema, facts) => {
                name.schema = Some(schema.to_string());
                if self.rules.relations.contains(&name.to_string()) {
                    return Some(Ok(()));
                }
                // What extensions put beside the tables shows the server.
                if facts.of_extension && name.name.starts_with("pg_") {
                    return None;
                }
                self.made.relation(alias, &facts.made);
                match self.first(&facts.offences) {
                    None => Some(Ok(())),
                    Some(offence) => {
                        let full = name.to_string();
                        let thing = Thing { kind: "relation", name: &full, runs: "uses", rule: Rule::RelationCode };
                        Some(Err(own::refusal(&thing, offence).at(position)))
                    }
                }
            }
            Found::Nothing => {
                // A name of PostgreSQL's is better refused for what it is.
                if relations::verdict(schema, &name.name) == Judged::Sensitive {
                    return None;
                }
                self.unknown.get_or_insert_with(|| {
                    let hint = match catalog.namesake(&name.name) {
                        Some(other) => format!("There is {other}: write the schema before the table."),
                        None => "Check the spelling and the schema: get_schema lists the tables. Names without quotes \
                                 are folded to lower case."
                            .to_owned(),
                    };
                    Refusal::new(
                        Rule::RelationUnknown,
                        format!("there is no relation {name} that may be used here"),
                        hint,
                    )
                    .at(position)
                });
                Some(Ok(()))
            }
            Found::Incomplete if schema.is_some() => Some(Ok(())),
            Found::Incomplete => refuse(
                Rule::RelationUnknown,
                format!("{name} cannot be looked up: this database holds more relations than can be kept in view"),
                "Write the table with its schema, as schema.table.",
            ),
        }
    }

    /// Judges the columns once all of them are known.
    pub(super) fn partly_allowed(&self) -> Verdict {
        let seen = &self.partly;
        let Some((relation, hidden)) = seen.relations.first() else {
            return Ok(());
        };
        let refuse = |what: String, position: Option<Position>| {
            Err(Refusal::new(
                Rule::RelationSensitive,
                format!(
                    "{what}, because {relation} has columns that may hold source or secrets ({})",
                    hidden.join(", ")
                ),
                "Select the columns that you need by name, as alias.column.",
            )
            .at(position))
        };
        for (relation, hidden) in &seen.relations {
            if let Some(column) = hidden.iter().find(|column| seen.columns.contains_key(**column)) {
                return refuse(format!("the column {column} of {relation} may not be read"), seen.columns[*column]);
            }
        }
        if let Some(position) = seen.star {
            return refuse("* may not be used here".into(), position);
        }
        if seen.renames {
            return refuse("columns may not be renamed in FROM here".into(), None);
        }
        if let Some(row) = seen.rows.iter().find(|row| seen.last.contains_key(*row)) {
            return refuse(format!("the whole row {row} may not be used here"), seen.last[row]);
        }
        if let Some((name, position)) = &seen.function {
            return refuse(format!(".{name} may not be used here, where it can be a function of the row"), *position);
        }
        Ok(())
    }
}
