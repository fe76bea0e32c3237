//! Statements by a grammar and mutations of the guard's corpus: what the guard
//! accepts runs as a superuser, outside of any transaction of ours, and leaves
//! everything as it was.

use std::env;

use super::bench::{Bench, Ended};
use super::grammar::{Grammar, Numbers, Vocabulary};
use super::literals;

const SEED: u64 = 20_261_124;
const STATEMENTS: usize = 2500;

fn number<T: std::str::FromStr>(name: &str, default: T) -> T {
    env::var(name).ok().map_or(default, |text| text.parse().ok().unwrap_or_else(|| panic!("{name} is no number")))
}

/// The allowed functions, operators and tables whose types have literals here.
async fn vocabulary(bench: &Bench) -> Vocabulary {
    let mut words = Vocabulary::default();
    let rows = bench
        .admin
        .query(
            "SELECT proname::text, prokind = 'a', format_type(prorettype, NULL),
                    ARRAY(SELECT format_type(t, NULL) FROM unnest(proargtypes::oid[]) WITH ORDINALITY a(t, at) ORDER BY at)
             FROM pg_proc LEFT JOIN pg_aggregate ON aggfnoid = pg_proc.oid
             WHERE pronamespace = 'pg_catalog'::regnamespace AND prokind IN ('f', 'a') AND NOT proretset
               AND coalesce(aggkind, 'n') = 'n' ORDER BY pg_proc.oid",
            &[],
        )
        .await
        .unwrap();
    for row in &rows {
        let (name, aggregate, result, arguments): (String, bool, String, Vec<String>) =
            (row.get(0), row.get(1), row.get(2), row.get(3));
        let usual = literals::USUAL.contains(&result.as_str());
        let known = arguments.iter().all(|name| !literals::of(name).is_empty());
        if usual && known && bench.judge(&format!("SELECT \"{name}\"()")).is_ok() {
            let kind = if aggregate { &mut words.aggregates } else { &mut words.functions };
            kind.entry(result).or_default().push((format!("\"{name}\""), arguments));
        }
    }
    let rows = bench
        .admin
        .query(
            "SELECT oprname::text, format_type(oprleft, NULL), format_type(oprright, NULL), format_type(oprresult, NULL)
             FROM pg_operator WHERE oprkind = 'b' ORDER BY oid",
            &[],
        )
        .await
        .unwrap();
    for row in &rows {
        let (name, left, right, result): (String, String, String, String) =
            (row.get(0), row.get(1), row.get(2), row.get(3));
        if !literals::of(&left).is_empty() && !literals::of(&right).is_empty() {
            words.operators.entry(result).or_default().push((left, name, right));
        }
    }
    let rows = bench
        .admin
        .query(
            "SELECT attrelid::regclass::text, attname::text, format_type(atttypid, NULL) FROM pg_attribute
             JOIN pg_class c ON c.oid = attrelid JOIN pg_namespace n ON n.oid = relnamespace
             WHERE nspname IN ('shop', 'analytics') AND relkind IN ('r', 'v') AND attnum > 0 ORDER BY 1, attnum",
            &[],
        )
        .await
        .unwrap();
    for row in &rows {
        let (table, column): (String, (String, String)) = (row.get(0), (row.get(1), row.get(2)));
        match words.tables.last_mut() {
            Some((last, columns)) if *last == table => columns.push(column),
            _ => words.tables.push((table, vec![column])),
        }
    }
    assert!(words.functions.len() > 10 && words.operators.len() > 10 && words.tables.len() > 5);
    words
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn generated_statements_that_are_accepted_change_nothing() {
    let bench = Bench::start().await;
    let (seed, statements) = (number("GUARD_PG_SEED", SEED), number("GUARD_PG_STATEMENTS", STATEMENTS));
    let words = vocabulary(&bench).await;
    let mut numbers = Numbers::new(seed);
    let (mut well, mut failed, mut ended, mut refused) = (0, 0, 0, Vec::new());
    bench
        .unchanged(async |session| {
            for _ in 0..statements {
                let sql = Grammar::new(&words, &mut numbers).statement();
                let checked = match bench.judge(&sql) {
                    Ok(checked) => checked,
                    Err(refusal) => {
                        refused.push(format!("{}: {sql}", refusal.message));
                        continue;
                    }
                };
                match session.run(&checked).await {
                    Ended::Well => well += 1,
                    Ended::Failed(state) if state == "57014" => ended += 1,
                    Ended::Failed(_) => failed += 1,
                }
            }
        })
        .await;
    let found =
        format!("seed {seed}: {well} answered, {failed} failed, {ended} ended at the limit, {} refused", refused.len());
    println!("{found}");
    assert!(refused.len() * 10 < statements, "{found}\n{}", refused.join("\n"));
    assert!(well * 4 > statements, "{found}");
}

const OWN_SETUP: &str = include_str!("../../../guard/tests/corpus/own-setup.sql");
const OWN: &str = include_str!("../../../guard/tests/corpus/own.sql");
const HARMLESS: &str = include_str!("../../../guard/tests/corpus/harmless.sql");
const HOSTILE: &str = include_str!("../../../guard/tests/corpus/hostile.sql");

/// Parts of hostile statements in harmless ones and the other way round.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mutations_of_the_corpus_that_are_accepted_change_nothing() {
    let bench = Bench::start().await;
    mutations(&bench, &[HARMLESS, HOSTILE], 10 * number("GUARD_PG_STATEMENTS", STATEMENTS)).await;
}

