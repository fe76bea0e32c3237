//! Which code of a database's own does more than read, and what runs it: the
//! closure over defaults, aggregates, domains, casts, views and policies.
//! Called once for each catalog that is loaded.
//!
//! A function that a caller can name or feed is judged by its volatility and by
//! SECURITY DEFINER. Code that the owner put behind a view or a policy runs with
//! what the owner wrote, so that there only volatility counts.

use std::collections::{HashMap, HashSet};

use super::facts::{Facts, Function, Oid, Relation};
use crate::functions::{self, Class};
use crate::relations;

/// Why a function does more than read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    /// By the reviewed list of names.
    Refused(Class),
    Volatile,
    Definer,
    /// It is a catalog that is not for everybody.
    Sensitive,
    /// It is the output of a program that the server starts.
    Program,
}

/// Something that only a role can allow by naming it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Offence {
    /// `schema.name`.
    pub(crate) name: String,
    pub(crate) why: Why,
}

/// `xml` and its array.
const XML: [Oid; 2] = [142, 143];

/// All verdicts, by number.
pub(super) struct Judged<'a> {
    facts: &'a Facts,
    functions: HashMap<Oid, &'a Function>,
    relations: HashMap<Oid, &'a Relation>,
    /// Types whose casts run such code, wherever a value of them appears.
    casts: HashMap<Oid, Vec<Offence>>,
    /// Types whose checks run such code when a value is made one of them.
    checks: HashMap<Oid, Vec<Offence>>,
    /// Arrays, composites and rows.
    containers: HashSet<Oid>,
    /// Relations that read a program's output, in a child at least.
    programs: HashMap<Oid, Offence>,
    pub(super) everywhere: Vec<Offence>,
}

impl<'a> Judged<'a> {
    pub(super) fn of(facts: &'a Facts) -> Self {
        let mut judged = Self {
            facts,
            functions: facts.functions.iter().map(|function| (function.oid, function)).collect(),
            relations: facts.relations.iter().map(|relation| (relation.oid, relation)).collect(),
            casts: HashMap::new(),
            checks: HashMap::new(),
            containers: containers(facts),
            programs: HashMap::new(),
            everywhere: Vec::new(),
        };
        judged.types();
        judged.programs();
        judged
    }

    /// What is wrong with the function itself.
    fn own(&self, oid: Oid) -> Option<Offence> {
        if let Some(name) = self.facts.builtin_functions.get(&oid) {
            // Its argument is judged only where the text calls it by its name.
            let class = functions::refused(name).or((name == "current_setting").then_some(Class::Server))?;
            return Some(Offence { name: format!("pg_catalog.{name}"), why: Why::Refused(class) });
        }
        let function = self.functions.get(&oid)?;
        let by_name = self.is_foreign(function).then(|| functions::refused(&function.name)).flatten();
        let why = match by_name {
            Some(class) => Why::Refused(class),
            None if function.volatility == 'v' && !is_known_to_compute(function) => Why::Volatile,
            None if function.definer => Why::Definer,
            None => return None,
        };
        Some(Offence { name: format!("{}.{}", function.schema, function.name), why })
    }

    /// Of an extension, or written for the server itself: such a function is
    /// also judged by its name.
    fn is_foreign(&self, function: &Function) -> bool {
        function.of_extension || ["c", "internal"].contains(&function.language.as_str())
    }

    /// The same for code of the owner's. XML functions are refused to callers
    /// for what they may be fed, which the owner decided here.
    fn behind(&self, oid: Oid) -> Option<Offence> {
        let setting = |offence: &Offence| offence.name == "pg_catalog.current_setting";
        self.own(oid)
            .filter(|offence| !matches!(offence.why, Why::Definer | Why::Refused(Class::Xml)) && !setting(offence))
    }

    /// What a call in the owner's code runs: a tree names the function, but
    /// neither its defaults nor what an aggregate is made of.
    fn behind_call(&self, oid: Oid) -> Vec<Offence> {
        let mut found: Vec<Offence> = self.behind(oid).into_iter().collect();
        if let Some(function) = self.functions.get(&oid) {
            let inner = function.default_functions.iter().chain(&function.support_functions);
            found.extend(inner.filter_map(|oid| self.behind(*oid)));
            found.extend(self.defaults_and_state(function));
        }
        found
    }

