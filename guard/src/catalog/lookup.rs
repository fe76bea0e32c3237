//! Finds what a name stands for, in the order in which PostgreSQL searches:
//! `pg_catalog`, then the role's own path; temporary schemas never. `walk` asks.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use super::{
    Catalog, MOST_FUNCTIONS, MOST_RELATIONS, Offence, TypeName,
    facts::{self, Facts, Oid},
    judge::Judged,
};

/// A relation of the database's own.
#[derive(Debug)]
pub(crate) struct RelationFacts {
    /// Its row type and those of its parents, which functions may take.
    rows: Box<[Oid]>,
    pub(crate) of_extension: bool,
    /// What reading it runs.
    pub(crate) offences: Box<[Offence]>,
    /// What making a row of its type runs.
    pub(crate) made: Box<[Offence]>,
    /// Columns that hide a function of the same name.
    namesakes: Box<[String]>,
}

/// One function of the database's own.
#[derive(Debug)]
pub(crate) struct FunctionFacts {
    pub(crate) schema: Arc<str>,
    /// Arguments that it takes at least and at most.
    arguments: (usize, usize),
    row: Option<Row>,
    hidden: bool,
    beside_text: bool,
    /// Several arguments, or what they are made of, have to be of one type.
    pub(crate) unifies: bool,
    /// What calling it runs.
    pub(crate) offences: Box<[Offence]>,
    /// What making a value of its result's type runs.
    pub(crate) made: Box<[Offence]>,
}

impl FunctionFacts {
    /// Whether its first argument is a row of a type of the database's own.
    pub(crate) fn wants_row(&self) -> bool {
        matches!(self.row, Some(Row::Of(_)))
    }

    /// Whether a literal of no type yet cannot be meant for it.
    pub(crate) fn leaves_literals(&self) -> bool {
        self.beside_text && self.wants_row()
    }

    pub(crate) fn takes(&self, arguments: usize) -> bool {
        (self.arguments.0..=self.arguments.1).contains(&arguments)
    }
}

/// The row that a function takes as its one argument, or that an attribute is
/// looked for in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Row {
    /// Any row may fit: PostgreSQL lets a row without a name pass for any type.
    Any,
    /// A row of one of these types.
    Of(Box<[Oid]>),
}

/// One operator of the database's own.
#[derive(Debug)]
pub(super) struct OperatorFacts {
    schema: Arc<str>,
    hidden: bool,
    offences: Vec<Offence>,
}

/// Where a relation's name leads.
#[derive(Debug)]
pub(crate) enum Found<'a> {
    /// PostgreSQL's own.
    Catalog,
    /// The database's own, in that schema.
    Own(&'a Arc<str>, &'a RelationFacts),
    /// Nothing of that name.
    Nothing,
    /// There are more relations than the catalog holds.
    Incomplete,
}

