//! Runs the corpus: every harmless statement passes, every hostile one is
//! refused by the rule that it names. Reports all mismatches at once.
#![expect(clippy::unwrap_used, reason = "a test may end at the first surprise")]

use nla_guard::{Rule, Rules, StatementKind, check};

struct Case {
    line: usize,
    sql: String,
    refuse: Option<String>,
    rules: Rules,
}

fn cases(text: &str) -> Vec<Case> {
    let mut cases = Vec::new();
    let mut line = 1;
    for paragraph in text.split("\n\n") {
        let mut case = Case { line, sql: String::new(), refuse: None, rules: Rules::default() };
        line += paragraph.matches('\n').count() + 2;
        // The note at the head of a file, and nothing else, begins like this.
        if paragraph.starts_with("-- Statements that must") {
            continue;
        }
        let mut rest = paragraph;
        while let Some((head, tail)) = rest.split_once('\n') {
            if let Some(code) = head.strip_prefix("-- refuse: ") {
                case.refuse = Some(code.to_owned());
            } else if let Some(exceptions) = head.strip_prefix("-- rules: ") {
                exceptions.split(' ').for_each(|exception| widen(&mut case.rules, exception));
            } else {
                break;
            }
            rest = tail;
        }
        case.sql = rest.to_owned();
        cases.push(case);
    }
    cases
}

fn widen(rules: &mut Rules, exception: &str) {
    match exception.split_once('=') {
        None if exception == "analyze" => rules.allow_explain_analyze = true,
        Some(("server", major)) => rules.server_major = major.parse().unwrap(),
        Some(("function", name)) => drop(rules.functions.insert(name.into())),
        Some(("relation", name)) => drop(rules.relations.insert(name.into())),
        Some(("operator", name)) => drop(rules.operators.insert(name.into())),
        Some(("setting", name)) => drop(rules.settings.insert(name.into())),
        _ => panic!("unknown exception {exception}"),
    }
}

fn harmless() -> Vec<Case> {
    cases(include_str!("corpus/harmless.sql"))
}

fn hostile() -> Vec<Case> {
    cases(include_str!("corpus/hostile.sql"))
}

#[test]
fn every_statement_gets_its_verdict() {
    let (harmless, hostile) = (harmless(), hostile());
    assert!(harmless.len() >= 100 && hostile.len() >= 150);
    let mut wrong = Vec::new();
    for case in harmless.iter().chain(&hostile) {
        let found = check(&case.sql, &case.rules).err();
        let code = found.as_ref().map(|refusal| refusal.code());
        if code != case.refuse.as_deref() {
            wrong.push(format!(
                "line {}: {}\n    expected {:?}, found {code:?} ({})",
                case.line,
                case.sql,
                case.refuse,
                found.as_ref().map_or("passed", |refusal| &refusal.message),
            ));
        }
    }
    assert!(wrong.is_empty(), "{} wrong\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn every_code_of_the_corpus_is_a_rule() {
    for case in hostile() {
        let code = case.refuse.unwrap();
        assert!(Rule::ALL.iter().any(|rule| rule.code() == code), "{code}");
    }
}

#[test]
fn what_passes_passes_again_as_it_was_cut() {
    for case in harmless() {
        let Ok(first) = check(&case.sql, &case.rules) else { continue };
        let second = check(first.sql(), &case.rules).unwrap();
        assert_eq!(first, second);
        assert!(!first.sql().ends_with(';'));
    }
}

#[test]
fn every_refusal_says_what_to_do() {
    for case in hostile() {
        let Err(refusal) = check(&case.sql, &case.rules) else { continue };
        assert!(!refusal.message.is_empty() && refusal.hint.ends_with('.'), "{refusal:?}");
        if let Some(position) = refusal.position {
            assert!(case.sql.is_char_boundary(position.byte), "{refusal:?} in {}", case.sql);
        }
    }
}

#[test]
fn tells_what_the_statement_is_and_names() {
    let checked = check(
        " /* a */ WITH c AS (SELECT * FROM Sales.\"Orders\") SELECT lower(x), pg_catalog.upper(y) FROM c, public.items i; -- end",
        &Rules::default(),
    )
    .unwrap();
    assert!(checked.sql().starts_with("WITH c") && checked.sql().ends_with("items i"));
    assert_eq!(checked.kind(), StatementKind::Rows);
    let relations: Vec<String> = checked.relations().iter().map(ToString::to_string).collect();
    assert_eq!(relations, ["public.items", "sales.Orders"]);
    let functions: Vec<String> = checked.functions().iter().map(ToString::to_string).collect();
    assert_eq!(functions, ["lower", "pg_catalog.upper"]);
    let print = |sql| check(sql, &Rules::default()).unwrap().fingerprint().to_owned();
    assert_eq!(print("SELECT * FROM t WHERE a = 1"), print("select * from t where a=2;"));
    assert_ne!(print("SELECT * FROM t WHERE a = 1"), print("SELECT * FROM t WHERE b = 1"));
}

#[test]
fn points_at_what_it_refuses() {
    let sql = "SELECT 'é', pg_sleep(1)";
    let position = check(sql, &Rules::default()).unwrap_err().position.unwrap();
    assert_eq!(&sql[position.byte..position.byte + 8], "pg_sleep");
    assert_eq!(position.character, 13);
    let many = check("SELECT 1;  DROP TABLE t", &Rules::default()).unwrap_err();
    assert_eq!(many.position.unwrap().byte, 11);
}
