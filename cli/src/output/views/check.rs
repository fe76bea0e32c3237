//! The guard's verdict on one statement: what, where, why, and what to do.

use nla_domain::id::RoleName;
use nla_guard::{CheckedSql, Decision, Refusal, Rules, StatementKind};
use serde::Serialize;
use unicode_width::UnicodeWidthStr as _;

use crate::output::{Show, Table, escape};

/// How much of a long line is shown on each side of the place.
const AROUND: usize = 34;

/// The verdict.
#[derive(Debug, Serialize)]
pub(crate) struct Verdict {
    verdict: &'static str,
    /// The rule that refused it.
    code: Option<&'static str>,
    message: Option<String>,
    hint: Option<String>,
    position: Option<Place>,
    statement: Option<Statement>,
    basis: Basis,
    #[serde(skip)]
    excerpt: Option<Excerpt>,
}

/// A place in the text as it was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
struct Place {
    /// From 1.
    line: usize,
    /// Characters from the line's start, from 1.
    column: usize,
    /// Characters from the text's start, from 1.
    character: usize,
}

/// What an accepted statement is.
#[derive(Debug, Serialize)]
struct Statement {
    kind: &'static str,
    fingerprint: String,
    relations: Vec<String>,
    functions: Vec<String>,
    /// Why each of them is allowed; only on request.
    decided: Option<Vec<Decided>>,
}

/// One name, as PostgreSQL resolves it, and why it may be used.
#[derive(Debug, Serialize)]
struct Decided {
    kind: &'static str,
    name: String,
    why: String,
}

/// What the verdict rests on.
#[derive(Debug, Serialize)]
pub(crate) struct Basis {
    role: Option<String>,
    server_major: u16,
    explain_analyze: bool,
    catalog: Option<CatalogBasis>,
}

#[derive(Debug, Serialize)]
struct CatalogBasis {
    relations: usize,
    complete: bool,
    search_path: String,
}

/// A line of the text and a mark under the place.
#[derive(Debug)]
struct Excerpt {
    line: String,
    mark: String,
}

impl Basis {
    pub(crate) fn of(rules: &Rules, role: Option<&RoleName>) -> Self {
        let catalog = rules.catalog.as_ref();
        Self {
            role: role.map(ToString::to_string),
            server_major: catalog.map_or(rules.server_major, |catalog| catalog.server_major()),
            explain_analyze: rules.allow_explain_analyze,
            catalog: catalog.map(|catalog| CatalogBasis {
                relations: catalog.relation_count(),
                complete: catalog.is_complete(),
                search_path: catalog.search_path().to_owned(),
            }),
        }
    }
}

impl Verdict {
    pub(crate) fn of(
        sql: &str,
        judged: &Result<CheckedSql, Refusal>,
        rules: &Rules,
        basis: Basis,
        explain: bool,
    ) -> Self {
        let mut verdict = Self {
            verdict: "allowed",
            code: None,
            message: None,
            hint: None,
            position: None,
            statement: None,
            basis,
            excerpt: None,
        };
        match judged {
            Ok(checked) => verdict.statement = Some(Statement::of(checked, explain.then_some(rules))),
            Err(refusal) => {
                verdict.verdict = "refused";
                verdict.code = Some(refusal.code());
                verdict.message = Some(refusal.message.clone());
                verdict.hint = Some(refusal.hint.clone());
                let at = refusal.position.map(|position| position.byte).filter(|byte| sql.is_char_boundary(*byte));
                verdict.position = at.map(|byte| Place::of(sql, byte));
                verdict.excerpt = at.map(|byte| Excerpt::of(sql, byte));
            }
        }
        verdict
    }

    pub(crate) fn is_allowed(&self) -> bool {
        self.statement.is_some()
    }
}

impl Statement {
    /// With rules: also why each name is allowed under them.
    fn of(checked: &CheckedSql, rules: Option<&Rules>) -> Self {
        let decided = |decision: Decision| Decided { kind: decision.kind, name: decision.name, why: decision.why };
        Self {
            kind: match checked.kind() {
                StatementKind::Rows => "rows",
                StatementKind::Explain => "explain",
                StatementKind::Show => "show",
            },
            fingerprint: checked.fingerprint().to_owned(),
            relations: checked.relations().iter().map(ToString::to_string).collect(),
            functions: checked.functions().iter().map(ToString::to_string).collect(),
            decided: rules.map(|rules| checked.decided(rules).into_iter().map(decided).collect()),
        }
    }
}