    /// The types into which a call turns something that no text shows.
    fn defaults_and_state(&self, function: &Function) -> Vec<Offence> {
        function.default_types.iter().copied().chain(function.state).flat_map(|oid| self.coercion(oid)).collect()
    }

    /// What calling a function runs.
    pub(super) fn function(&self, function: &Function) -> Vec<Offence> {
        let mut found = Vec::new();
        found.extend(self.own(function.oid));
        for oid in &function.default_functions {
            found.extend(self.behind(*oid));
        }
        for oid in &function.support_functions {
            found.extend(self.own(*oid));
        }
        for oid in &function.argument_types {
            found.extend(self.value(*oid));
            found.extend(self.literal(*oid));
        }
        found.extend(self.value(function.result));
        found.extend(self.beside(function.result));
        found.extend(self.defaults_and_state(function));
        dedup(found)
    }

    pub(super) fn operator(&self, operator: &super::facts::Operator) -> Vec<Offence> {
        let mut found = Vec::new();
        found.extend(self.own(operator.function));
        for oid in [operator.left, operator.right, operator.result] {
            found.extend(self.value(oid));
        }
        for oid in [operator.left, operator.right] {
            found.extend(self.literal(oid));
        }
        dedup(found)
    }

    /// What may run where a value of a type is.
    fn value(&self, oid: Oid) -> Vec<Offence> {
        self.casts.get(&oid).cloned().unwrap_or_default()
    }

    /// What runs when a value is made one of a type.
    fn coercion(&self, oid: Oid) -> Vec<Offence> {
        self.checks.get(&oid).cloned().unwrap_or_default()
    }

    /// What naming a type may run.
    pub(super) fn named_type(&self, oid: Oid) -> Vec<Offence> {
        dedup([self.value(oid), self.coercion(oid)].concat())
    }

    /// What making a row of this type runs, which polymorphic functions do
    /// without naming the type.
    pub(super) fn made_row(&self, relation: &Relation) -> Vec<Offence> {
        self.coercion(relation.row_type)
    }

    /// The same for what a function returns.
    pub(super) fn made_result(&self, function: &Function) -> Vec<Offence> {
        self.coercion(function.result)
    }

    /// What a literal runs that is given for a value of this type. XML may be made
    /// of a literal, and nothing else becomes XML without its name.
    fn literal(&self, oid: Oid) -> Vec<Offence> {
        let mut found = self.coercion(oid);
        found.retain(|offence| offence.why != Why::Refused(Class::Xml));
        found
    }

    /// What a literal beside a value of this type runs: it is read as one, without
    /// the type's name, where the type is made of others.
    fn beside(&self, oid: Oid) -> Vec<Offence> {
        if self.containers.contains(&oid) { self.literal(oid) } else { Vec::new() }
    }

    /// What reading a relation runs.
    pub(super) fn relation(&self, relation: &Relation) -> Vec<Offence> {
        let mut found = Vec::new();
        let mut seen = HashSet::from([relation.oid]);
        let mut next = vec![relation];
        while let Some(relation) = next.pop() {
            found.extend(relation.code_functions.iter().flat_map(|oid| self.behind_call(*oid)));
            found.extend(relation.partition_functions.iter().filter_map(|oid| self.own(*oid)));
            found.extend(relation.column_types.iter().flat_map(|oid| self.beside(*oid)));
            // Casts of the row itself.
            found.extend(self.value(relation.row_type));
            found.extend(self.programs.get(&relation.oid).cloned());
            found.extend(relation.code_types.iter().flat_map(|oid| self.coercion(*oid)));
            found.extend(relation.column_types.iter().flat_map(|oid| self.value(*oid)));
            for oid in &relation.code_relations {
                if let Some((schema, name)) = self.facts.builtin_relations.get(oid) {
                    if relations::verdict(Some(schema), name) == relations::Verdict::Sensitive {
                        found.push(Offence { name: format!("{schema}.{name}"), why: Why::Sensitive });
                    }
                } else if seen.insert(*oid)
                    && let Some(inner) = self.relations.get(oid)
                {
                    next.push(inner);
                }
            }
        }
        dedup(found)
    }

