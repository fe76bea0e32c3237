//! The sample in a real server: what it holds and what its reader may do.

use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use crate::postgres::SUPERUSER;

use super::*;

async fn count(client: &Client, query: &str) -> i64 {
    client.query_one(query, &[]).await.unwrap().get(0)
}

#[tokio::test]
async fn the_rows_are_the_same_everywhere() {
    let shop = start_temporary().await.unwrap();
    let client = shop.postgres.connect_as_superuser(DATABASE).await.unwrap();
    for (query, expected) in [
        ("SELECT count(*) FROM shop.tenants", 2),
        ("SELECT count(*) FROM shop.customers", 6_000),
        ("SELECT count(*) FROM shop.products", 800),
        ("SELECT count(*) FROM shop.orders", 15_000),
        ("SELECT count(*) FROM shop.order_items", 30_000),
        ("SELECT count(*) FROM shop.payments", 14_388),
        ("SELECT count(*) FROM shop.orders WHERE tenant_id = 1", 7_500),
        ("SELECT sum(total * 100)::bigint FROM shop.orders", 2_313_589_468),
        ("SELECT count(*) FROM pg_inherits WHERE inhparent = 'shop.payments'::regclass", 18),
        ("SELECT count(*) FROM analytics.monthly_revenue", 36),
        ("SELECT count(*) FROM shop.customers WHERE note = ''", 143),
        // What must never be: an order of one tenant with another's customer or
        // goods, a total that is not the sum of its lines, a wrong IBAN.
        (
            "SELECT count(*) FROM shop.orders o JOIN shop.customers c ON c.id = o.customer_id AND c.tenant_id <> o.tenant_id",
            0,
        ),
        (
            "SELECT count(*) FROM shop.orders o WHERE total <> (SELECT sum(amount) FROM shop.order_items i WHERE i.order_id = o.id)",
            0,
        ),
        (
            "SELECT count(*) FROM shop.payments WHERE (substr(iban, 5) || '1314' || substr(iban, 3, 2))::numeric % 97 <> 1",
            0,
        ),
        ("SELECT count(*) FROM shop.customers WHERE email !~ '^[a-z.0-9]+@example\\.com$'", 0),
    ] {
        assert_eq!(count(&client, query).await, expected, "{query}");
    }
    let owned = "SELECT count(*) FROM pg_class WHERE relnamespace = 'shop'::regnamespace AND relkind IN ('r', 'p', 'v')
        AND pg_get_userbyid(relowner) <> 'shop_owner'";
    assert_eq!(count(&client, owned).await, 0);
}

#[tokio::test]
async fn the_reader_reads_and_does_nothing_else() {
    let shop = start_temporary().await.unwrap();
    let sample = &shop.sample;
    let connect = |database| shop.postgres.connect(database, sample.reader, &sample.reader_password);
    let client = connect(DATABASE).await.unwrap();
    assert_eq!(count(&client, "SELECT count(*) FROM shop.customers").await, 6_000);
    assert_eq!(count(&client, "SELECT count(*) FROM analytics.monthly_revenue").await, 36);
    for statement in [
        "INSERT INTO shop.tenants VALUES (3, 'x', 'X', 'DE', now())",
        "UPDATE shop.customers SET note = NULL",
        "DELETE FROM shop.payments",
        "TRUNCATE shop.orders",
        "CREATE TABLE shop.mine (id int)",
        "CREATE TABLE public.mine (id int)",
        "CREATE TEMP TABLE mine (id int)",
        "CREATE SCHEMA mine",
        "SET ROLE shop_owner",
        "COPY shop.tenants TO PROGRAM 'cat'",
        "SELECT rolpassword FROM pg_authid",
        "SELECT pg_read_file('postgresql.conf')",
    ] {
        let error = client.batch_execute(statement).await.unwrap_err();
        assert_eq!(error.code(), Some(&SqlState::INSUFFICIENT_PRIVILEGE), "{statement}: {error}");
    }
    for database in ["postgres", "template1"] {
        assert!(connect(database).await.is_err(), "{database} is not for the reader");
    }
}

#[tokio::test]
async fn a_copy_has_passwords_of_its_own_and_loading_again_renews_the_readers() {
    let (first, second) = tokio::join!(start_temporary(), start_temporary());
    let (first, second) = (first.unwrap(), second.unwrap());
    let (postgres, sample) = (&first.postgres, &first.sample);
    assert_ne!(postgres.superuser_password(), second.postgres.superuser_password());
    assert_ne!(sample.reader_password, second.sample.reader_password);
    assert!(postgres.connect("postgres", SUPERUSER, second.postgres.superuser_password()).await.is_err());

    let again = load(postgres).await.unwrap();
    assert!(postgres.connect(DATABASE, READER, &sample.reader_password).await.is_err());
    let client = postgres.connect(DATABASE, READER, &again.reader_password).await.unwrap();
    assert_eq!(count(&client, "SELECT count(*) FROM shop.orders").await, 15_000);
}

#[tokio::test]
async fn loading_from_nothing_is_quick() {
    let folder = tempfile::Builder::new().prefix("nla-pg-").tempdir().unwrap();
    let postgres = Postgres::start(Options::new(folder.path()).throw_away()).await.unwrap();
    let started = std::time::Instant::now();
    load(&postgres).await.unwrap();
    // 0.8 s on an idle machine; the bound leaves room for a busy one.
    assert!(started.elapsed().as_secs() < 10, "{:?}", started.elapsed());
}
