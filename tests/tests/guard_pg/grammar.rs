//! Makes SELECT statements by a grammar: expressions of a wanted type from the
//! server's own functions and operators, over the tables of the sample.
//! Invariant: the same seed makes the same statements.

use std::collections::BTreeMap;

use super::literals;

/// A small generator of numbers (splitmix64), so that a seed alone tells a run.
pub(crate) struct Numbers(u64);

impl Numbers {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `bound`, which is not zero.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) >> 1).unwrap() % bound
    }

    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }

    fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }
}

/// What can be written, by the type that it results in.
#[derive(Default)]
pub(crate) struct Vocabulary {
    /// Name and types of the arguments.
    pub(crate) functions: BTreeMap<String, Vec<(String, Vec<String>)>>,
    pub(crate) aggregates: BTreeMap<String, Vec<(String, Vec<String>)>>,
    /// Left type, name, right type.
    pub(crate) operators: BTreeMap<String, Vec<(String, String, String)>>,
    /// Tables with the names and types of their columns.
    pub(crate) tables: Vec<(String, Vec<(String, String)>)>,
}

/// A column in sight: how it is written, and its type.
type Column = (String, String);

pub(crate) struct Grammar<'a> {
    words: &'a Vocabulary,
    numbers: &'a mut Numbers,
    aliases: usize,
}

impl<'a> Grammar<'a> {
    pub(crate) fn new(words: &'a Vocabulary, numbers: &'a mut Numbers) -> Self {
        Self { words, numbers, aliases: 0 }
    }

    pub(crate) fn statement(&mut self) -> String {
        let types: Vec<String> = (0..=self.numbers.below(3)).map(|_| self.type_name()).collect();
        let body = self.query(&types, 2, &[]);
        match self.numbers.below(8) {
            0 => {
                let names: Vec<String> = (0..types.len()).map(|at| format!("w{at}")).collect();
                format!("WITH c({0}) AS ({body}) SELECT {0} FROM c", names.join(", "))
            }
            1 => format!("{body} UNION ALL {}", self.query(&types, 1, &[])),
            2 => format!("SELECT * FROM ({body}) AS q ORDER BY 1 LIMIT 20 OFFSET 1"),
            3 => format!("EXPLAIN {body}"),
            _ => body,
        }
    }

    fn type_name(&mut self) -> String {
        (*self.numbers.pick(&literals::USUAL)).to_owned()
    }

    fn alias(&mut self) -> String {
        self.aliases += 1;
        format!("t{}", self.aliases)
    }

    /// A SELECT with columns of these types; `outer` is in sight in it.
    fn query(&mut self, types: &[String], depth: usize, outer: &[Column]) -> String {
        let (from, mut columns) = self.from(depth);
        columns.extend_from_slice(outer);
        if self.numbers.chance(25) {
            return self.grouped(types, depth, &from, &columns);
        }
        let distinct = if self.numbers.chance(10) { "DISTINCT " } else { "" };
        let mut targets = Vec::new();
        for wanted in types {
            let mut target = self.expression(wanted, depth, &columns);
            if self.numbers.chance(10) {
                target = format!("first_value({target}) OVER (ORDER BY {})", self.expression("integer", 1, &columns));
            }
            targets.push(target);
        }
        let mut sql = format!("SELECT {distinct}{} FROM {from}", targets.join(", "));
        if self.numbers.chance(60) {
            sql.push_str(&format!(" WHERE {}", self.expression("boolean", depth, &columns)));
        }
        if distinct.is_empty() && self.numbers.chance(30) {
            let wanted = self.type_name();
            sql.push_str(&format!(" ORDER BY {}", self.expression(&wanted, 1, &columns)));
        }
        format!("({sql} LIMIT {})", self.numbers.pick(&[1, 5, 100]))
    }

    fn grouped(&mut self, types: &[String], depth: usize, from: &str, columns: &[Column]) -> String {
        let mut targets = Vec::new();
        for wanted in types {
            let target = match self.words.aggregates.get(wanted) {
                Some(aggregates) => {
                    let (name, arguments) = self.numbers.pick(aggregates).clone();
                    let arguments = self.expressions(&arguments, depth, columns);
                    let arguments = if arguments.is_empty() { "*".to_owned() } else { arguments };
                    format!("{name}({arguments})")
                }
                None => format!("min({}::text)::{wanted}", self.expression(wanted, depth, columns)),
            };
            targets.push(target);
        }
        let having = self.expression("boolean", 1, &[]);
        format!("(SELECT {} FROM {from} GROUP BY {} HAVING {having} LIMIT 50)", targets.join(", "), {
            let wanted = self.type_name();
            self.expression(&wanted, 1, columns)
        })
    }