/// The same in a database whose functions, operators, casts, domains, views and
/// policies write whenever something runs them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mutations_among_a_databases_own_code_change_nothing() {
    let mut bench = Bench::start().await;
    bench.admin.batch_execute(OWN_SETUP).await.unwrap();
    bench.look("own, shop, public").await;
    // More often what is about its own objects.
    mutations(&bench, &[OWN, OWN, OWN, HARMLESS, HOSTILE], 10 * number("GUARD_PG_STATEMENTS", STATEMENTS)).await;
}

async fn mutations(bench: &Bench, texts: &[&'static str], statements: usize) {
    let seed = number("GUARD_PG_SEED", SEED);
    let paragraphs = texts.iter().flat_map(|text| text.split("\n\n").skip(1));
    let corpus: Vec<Vec<&str>> = paragraphs.map(|text| words_of(text).collect()).collect();
    assert!(corpus.len() > 250);
    let mut numbers = Numbers::new(seed);
    let (mut accepted, mut answered) = (0, 0);
    bench
        .unchanged(async |session| {
            for _ in 0..statements {
                let mut words = numbers.pick(&corpus).clone();
                for _ in 0..=numbers.below(3) {
                    let other = numbers.pick(&corpus);
                    let from = numbers.below(other.len());
                    let taken = &other[from..(from + 1 + numbers.below(6)).min(other.len())];
                    let at = numbers.below(words.len() + 1);
                    let end = (at + numbers.below(4)).min(words.len());
                    words.splice(at..end, taken.iter().copied());
                }
                let sql = words.concat();
                if let Ok(checked) = bench.judge(&sql) {
                    accepted += 1;
                    answered += usize::from(matches!(session.run(&checked).await, Ended::Well));
                }
            }
        })
        .await;
    println!("seed {seed}: {accepted} of {statements} mutations were accepted, {answered} answered");
    assert!(accepted * 100 > statements, "seed {seed}: {accepted} of {statements} were accepted");
}

/// Words and what is between them, roughly as the scanner would cut.
fn words_of(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let first = rest.chars().next()?;
        let word = |c: char| c.is_alphanumeric() || c == '_';
        let end = if word(first) { rest.find(|c| !word(c)).unwrap_or(rest.len()) } else { first.len_utf8() };
        let (head, tail) = rest.split_at(end);
        rest = tail;
        Some(head)
    })
}