impl Catalog {
    pub(crate) fn relation(&self, schema: Option<&str>, name: &str) -> Found<'_> {
        let own = |schema: &str| {
            let (schema, relations) = self.relations.get_key_value(schema)?;
            relations.get(name).map(|facts| Found::Own(schema, facts))
        };
        match schema {
            Some("pg_catalog") => Found::Catalog,
            Some(schema) => own(schema).unwrap_or(if self.complete { Found::Nothing } else { Found::Incomplete }),
            None if self.catalog_relations.contains(name) => Found::Catalog,
            None if !self.complete => Found::Incomplete,
            None => self.path.iter().find_map(|schema| own(schema)).unwrap_or(Found::Nothing),
        }
    }

    /// A relation of that name in a schema that was not meant, for a hint.
    pub(crate) fn namesake(&self, name: &str) -> Option<String> {
        let mut schemas: Vec<&Arc<str>> = self
            .relations
            .iter()
            .filter(|(_, relations)| relations.contains_key(name))
            .map(|(schema, _)| schema)
            .collect();
        schemas.sort_unstable();
        schemas.first().map(|schema| format!("{schema}.{name}"))
    }

    /// The functions that a name may stand for beside PostgreSQL's own.
    pub(crate) fn functions<'a, 's>(
        &'a self,
        schema: Option<&'s str>,
        name: &str,
        named_arguments: bool,
    ) -> impl Iterator<Item = &'a FunctionFacts> + use<'a, 's> {
        let all = self.functions.get(name).map_or(&[][..], Vec::as_slice);
        all.iter().filter(move |function| self.sees(schema, &function.schema, function.hidden && !named_arguments))
    }

    /// Whether there is such a function at all.
    pub(crate) fn has_row_offences(&self) -> bool {
        !self.row_offences.is_empty()
    }

    /// Whether attribute notation of that name may run something: the question
    /// that nearly every database answers with no.
    pub(crate) fn has_row_offence(&self, name: &str) -> bool {
        self.row_offences.contains(name)
    }

    /// The functions that `row.name` may call.
    pub(crate) fn attributes<'a>(&'a self, name: &str, row: &'a Row) -> impl Iterator<Item = &'a FunctionFacts> {
        self.functions(None, name, false).filter(move |function| {
            function.takes(1)
                && match (&function.row, row) {
                    (None, _) => false,
                    (Some(Row::Of(takes)), Row::Of(rows)) => takes.iter().any(|oid| rows.contains(oid)),
                    _ => true,
                }
        })
    }

    pub(crate) fn operators<'a>(
        &'a self,
        schema: Option<&'a str>,
        name: &str,
    ) -> impl Iterator<Item = &'a [Offence]> + use<'a> {
        let all = self.operators.get(name).map_or(&[][..], Vec::as_slice);
        all.iter()
            .filter(move |operator| self.sees(schema, &operator.schema, operator.hidden))
            .map(|operator| operator.offences.as_slice())
    }

    /// What naming a type may run; `None` where it is not known to run anything.
    pub(crate) fn type_offences<'a>(&'a self, schema: Option<&'a str>, name: &str) -> Option<&'a [Offence]> {
        let own = |schema: &str| {
            let types = self.types.get(schema)?;
            types.get(name).or_else(|| types.get(array_of(self.arrays.get(schema)?, name)?)).map(Vec::as_slice)
        };
        match schema {
            Some(schema) => own(schema),
            None => self.path.iter().find_map(|schema| own(schema)),
        }
    }

    /// Whether the database has a type of that name that is its own.
    pub(crate) fn has_type(&self, schema: Option<&str>, name: &str) -> bool {
        let own = |schema: &str| {
            self.types.get(schema).is_some_and(|types| types.contains_key(name))
                || self.relations.get(schema).is_some_and(|relations| relations.contains_key(name))
        };
        match schema {
            Some(schema) => own(schema),
            None => self.path.iter().any(|schema| own(schema)),
        }
    }

    pub(crate) fn everywhere(&self) -> &[Offence] {
        &self.everywhere
    }

    fn sees(&self, wanted: Option<&str>, own: &Arc<str>, hidden: bool) -> bool {
        match wanted {
            Some(wanted) => wanted == &**own,
            None => !hidden && (&**own == "pg_catalog" || self.path.contains(own)),
        }
    }
}

impl RelationFacts {
    /// The row of one of its rows, for attribute notation; `None` where the
    /// name is a column's.
    pub(crate) fn row(&self, attribute: &str) -> Option<Row> {
        (!self.namesakes.iter().any(|column| column == attribute)).then(|| Row::Of(self.rows.clone()))
    }
}

/// The row type for whose array PostgreSQL may have made up this name: it puts
/// underscores before the name and cuts it.
fn array_of<'a>(types: &'a [String], name: &str) -> Option<&'a str> {
    const CERTAINLY_KEPT: usize = 50;
    let element = name.strip_prefix('_')?.trim_start_matches('_');
    let kept = &element[..element.floor_char_boundary(CERTAINLY_KEPT)];
    types
        .iter()
        .find(|own| {
            let own = own.trim_start_matches('_');
            own == element || kept.len() < element.len() && own.starts_with(kept)
        })
        .map(String::as_str)
}