    fn types(&mut self) {
        let mut casts: HashMap<Oid, Vec<Offence>> = HashMap::new();
        for cast in &self.facts.casts {
            let Some(offence) = self.own(cast.function) else { continue };
            let own: Vec<Oid> = [cast.source, cast.target].into_iter().filter(|oid| *oid >= 16_384).collect();
            if own.is_empty() {
                self.everywhere.push(offence.clone());
            }
            for oid in own {
                casts.entry(oid).or_default().push(offence.clone());
            }
        }
        // Reading XML from a text is bounded for literals only.
        let xml = Offence { name: "pg_catalog.xml".to_owned(), why: Why::Refused(Class::Xml) };
        let mut checks: HashMap<Oid, Vec<Offence>> = XML.iter().map(|oid| (*oid, vec![xml.clone()])).collect();
        for kind in &self.facts.types {
            let found: Vec<Offence> = kind.check_functions.iter().filter_map(|oid| self.own(*oid)).collect();
            if !found.is_empty() {
                checks.insert(kind.oid, found);
            }
        }
        self.spread(&mut casts);
        self.spread(&mut checks);
        (self.casts, self.checks) = (casts, checks);
    }

    fn programs(&mut self) {
        let mut next: Vec<(&Relation, Offence)> = Vec::new();
        for relation in self.facts.relations.iter().filter(|relation| relation.program) {
            let name = format!("{}.{}", relation.schema, relation.name);
            next.push((relation, Offence { name, why: Why::Program }));
        }
        while let Some((relation, offence)) = next.pop() {
            if self.programs.insert(relation.oid, offence.clone()).is_none() {
                let parents = relation.parents.iter().filter_map(|oid| self.relations.get(oid));
                next.extend(parents.map(|parent| (*parent, offence.clone())));
            }
        }
    }

    /// From parts to the types that are made of them, until nothing changes.
    fn spread(&self, offences: &mut HashMap<Oid, Vec<Offence>>) {
        let mut whole: HashMap<Oid, Vec<Oid>> = HashMap::new();
        for kind in &self.facts.types {
            let parts = [kind.element, kind.base].into_iter().filter(|oid| *oid != 0);
            for part in parts.chain(kind.part_types.iter().copied()).chain(kind.check_types.iter().copied()) {
                whole.entry(part).or_default().push(kind.oid);
            }
        }
        for relation in &self.facts.relations {
            for part in &relation.column_types {
                whole.entry(*part).or_default().push(relation.row_type);
            }
        }
        let mut next: Vec<Oid> = offences.keys().copied().collect();
        while let Some(part) = next.pop() {
            let found = offences.get(&part).cloned().unwrap_or_default();
            for oid in whole.get(&part).into_iter().flatten() {
                let known = offences.entry(*oid).or_default();
                let before = known.len();
                for offence in &found {
                    if !known.contains(offence) {
                        known.push(offence.clone());
                    }
                }
                if known.len() > before {
                    next.push(*oid);
                }
            }
        }
    }
}

/// Functions of PostgreSQL's contributed extensions (pgcrypto, uuid-ossp,
/// tablefunc) that are volatile for their randomness alone.
fn is_known_to_compute(function: &Function) -> bool {
    const KNOWN: [&str; 11] = [
        "gen_random_bytes",
        "gen_random_uuid",
        "gen_salt",
        "normal_rand",
        "pgp_pub_encrypt",
        "pgp_pub_encrypt_bytea",
        "pgp_sym_encrypt",
        "pgp_sym_encrypt_bytea",
        "uuid_generate_v1",
        "uuid_generate_v1mc",
        "uuid_generate_v4",
    ];
    function.of_extension && function.language == "c" && KNOWN.contains(&function.name.as_str())
}

fn containers(facts: &Facts) -> HashSet<Oid> {
    let made = facts.types.iter().filter(|kind| kind.element != 0 || kind.kind == 'c').map(|kind| kind.oid);
    made.chain(facts.relations.iter().map(|relation| relation.row_type)).collect()
}

fn dedup(found: Vec<Offence>) -> Vec<Offence> {
    let mut unique: Vec<Offence> = Vec::with_capacity(found.len());
    for offence in found {
        if !unique.contains(&offence) {
            unique.push(offence);
        }
    }
    unique
}