impl Place {
    fn of(sql: &str, byte: usize) -> Self {
        let before = &sql[..byte];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        Self {
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            character: before.chars().count() + 1,
        }
    }
}

impl Excerpt {
    fn of(sql: &str, byte: usize) -> Self {
        let start = sql[..byte].rfind('\n').map_or(0, |at| at + 1);
        let end = sql[byte..].find(['\n', '\r']).map_or(sql.len(), |at| at + byte);
        let (before, after) = (&sql[start..byte], &sql[byte..end]);
        let skipped = before.chars().count().saturating_sub(AROUND);
        let shown: String = before.chars().skip(skipped).collect();
        let rest: String = after.chars().take(AROUND).collect();
        let head = format!("{}{}", if skipped > 0 { "... " } else { "" }, escape(&shown));
        let tail = if rest.len() < after.len() { " ..." } else { "" };
        let mark = format!("{}^", " ".repeat(head.as_str().width()));
        Self { line: format!("{head}{}{tail}", escape(&rest)), mark }
    }
}

impl Show for Verdict {
    fn table(&self) -> Table {
        let mut table = Table::fields();
        table = match self.code {
            Some(code) => table.line(format_args!("refused: {code}")),
            None => table.line("allowed"),
        };
        if let Some(message) = &self.message {
            table = table.prose(message);
        }
        if let (Some(place), Some(excerpt)) = (self.position, &self.excerpt) {
            table = table
                .line(format_args!("line {}, character {}:", place.line, place.column))
                .line(format_args!("  {}", excerpt.line))
                .line(format_args!("  {}", excerpt.mark));
        }
        if let Some(hint) = self.hint.as_ref().filter(|hint| !hint.is_empty()) {
            table = table.prose(format_args!("hint: {hint}"));
        }
        if let Some(statement) = &self.statement {
            table = statement.explained(table);
        }
        if self.basis.catalog.is_none() {
            table = table.prose(
                "Judged without a catalog: functions, operators and relations of the database's own by their names \
                 alone. An edge knows what they are; so does --catalog FILE.",
            );
        }
        table
    }

    fn essence(&self) -> Vec<String> {
        vec![self.code.unwrap_or(self.verdict).to_owned()]
    }
}

impl Statement {
    fn explained(&self, table: Table) -> Table {
        let Some(decided) = &self.decided else { return table };
        let table =
            table.line(format_args!("kind: {}", self.kind)).line(format_args!("fingerprint: {}", self.fingerprint));
        decided.iter().fold(table, |table, decided| {
            table.prose(format_args!("{} {}: {}", decided.kind, decided.name, decided.why))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_count_characters_and_lines() {
        let sql = "SELECT 'ä',\n  '表', f(1)";
        let byte = sql.find("f(").unwrap();
        assert_eq!(Place::of(sql, byte), Place { line: 2, column: 8, character: 20 });
        assert_eq!(Place::of(sql, 0), Place { line: 1, column: 1, character: 1 });
        assert_eq!(Place::of(sql, sql.len()).line, 2);
    }

    #[test]
    fn the_mark_stands_under_the_place() {
        let cases = [
            ("SELECT f(1)", "f(", "SELECT f(1)", 7),
            ("SELECT 1,\n  f(1)\nFROM t", "f(", "  f(1)", 2),
            ("SELECT '表', f(1)", "f(", "SELECT '表', f(1)", 13),
            ("SELECT '\t', f(1)\r\nx", "f(", "SELECT '\\t', f(1)", 13),
        ];
        for (sql, at, line, column) in cases {
            let excerpt = Excerpt::of(sql, sql.find(at).unwrap());
            assert_eq!((excerpt.line.as_str(), excerpt.mark.len()), (line, column + 1), "{sql:?}");
        }
        let long = format!("SELECT {} f(1), {}", "1, ".repeat(500), "2, ".repeat(500));
        let excerpt = Excerpt::of(&long, long.find("f(").unwrap());
        assert!(excerpt.line.len() < 2 * AROUND + 10, "{}", excerpt.line);
        assert!(excerpt.line[excerpt.mark.len() - 1..].starts_with("f(1)"), "{excerpt:?}");
    }
}