/// Puts the facts and what was judged of them where names lead to.
pub(super) fn index(facts: &Facts, judged: &Judged<'_>) -> Catalog {
    let mut names = Names::default();
    let path: Vec<Arc<str>> = facts
        .path
        .iter()
        .filter(|name| !name.starts_with("pg_") && *name != "information_schema")
        .map(|name| names.get(name))
        .collect();
    let mut catalog = Catalog {
        server_major: u16::try_from(facts.server_version_num / 10_000).unwrap_or(0),
        search_path: search_path(&path),
        path,
        complete: facts.relations.len() <= MOST_RELATIONS && facts.functions.len() <= MOST_FUNCTIONS,
        catalog_relations: facts.catalog_relations.iter().cloned().collect(),
        relations: HashMap::new(),
        relation_count: facts.relations.len().min(MOST_RELATIONS),
        functions: HashMap::new(),
        row_offences: HashSet::new(),
        operators: HashMap::new(),
        types: HashMap::new(),
        arrays: HashMap::new(),
        type_names: HashMap::new(),
        everywhere: judged.everywhere.clone(),
    };
    relations(&mut catalog, facts, judged, &mut names);
    functions(&mut catalog, facts, judged, &mut names);
    for operator in &facts.operators {
        catalog.operators.entry(operator.name.clone()).or_default().push(OperatorFacts {
            schema: names.get(&operator.schema),
            hidden: operator.hidden,
            offences: judged.operator(operator),
        });
    }
    for kind in &facts.types {
        let (schema, name) = (names.get(&kind.schema), names.get(&kind.name));
        let types = catalog.types.entry(Arc::clone(&schema)).or_default();
        types.insert(kind.name.clone(), judged.named_type(kind.oid));
        let named = match kind.element {
            0 => TypeName::Plain { schema, name },
            element => TypeName::Array { element, name },
        };
        catalog.type_names.insert(kind.oid, named);
    }
    for (schema, types) in &catalog.types {
        let offending = types.iter().filter(|(_, offences)| !offences.is_empty());
        catalog.arrays.insert(Arc::clone(schema), offending.map(|(name, _)| name.clone()).collect());
    }
    catalog
}

fn relations(catalog: &mut Catalog, facts: &Facts, judged: &Judged<'_>, names: &mut Names) {
    let by_oid: HashMap<Oid, &facts::Relation> =
        facts.relations.iter().map(|relation| (relation.oid, relation)).collect();
    for relation in facts.relations.iter().take(MOST_RELATIONS) {
        let (schema, name) = (names.get(&relation.schema), Arc::<str>::from(relation.name.as_str()));
        catalog
            .type_names
            .insert(relation.row_type, TypeName::Plain { schema: Arc::clone(&schema), name: Arc::clone(&name) });
        let row = judged.named_type(relation.row_type);
        if !row.is_empty() {
            catalog.types.entry(Arc::clone(&schema)).or_default().insert(relation.name.clone(), row);
        }
        let found = RelationFacts {
            rows: rows(relation, &by_oid),
            of_extension: relation.of_extension,
            offences: judged.relation(relation).into(),
            made: judged.made_row(relation).into(),
            namesakes: relation.namesakes.clone().into(),
        };
        catalog.relations.entry(schema).or_default().insert(name, found);
    }
}

/// The row types of a relation and of what it inherits from.
fn rows(relation: &facts::Relation, by_oid: &HashMap<Oid, &facts::Relation>) -> Box<[Oid]> {
    let mut rows = vec![relation.row_type];
    let mut next: Vec<Oid> = relation.parents.clone();
    while let Some(parent) = next.pop().and_then(|oid| by_oid.get(&oid)) {
        if !rows.contains(&parent.row_type) {
            rows.push(parent.row_type);
            next.extend(&parent.parents);
        }
    }
    rows.into()
}

