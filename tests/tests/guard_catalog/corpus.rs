//! The corpus of `own.sql` against the guard alone, with the catalog of a real
//! database; what it lets through is run, to see that nothing is touched and
//! that PostgreSQL finds what the guard found.

use std::sync::Arc;

use nla_guard::{Catalog, Rules, catalog::FACTS_SQL, check};
use nla_sandbox::postgres::{Options, Postgres};
use tokio_postgres::{Client, SimpleQueryMessage};

pub(crate) const SETUP: &str = include_str!("../../../guard/tests/corpus/own-setup.sql");
const CASES: &str = include_str!("../../../guard/tests/corpus/own.sql");

pub(crate) struct Case {
    pub(crate) sql: &'static str,
    pub(crate) refuse: Option<&'static str>,
}

pub(crate) fn cases() -> Vec<Case> {
    let paragraphs = CASES.split("\n\n").filter(|paragraph| !paragraph.starts_with("-- Statements that must"));
    paragraphs
        .map(|paragraph| match paragraph.strip_prefix("-- refuse: ").and_then(|rest| rest.split_once('\n')) {
            Some((refuse, sql)) => Case { sql, refuse: Some(refuse) },
            None => Case { sql: paragraph, refuse: None },
        })
        .collect()
}

pub(super) async fn catalog(client: &Client) -> Catalog {
    let answer = client.simple_query(&format!("BEGIN READ ONLY; {FACTS_SQL}; ROLLBACK")).await.unwrap();
    let json = answer.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0),
        _ => None,
    });
    Catalog::from_json(json.unwrap().as_bytes()).unwrap()
}

pub(crate) async fn touched(client: &Client) -> i64 {
    client.query_one("SELECT last_value + is_called::int FROM own.touched", &[]).await.unwrap().get(0)
}

#[tokio::test]
async fn each_is_judged_by_what_the_database_holds() {
    let folder = tempfile::tempdir().unwrap();
    let postgres = Postgres::start(Options::new(folder.path())).await.unwrap();
    let admin = postgres.connect_as_superuser("postgres").await.unwrap();
    admin.batch_execute("ALTER DATABASE postgres SET search_path = own, public").await.unwrap();
    admin.batch_execute(SETUP).await.unwrap_or_else(|error| panic!("{error:?}"));
    let client = postgres.connect_as_superuser("postgres").await.unwrap();
    let catalog = Arc::new(catalog(&client).await);
    assert_eq!(catalog.search_path(), "pg_catalog, \"own\", \"public\", pg_temp");
    let rules = Rules { catalog: Some(Arc::clone(&catalog)), ..Rules::default() };
    client.batch_execute(&format!("SET search_path = {}", catalog.search_path())).await.unwrap();

    let before = touched(&client).await;
    let mut wrong = Vec::new();
    let (mut refused, mut answered) = (0, 0);
    for case in cases() {
        match (check(case.sql, &rules), case.refuse) {
            (Ok(checked), None) => {
                answered += 1;
                if let Err(error) = client.simple_query(checked.sql()).await {
                    wrong.push(format!("{}\n    must be answered: {error:?}", case.sql));
                }
            }
            (Err(refusal), Some(rule)) if refusal.code() == rule => refused += 1,
            (Ok(_), Some(rule)) => wrong.push(format!("{}\n    passed, must be refused by {rule}", case.sql)),
            (Err(refusal), wanted) => {
                wrong.push(format!("{}\n    {} instead of {wanted:?}: {refusal}", case.sql, refusal.code()));
            }
        }
    }
    assert!(wrong.is_empty(), "{} wrong\n{}", wrong.len(), wrong.join("\n"));
    assert_eq!(touched(&client).await, before, "something that passed has written");
    assert!(refused > 60 && answered > 30, "{refused} refused, {answered} answered");
}

#[tokio::test]
async fn an_explanation_names_what_the_search_path_leads_to() {
    let folder = tempfile::tempdir().unwrap();
    let postgres = Postgres::start(Options::new(folder.path())).await.unwrap();
    let client = postgres.connect_as_superuser("postgres").await.unwrap();
    client
        .batch_execute(
            "CREATE TABLE public.orders (id int);
             CREATE FUNCTION public.net(int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT $1';
             CREATE FUNCTION public.bump() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        )
        .await
        .unwrap();
    let rules = Rules {
        catalog: Some(Arc::new(catalog(&client).await)),
        functions: ["public.bump".to_owned()].into(),
        ..Rules::default()
    };
    let sql = "SELECT net(id), bump(), lower('a') FROM orders, pg_class";
    let decided = check(sql, &rules).unwrap().decided(&rules);
    let found: Vec<_> = decided.iter().map(|decision| (decision.kind, decision.name.as_str())).collect();
    assert_eq!(
        found,
        [
            ("relation", "pg_catalog.pg_class"),
            ("relation", "public.orders"),
            ("function", "bump"),
            ("function", "pg_catalog.lower"),
            ("function", "public.net"),
        ]
    );
    client.batch_execute("CREATE SCHEMA aside; CREATE TABLE aside.bills (id int)").await.unwrap();
    let rules = Rules { catalog: Some(Arc::new(self::catalog(&client).await)), ..Rules::default() };
    assert_eq!(
        check("SELECT * FROM bills", &rules).unwrap_err().hint,
        "There is aside.bills: write the schema before the table."
    );
    assert_eq!(decided[2].why, "the role names it");
    assert!(decided[4].why.contains("neither VOLATILE nor SECURITY DEFINER"), "{}", decided[4].why);
}
