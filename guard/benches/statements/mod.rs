//! The statements that are measured: short, of a usual length, and 20 KB.

use std::sync::Arc;

use nla_guard::{Catalog, Rules};

/// The rules as an edge has them: with what the database holds.
pub(crate) fn rules() -> Rules {
    let catalog = Catalog::from_json(include_bytes!("../../fuzz/facts.json"))
        .expect("facts.json is stale: run guard/tools/dump-facts.sh");
    Rules { catalog: Some(Arc::new(catalog)), ..Rules::default() }
}

/// Name and text of each statement.
pub(crate) fn all() -> Vec<(&'static str, String)> {
    vec![
        ("small", "SELECT id, name FROM customers WHERE id = 42".to_owned()),
        ("medium", MEDIUM.to_owned()),
        ("20 KB of CASE and joins", long()),
        ("20 KB of IN list", listed()),
    ]
}

const MEDIUM: &str = "
WITH months AS (
    SELECT date_trunc('month', o.placed_at) AS month, c.country, sum(l.quantity * l.price) AS revenue
    FROM orders o
    JOIN order_lines l ON l.order_id = o.id
    JOIN customers c ON c.id = o.customer_id
    WHERE o.placed_at >= now() - interval '1 year' AND o.status IN ('paid', 'shipped', 'delivered')
    GROUP BY 1, 2
)
SELECT month, country, round(revenue, 2) AS revenue,
       rank() OVER (PARTITION BY month ORDER BY revenue DESC) AS place,
       lag(revenue) OVER (PARTITION BY country ORDER BY month) AS before,
       CASE WHEN revenue > 10000 THEN 'large' WHEN revenue > 1000 THEN 'middle' ELSE 'small' END AS size
FROM months
WHERE coalesce(country, '') <> '' AND EXISTS (SELECT 1 FROM countries k WHERE k.code = months.country AND k.active)
ORDER BY month DESC, revenue DESC
LIMIT 100";

const LONG_BYTES: usize = 20 * 1024;

/// As reports that a program writes: the same shape many times over.
fn long() -> String {
    let part = |n: usize| {
        format!(
            "SELECT '{n}' AS part, c.country, count(*) FILTER (WHERE o.status = 'paid') AS paid,
       sum(CASE WHEN o.total > {n} THEN o.total * 2 - o.discount ELSE 0 END)::numeric(12, 2) AS weighted
FROM orders o LEFT JOIN customers c ON c.id = o.customer_id AND c.active
WHERE o.placed_at BETWEEN date '2024-01-01' AND date '2024-12-31' AND upper(c.name) LIKE 'a%' AND o.id % 100 = {n}
GROUP BY c.country HAVING count(*) > {n}"
        )
    };
    let mut text = part(0);
    let mut n = 1;
    while text.len() < LONG_BYTES {
        text.push_str("\nUNION ALL\n");
        text.push_str(&part(n));
        n += 1;
    }
    text
}

/// As a model writes that was told a list of keys.
fn listed() -> String {
    let mut text = "SELECT id, name FROM customers WHERE id IN (1".to_owned();
    let mut n = 1_000_000;
    while text.len() < LONG_BYTES {
        text.push_str(&format!(", {n}"));
        n += 37;
    }
    text.push(')');
    text
}
