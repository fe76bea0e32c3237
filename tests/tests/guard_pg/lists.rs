//! The guard's lists of built-ins against the catalog of the running server.

use std::collections::{BTreeMap, BTreeSet};

use nla_guard::Rule;

use super::bench::Bench;

const FUNCTIONS_SQL: &str = include_str!("../../../guard/tools/functions.sql");
const OPERATORS_SQL: &str = include_str!("../../../guard/tools/operators.sql");
const BUILTIN: &str = include_str!("../../../guard/src/functions/builtin.txt");
const REVIEWED: &str = include_str!("../../../guard/src/functions/reviewed.txt");
const REFUSED: &str = include_str!("../../../guard/src/functions/refused.txt");
const OPERATORS: &str = include_str!("../../../guard/src/operators/builtin.txt");

/// What the lists say to do where a server knows a name that they do not.
const REGENERATE: &str = "run guard/tools/dump-catalog.sh and build-builtins.sh with this version";

fn lines(text: &'static str) -> impl Iterator<Item = &'static str> {
    text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'))
}

fn reviewed() -> BTreeSet<&'static str> {
    lines(REVIEWED).collect()
}

/// The names that the list allows on a server of this version.
fn listed(major: u16) -> BTreeSet<&'static str> {
    lines(BUILTIN)
        .filter_map(|line| {
            let mut part = line.split(' ');
            let (name, since, until) = (part.next()?, part.next()?.parse().ok()?, part.next()?.parse().ok()?);
            (since..=until).contains(&major).then_some(name)
        })
        .collect()
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Whether the guard lets a call of this name pass, which must be for the same
/// reason however the call is written.
fn allows(bench: &Bench, name: &str) -> bool {
    // The guard wants to see which setting is asked for.
    let argument = if name == "current_setting" { "'server_version'" } else { "" };
    let name = quoted(name);
    let forms = [
        format!("SELECT {name}({argument})"),
        format!("SELECT pg_catalog.{name}({argument})"),
        format!("SELECT * FROM ROWS FROM ({name}({argument})) AS r"),
        format!("SELECT 1 ORDER BY {name}({argument}) OVER ()"),
    ];
    let verdicts = forms.map(|sql| bench.judge(&sql).map_err(|refusal| refusal.rule));
    for verdict in &verdicts {
        let rule = verdict.as_ref().err();
        assert!(
            matches!(rule, None | Some(Rule::FunctionRefused | Rule::FunctionUnknown)),
            "{name} is refused by {rule:?}"
        );
        assert_eq!(verdict.is_ok(), verdicts[0].is_ok(), "{name} is judged by how it is written");
    }
    verdicts[0].is_ok()
}

struct Function {
    name: String,
    signature: String,
    volatile: bool,
    definer: bool,
    /// PostgreSQL itself has taken it from PUBLIC.
    revoked: bool,
    /// SQL cannot call it: internal arguments or answers, triggers, handlers.
    internal: bool,
}

async fn functions(bench: &Bench) -> Vec<Function> {
    let rows = bench
        .admin
        .query(
            "SELECT proname::text, oid::regprocedure::text, provolatile = 'v', prosecdef,
                    NOT has_function_privilege('nobody_in_particular', oid, 'EXECUTE'),
                    'internal'::regtype = ANY (proargtypes::oid[]) OR prorettype IN ('internal'::regtype,
                        'trigger'::regtype, 'event_trigger'::regtype, 'language_handler'::regtype)
             FROM pg_proc WHERE pronamespace = 'pg_catalog'::regnamespace ORDER BY 2",
            &[],
        )
        .await
        .unwrap();
    rows.iter()
        .map(|row| Function {
            name: row.get(0),
            signature: row.get(1),
            volatile: row.get(2),
            definer: row.get(3),
            revoked: row.get(4),
            internal: row.get(5),
        })
        .collect()
}

async fn start() -> Bench {
    let bench = Bench::start().await;
    bench.admin.batch_execute("CREATE ROLE nobody_in_particular").await.unwrap();
    bench
}