    /// What stands in FROM, and the columns that it brings.
    fn from(&mut self, depth: usize) -> (String, Vec<Column>) {
        let (mut from, mut columns) = self.source(depth);
        if self.numbers.chance(20) {
            let (more, of_more) = self.source(depth);
            columns.extend(of_more);
            let on = self.expression("boolean", 1, &columns);
            let join = *self.numbers.pick(&["JOIN", "LEFT JOIN", "FULL JOIN"]);
            from = format!("{from} {join} {more} ON {on}");
        }
        if self.numbers.chance(15) {
            let alias = self.alias();
            let wanted = self.type_name();
            let value = self.expression(&wanted, 1, &columns);
            from = format!("{from} CROSS JOIN LATERAL (SELECT {value} AS v) AS {alias}");
            columns.push((format!("{alias}.v"), wanted));
        }
        (from, columns)
    }

    fn source(&mut self, depth: usize) -> (String, Vec<Column>) {
        let alias = self.alias();
        match self.numbers.below(6) {
            0 => (
                format!("generate_series(1, {}) AS {alias}(n)", self.numbers.pick(&[3, 50])),
                vec![(format!("{alias}.n"), "integer".to_owned())],
            ),
            1 => (
                format!("(VALUES (1, 'a'), (2, NULL)) AS {alias}(n, s)"),
                vec![(format!("{alias}.n"), "integer".to_owned()), (format!("{alias}.s"), "text".to_owned())],
            ),
            2 if depth > 0 => {
                let types = [self.type_name(), self.type_name()];
                let query = self.query(&types, depth - 1, &[]);
                let columns =
                    types.into_iter().zip(["a", "b"]).map(|(wanted, name)| (format!("{alias}.{name}"), wanted));
                (format!("{query} AS {alias}(a, b)"), columns.collect())
            }
            _ => {
                let (table, columns) = self.numbers.pick(&self.words.tables).clone();
                let sample = if self.numbers.chance(20) { " TABLESAMPLE bernoulli (5)" } else { "" };
                let columns = columns.into_iter().map(|(name, wanted)| (format!("{alias}.{name}"), wanted));
                (format!("{table} AS {alias}{sample}"), columns.collect())
            }
        }
    }

    fn expressions(&mut self, types: &[String], depth: usize, columns: &[Column]) -> String {
        let all: Vec<String> = types.iter().map(|wanted| self.expression(wanted, depth, columns)).collect();
        all.join(", ")
    }

    /// An expression of the wanted type.
    pub(crate) fn expression(&mut self, wanted: &str, depth: usize, columns: &[Column]) -> String {
        if depth == 0 {
            return self.leaf(wanted, columns);
        }
        let deeper = depth - 1;
        match self.numbers.below(12) {
            0..=4 => match self.words.functions.get(wanted) {
                Some(functions) => {
                    let (name, arguments) = self.numbers.pick(functions).clone();
                    format!("{name}({})", self.expressions(&arguments, deeper, columns))
                }
                None => self.leaf(wanted, columns),
            },
            5 | 6 => match self.words.operators.get(wanted) {
                Some(operators) => {
                    let (left, name, right) = self.numbers.pick(operators).clone();
                    let (left, right) =
                        (self.expression(&left, deeper, columns), self.expression(&right, deeper, columns));
                    format!("({left} {name} {right})")
                }
                None => self.leaf(wanted, columns),
            },
            7 => format!(
                "CASE WHEN {} THEN {} ELSE {} END",
                self.expression("boolean", deeper, columns),
                self.expression(wanted, deeper, columns),
                self.leaf(wanted, columns)
            ),
            8 => format!("coalesce({}, {})", self.expression(wanted, deeper, columns), self.leaf(wanted, columns)),
            9 => format!("{}::text::{wanted}", self.expression(wanted, deeper, columns)),
            10 => self.query(&[wanted.to_owned()], deeper, columns).replacen("LIMIT 100)", "LIMIT 1)", 1),
            _ => self.leaf(wanted, columns),
        }
    }

    fn leaf(&mut self, wanted: &str, columns: &[Column]) -> String {
        let fitting: Vec<&Column> = columns.iter().filter(|(_, of)| of == wanted).collect();
        if !fitting.is_empty() && self.numbers.chance(75) {
            return self.numbers.pick(&fitting).0.clone();
        }
        match literals::of(wanted) {
            [] => format!("NULL::{wanted}"),
            values => (*self.numbers.pick(values)).to_owned(),
        }
    }
}