fn functions(catalog: &mut Catalog, facts: &Facts, judged: &Judged<'_>, names: &mut Names) {
    let rows = RowTypes::of(facts);
    for function in facts.functions.iter().take(MOST_FUNCTIONS) {
        let found = FunctionFacts {
            schema: names.get(&function.schema),
            arguments: arguments(function),
            row: function.argument_types.first().and_then(|oid| match function.variadic && function.arguments == 1 {
                true => Some(Row::Any),
                false => rows.get(*oid),
            }),
            hidden: function.hidden,
            beside_text: function.beside_text,
            unifies: function.argument_types.iter().filter(|oid| POLYMORPHIC.contains(oid)).count() > 1,
            offences: judged.function(function).into(),
            made: judged.made_result(function).into(),
        };
        if found.row.is_some() && found.takes(1) && !found.offences.is_empty() {
            catalog.row_offences.insert(function.name.clone());
        }
        catalog.functions.entry(names.get(&function.name)).or_default().push(found);
    }
}

fn arguments(function: &facts::Function) -> (usize, usize) {
    let most = if function.variadic { usize::MAX } else { function.arguments.into() };
    (usize::from(function.arguments).saturating_sub((function.defaults + u16::from(function.variadic)).into()), most)
}

/// anyelement, anyarray, anynonarray, anyrange, anymultirange
const POLYMORPHIC: [Oid; 5] = [2283, 2277, 2776, 3831, 4537];

/// Which types of an argument a row may be given for.
struct RowTypes {
    of: HashMap<Oid, Row>,
}

impl RowTypes {
    fn of(facts: &Facts) -> Self {
        // record, "any", anyelement, anynonarray, anycompatible, anycompatiblenonarray
        let mut of: HashMap<Oid, Row> = [2249, 2276, 2283, 2776, 5077, 5079]
            .into_iter()
            .chain(facts.builtin_rows.iter().copied())
            .map(|oid| (oid, Row::Any))
            .collect();
        let own = facts.relations.iter().map(|relation| relation.row_type);
        let composites = facts.types.iter().filter(|kind| kind.kind == 'c').map(|kind| kind.oid);
        of.extend(own.chain(composites).map(|oid| (oid, Row::Of([oid].into()))));
        // A row may be cast to what is no row.
        let cast: Vec<Oid> =
            facts.casts.iter().filter(|cast| of.contains_key(&cast.source)).map(|cast| cast.target).collect();
        of.extend(cast.into_iter().map(|oid| (oid, Row::Any)));
        // What is no row may be cast to one.
        let made = facts.casts.iter().filter(|cast| cast.source != cast.target).map(|cast| cast.target);
        for oid in made {
            if let Some(row) = of.get_mut(&oid) {
                *row = Row::Any;
            }
        }
        // Domains, and domains over those.
        loop {
            let domains = facts.types.iter().filter(|kind| of.contains_key(&kind.base) && !of.contains_key(&kind.oid));
            let found: Vec<Oid> = domains.map(|kind| kind.oid).collect();
            if found.is_empty() {
                return Self { of };
            }
            of.extend(found.into_iter().map(|oid| (oid, Row::Any)));
        }
    }

    fn get(&self, oid: Oid) -> Option<Row> {
        self.of.get(&oid).cloned()
    }
}

/// `pg_catalog` first, temporary objects last, each name quoted.
fn search_path(path: &[Arc<str>]) -> String {
    let mut out = String::from("pg_catalog");
    for schema in path {
        out.push_str(", \"");
        out.push_str(&schema.replace('"', "\"\""));
        out.push('"');
    }
    out.push_str(", pg_temp");
    out
}

/// Each schema's and function's name once.
#[derive(Default)]
struct Names(HashSet<Arc<str>>);

impl Names {
    fn get(&mut self, name: &str) -> Arc<str> {
        if let Some(known) = self.0.get(name) {
            return Arc::clone(known);
        }
        let new = Arc::<str>::from(name);
        self.0.insert(Arc::clone(&new));
        new
    }
}