/// What is called by its name: the whole of pg_proc, and types, whose names can
/// be written as calls.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_function_of_the_server_is_on_the_list_or_refused() {
    let bench = start().await;
    let (listed, reviewed) = (listed(bench.major), reviewed());
    let functions = functions(&bench).await;
    assert!(functions.len() > 2500);
    let mut wrong = Vec::new();
    let mut verdicts = BTreeMap::new();
    for function in &functions {
        let name = function.name.as_str();
        let allowed = *verdicts.entry(name).or_insert_with(|| allows(&bench, name));
        if allowed != listed.contains(name) {
            wrong.push(format!("{name} passes: {allowed}, which the list does not say"));
        }
        let reasons = [
            (function.volatile && !reviewed.contains(name), "volatile and not reviewed"),
            (function.definer, "run with its owner's rights"),
            (function.revoked, "kept from ordinary roles by PostgreSQL itself"),
            (function.internal, "not for SQL"),
        ];
        let reasons = reasons.into_iter().filter(|(reason, _)| allowed && *reason);
        wrong.extend(reasons.map(|(_, reason)| format!("{} is allowed, but {reason}", function.signature)));
    }
    let types = bench
        .texts("SELECT typname::text FROM pg_type WHERE typnamespace = 'pg_catalog'::regnamespace ORDER BY 1")
        .await;
    let only_computes = "SELECT typname::text FROM pg_type t JOIN pg_proc p ON p.oid = typinput
        WHERE typnamespace = 'pg_catalog'::regnamespace AND typtype IN ('b', 'r', 'm') AND provolatile <> 'v'";
    let only_computes: BTreeSet<String> = bench.texts(only_computes).await.into_iter().collect();
    for name in &types {
        let allowed = *verdicts.entry(name).or_insert_with(|| allows(&bench, name));
        let function = functions.iter().any(|function| function.name == *name);
        if allowed && !function && !only_computes.contains(name) {
            wrong.push(format!("{name}(...) passes, but is no type whose values are only read"));
        }
    }
    for made_up in ["no_such_function", "pg_no_such_function", "lower2", "ＬＯＷＥＲ", "pg_catalog.lower"] {
        assert!(!allows(&bench, made_up), "{made_up}");
    }
    assert!(wrong.is_empty(), "{} wrong; {REGENERATE}\n{}", wrong.len(), wrong.join("\n"));
    let allowed = verdicts.values().filter(|allowed| **allowed).count();
    assert!(allowed > 1500, "{allowed} names are allowed: hardly anything would work");
}

/// A fresh dump of the running server leads to the lists that are there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn generating_the_lists_anew_changes_nothing() {
    let bench = Bench::start().await;
    let (listed, reviewed) = (listed(bench.major), reviewed());
    let refused: BTreeSet<&str> = lines(REFUSED).filter_map(|line| line.split(' ').next()).collect();
    let rows = bench.admin.query(FUNCTIONS_SQL, &[]).await.unwrap();
    let mut fresh = BTreeSet::new();
    for row in &rows {
        let (name, volatilities): (&str, &str) = (row.get(0), row.get(1));
        let look = volatilities.contains('v') || ["pg_", "lo_", "binary_upgrade"].iter().any(|p| name.starts_with(p));
        assert!(!look || reviewed.contains(name) || refused.contains(name), "{name} needs a review; {REGENERATE}");
        if !refused.contains(name) {
            fresh.insert(name);
        }
    }
    let differ: Vec<_> = fresh.symmetric_difference(&listed).collect();
    assert!(differ.is_empty(), "{differ:?}; {REGENERATE}");
    let operators: BTreeSet<&str> = OPERATORS.lines().skip(1).collect();
    let rows = bench.admin.query(OPERATORS_SQL, &[]).await.unwrap();
    let missing: Vec<&str> = rows.iter().map(|row| row.get(0)).filter(|name| !operators.contains(name)).collect();
    assert!(missing.is_empty(), "{missing:?}; {REGENERATE}");
}

