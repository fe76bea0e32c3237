//! Each built-in that the guard allows, called with values of its arguments'
//! types, as a superuser and outside of any transaction of ours: nothing changes,
//! and each call ends in time and within the memory of one value.

use std::collections::BTreeSet;

use super::bench::{Bench, Ended};
use super::literals;

/// Calls of each overload, with other values each time; the last one has NULLs.
const VARIANTS: usize = 6;

struct Overload {
    name: String,
    /// 'f', 'a' or 'w', as in pg_proc.
    kind: String,
    arguments: Vec<String>,
    /// Of an ordered-set aggregate: how many arguments stand before WITHIN GROUP.
    direct: Option<usize>,
}

impl Overload {
    fn call(&self, variant: usize) -> String {
        let value = |(at, name): (usize, &String)| {
            let values = literals::of(name);
            match values.get((variant + at) % values.len().max(1)) {
                Some(value) if variant + 1 < VARIANTS => (*value).to_owned(),
                _ if literals::of(name).is_empty() => "NULL".to_owned(),
                // So that the server finds the overload that is meant.
                _ if name.starts_with("any") || name == "\"any\"" || name == "record" => "NULL::int".to_owned(),
                _ => format!("NULL::{name}"),
            }
        };
        let values: Vec<String> = self.arguments.iter().enumerate().map(value).collect();
        let name = format!("pg_catalog.\"{}\"", self.name);
        let call = match self.direct {
            Some(direct) => {
                let (before, ordered) = values.split_at(direct.min(values.len()));
                let ordered = if ordered.is_empty() { "n".to_owned() } else { ordered.join(", ") };
                format!("{name}({}) WITHIN GROUP (ORDER BY {ordered})", before.join(", "))
            }
            None if self.kind == "a" && values.is_empty() => format!("{name}(*)"),
            None if self.kind == "w" => format!("{name}({}) OVER (ORDER BY n)", values.join(", ")),
            None => format!("{name}({})", values.join(", ")),
        };
        // A function that returns a set is not asked for more than a page of it.
        format!("SELECT {call} FROM (VALUES (1), (2)) AS v(n) LIMIT 50")
    }
}

async fn overloads(bench: &Bench) -> Vec<Overload> {
    let rows = bench
        .admin
        .query(
            "SELECT proname::text, prokind::text,
                    ARRAY(SELECT format_type(t, NULL) FROM unnest(proargtypes::oid[]) WITH ORDINALITY a(t, at) ORDER BY at),
                    CASE WHEN aggkind IN ('o', 'h') THEN aggnumdirectargs::int END
             FROM pg_proc p LEFT JOIN pg_aggregate ON aggfnoid = p.oid
             WHERE pronamespace = 'pg_catalog'::regnamespace ORDER BY p.oid",
            &[],
        )
        .await
        .unwrap();
    rows.iter()
        .map(|row| Overload {
            name: row.get(0),
            kind: row.get(1),
            arguments: row.get(2),
            direct: row.get::<_, Option<i32>>(3).and_then(|direct| usize::try_from(direct).ok()),
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_allowed_function_changes_anything_or_runs_away() {
    let bench = Bench::start().await;
    let overloads = overloads(&bench).await;
    let (mut allowed, mut ran, mut broken) = (BTreeSet::new(), BTreeSet::new(), Vec::new());
    bench
        .unchanged(async |session| {
            for overload in &overloads {
                for variant in 0..VARIANTS {
                    let sql = overload.call(variant);
                    // Of current_setting() the guard wants to see the name.
                    let sql = sql.replace("current_setting('abc'", "current_setting('server_version'");
                    let Ok(checked) = bench.judge(&sql) else { continue };
                    allowed.insert(&overload.name);
                    match session.run(&checked).await {
                        Ended::Well => drop(ran.insert(&overload.name)),
                        // Damaged data, or a call that the limit had to end.
                        Ended::Failed(state) if ["XX001", "XX002", "57014"].contains(&state.as_str()) => {
                            broken.push(format!("{state} {sql}"));
                        }
                        Ended::Failed(_) => {}
                    }
                }
            }
        })
        .await;
    assert!(broken.is_empty(), "{} calls went wrong\n{broken:#?}", broken.len());
    assert!(allowed.len() > 1500, "{} functions were called", allowed.len());
    println!("{} functions were called, {} of them answered", allowed.len(), ran.len());
    let never: Vec<_> = allowed.difference(&ran).collect();
    assert!(ran.len() * 4 > allowed.len() * 3, "{} of {} answered, never: {never:?}", ran.len(), allowed.len());
}