/// What runs without being called by its name: behind operators, casts, types,
/// aggregates, and in the bodies of functions that are written in SQL.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_runs_unnamed_only_computes_too() {
    let bench = start().await;
    let listed = listed(bench.major);
    for operator in bench.texts("SELECT DISTINCT oprname::text FROM pg_operator").await {
        let sql = format!("SELECT 1 OPERATOR(pg_catalog.{operator}) 1");
        assert!(bench.judge(&sql).is_ok(), "{operator}");
    }
    let behind = [
        ("the operator", "SELECT oprname::text, oprcode FROM pg_operator WHERE oprcode <> 0"),
        ("the restriction of operator", "SELECT oprname::text, oprrest FROM pg_operator WHERE oprrest <> 0"),
        ("the cast to", "SELECT casttarget::regtype::text, castfunc FROM pg_cast WHERE castfunc <> 0"),
        // Types that no statement can write a value of have input functions that only fail.
        (
            "a literal of",
            "SELECT typname::text, f FROM pg_type, unnest(ARRAY[typinput, typmodin]) f
             WHERE f <> 0 AND typtype IN ('b', 'r', 'm', 'e', 'c') AND typcategory <> 'Z'",
        ),
        (
            "a value of",
            "SELECT typname::text, typoutput FROM pg_type WHERE typtype IN ('b', 'r', 'm', 'e', 'c') AND typcategory <> 'Z'",
        ),
        (
            "the aggregate",
            "SELECT aggfnoid::regproc::text, f FROM pg_aggregate, unnest(ARRAY[aggtransfn, aggfinalfn, aggcombinefn,
                aggserialfn, aggdeserialfn, aggmtransfn, aggminvtransfn, aggmfinalfn]) f WHERE f <> 0",
        ),
        ("the estimate of", "SELECT proname::text, prosupport FROM pg_proc WHERE prosupport <> 0"),
        // The tree of a body names what it calls.
        (
            "the body of",
            "SELECT proname::text, called[1]::oid FROM pg_proc,
                regexp_matches(prosqlbody::text, ':(?:funcid|opfuncid|aggfnoid) (\\d+)', 'g') called
             WHERE prosqlbody IS NOT NULL AND pronamespace = 'pg_catalog'::regnamespace",
        ),
    ];
    let mut wrong = Vec::new();
    for (what, pairs) in behind {
        let rows = bench
            .admin
            .query(
                &format!(
                    "SELECT by.name, p.proname::text, p.provolatile = 'v', p.prosecdef,
                            NOT has_function_privilege('nobody_in_particular', p.oid, 'EXECUTE')
                     FROM ({pairs}) by(name, oid) JOIN pg_proc p ON p.oid = by.oid
                     WHERE p.pronamespace = 'pg_catalog'::regnamespace"
                ),
                &[],
            )
            .await
            .unwrap();
        let mut seen = 0;
        for row in &rows {
            let (by, name): (&str, &str) = (row.get(0), row.get(1));
            let callable = (what == "the aggregate" || what == "the body of" || what == "the estimate of")
                .then_some(by)
                .is_none_or(|by| listed.contains(by.trim_matches('"')));
            if !callable {
                continue;
            }
            seen += 1;
            if row.get::<_, bool>(2) && !reviewed().contains(name) || row.get(3) || row.get(4) {
                wrong.push(format!("{what} {by} runs {name}, which does more than compute"));
            }
            if lines(REFUSED).any(|line| line.split(' ').next() == Some(name)) && !INTERNAL_ONLY.contains(&name) {
                wrong.push(format!("{what} {by} runs {name}, which is refused by name"));
            }
        }
        // Versions before 14 kept bodies as text.
        assert!(seen > 10, "{what}: {seen}");
    }
    assert!(wrong.is_empty(), "{} wrong\n{}", wrong.len(), wrong.join("\n"));
}

/// Refused by name because nobody needs to call them, harmless where they run.
const INTERNAL_ONLY: &[&str] = &[
    // Input and output of statistics and trees, which only fail or print.
    "pg_node_tree_in",
    "pg_node_tree_out",
    "pg_ndistinct_in",
    "pg_ndistinct_out",
    "pg_dependencies_in",
    "pg_dependencies_out",
    "pg_mcv_list_in",
    "pg_mcv_list_out",
    // Refused because the type is an argument, so that they could check a value
    // against any domain; in a literal or a cast the guard sees the type.
    "array_in",
    "domain_in",
    "multirange_in",
    "range_in",
    "record_in",
    // Takes minutes for some texts; of a cast to xml the guard sees the type.
    "xml_in",
];
