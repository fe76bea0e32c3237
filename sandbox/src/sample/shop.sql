-- The sample database: two companies that share one shop system, with the kinds
-- of personal data that make people careful. Every value is computed from row
-- numbers, so each load gives the same rows on every machine and version.
-- No value belongs to a real person: addresses end in example.com, telephone
-- numbers come from the range reserved for fiction, bank codes are all zeros.
-- Foreign keys and indexes come after the rows, which halves the load time.

BEGIN;

CREATE SCHEMA shop;
CREATE SCHEMA analytics;
COMMENT ON SCHEMA shop IS 'Customers, products, orders and payments of both tenants';
COMMENT ON SCHEMA analytics IS 'Read-only summaries for reporting';
SET LOCAL search_path = shop, pg_temp;

CREATE TYPE order_status AS ENUM ('pending', 'paid', 'shipped', 'delivered', 'cancelled', 'refunded');
COMMENT ON TYPE order_status IS 'Life of an order; cancelled before payment, refunded after it';

CREATE TABLE tenants (
    id          integer PRIMARY KEY,
    slug        text NOT NULL UNIQUE CHECK (slug ~ '^[a-z][a-z0-9-]*$'),
    name        text NOT NULL,
    country     char(2) NOT NULL,
    created_at  timestamptz NOT NULL
);
COMMENT ON TABLE tenants IS 'Companies that use this shop system; every other table names one';
COMMENT ON COLUMN tenants.slug IS 'Short name used in addresses';

INSERT INTO tenants VALUES
    (1, 'alder-oak', 'Alder & Oak Furniture', 'DE', '2024-11-04 09:00+00'),
    (2, 'bluefin', 'Bluefin Outdoor', 'US', '2024-12-12 15:30+00');

CREATE TABLE customers (
    id           bigint PRIMARY KEY,
    tenant_id    integer NOT NULL,
    first_name   text NOT NULL,
    last_name    text NOT NULL,
    email        text NOT NULL CHECK (email LIKE '%_@_%'),
    phone        text,
    birth_date   date CHECK (birth_date > '1900-01-01'),
    city         text NOT NULL,
    country      char(2) NOT NULL,
    tags         text[] NOT NULL DEFAULT '{}',
    preferences  jsonb NOT NULL DEFAULT '{}',
    note         text,
    referred_by  bigint,
    created_at   timestamptz NOT NULL,
    UNIQUE (tenant_id, id),
    UNIQUE (tenant_id, email)
);
COMMENT ON TABLE customers IS 'People who buy; holds personal data';
COMMENT ON COLUMN customers.email IS 'Personal data: address to write to, unique within a tenant';
COMMENT ON COLUMN customers.phone IS 'Personal data: international format; NULL when not given';
COMMENT ON COLUMN customers.birth_date IS 'Personal data';
COMMENT ON COLUMN customers.note IS 'Free text by the support team; NULL when nobody wrote one, empty when it was erased';
COMMENT ON COLUMN customers.referred_by IS 'Customer of the same tenant who brought this one';

INSERT INTO customers
SELECT n, tenant, first, last,
       lower(translate(first || '.' || last, 'áéíóëıłñöüåÅÉŁŞ'' ', 'aeioeilnouaaels')) || '.' || n || '@example.com',
       CASE WHEN n % 9 <> 0 THEN '+1 202 555 ' || lpad((100 + n % 100)::text, 4, '0') END,
       CASE WHEN n % 13 <> 0 THEN date '1942-03-01' + (n * 7919 % 23700) END,
       (CASE tenant WHEN 1 THEN '{Berlin,Hamburg,München,Köln,Wien,Zürich,Paris}'
                    ELSE '{Portland,Denver,Austin,Boise,Seattle,Montréal,Tucson}' END::text[])[1 + n * 31 % 7],
       (CASE tenant WHEN 1 THEN '{DE,DE,DE,DE,AT,CH,FR}' ELSE '{US,US,US,US,US,CA,US}' END::text[])[1 + n * 31 % 7],
       CASE WHEN n % 50 = 0 THEN '{vip,newsletter}' WHEN n % 7 = 0 THEN '{newsletter}'
            WHEN n % 11 = 0 THEN '{wholesale,"pays late"}' ELSE '{}' END::text[],
       jsonb_build_object('language', CASE tenant WHEN 1 THEN 'de' ELSE 'en' END,
                          'contact', CASE n % 3 WHEN 0 THEN 'email' WHEN 1 THEN 'phone' ELSE 'none' END,
                          'newsletter', n % 7 = 0,
                          'sizes', CASE WHEN n % 5 = 0 THEN jsonb_build_array('M', 42) ELSE '[]' END),
       CASE WHEN n % 40 = 0 THEN E'Called on Monday.\nWants delivery after 17:00.\tRing twice.'
            WHEN n % 41 = 0 THEN '' END,
       CASE WHEN n % 20 = 0 THEN n - 10 END,
       timestamptz '2024-12-15 08:00+00' + n * interval '97 minutes'
FROM (SELECT n, 1 + n % 2 AS tenant,
             ('{Anna,Ben,Clara,David,Émile,Fatima,Giulia,Hiro,Ines,José,Kwame,Łukasz,Maya,Noah,Olga,Priya,Quinn,Rosa,Sven,Tomás,Ulla,Viktor,Wen,Ximena,Yusuf,Zoë}'::text[])[1 + n * 17 % 26] AS first,
             ('{Abebe,Bauer,Costa,Dubois,Eriksen,Fischer,García,Haddad,Ivanova,Jansen,Kowalska,Lindgren,Müller,Nguyen,O''Brien,Park,Quist,Rossi,Şahin,Tanaka,Underwood,Varga,Weber,Xu,Yılmaz,Zimmer,Ångström,"van der Berg"}'::text[])[1 + n * 11 % 28] AS last
      FROM generate_series(1, 6000) n) people;

CREATE TABLE products (
    id          bigint PRIMARY KEY,
    tenant_id   integer NOT NULL,
    sku         text NOT NULL,
    name        text NOT NULL,
    category    text NOT NULL,
    price       numeric(12, 2) NOT NULL CHECK (price >= 0),
    attributes  jsonb NOT NULL DEFAULT '{}',
    active      boolean NOT NULL DEFAULT true,
    UNIQUE (tenant_id, id),
    UNIQUE (tenant_id, sku)
);
COMMENT ON TABLE products IS 'What a tenant sells';
COMMENT ON COLUMN products.price IS 'Current price in the tenant''s currency, tax included';

INSERT INTO products
SELECT n, tenant, upper(left(category, 3)) || '-' || lpad(n::text, 5, '0'),
       ('{Plain,Classic,Light,Sturdy,Folding,Compact,Grand}'::text[])[1 + n * 3 % 7] || ' ' || category || ' ' || n,
       category, (9.95 + n * 7919 % 60000 / 100.0)::numeric(12, 2),
       jsonb_build_object('weight_kg', n % 40 + 0.5, 'colours', jsonb_build_array('oak', 'black')), n % 17 <> 0
FROM (SELECT n, 1 + n % 2 AS tenant,
             (CASE 1 + n % 2 WHEN 1 THEN '{table,chair,shelf,lamp}' ELSE '{tent,rucksack,stove,lantern}' END::text[])[1 + n / 2 % 4] AS category
      FROM generate_series(1, 800) n) goods;

CREATE TABLE orders (
    id           bigint PRIMARY KEY,
    tenant_id    integer NOT NULL,
    customer_id  bigint NOT NULL,
    reference    uuid NOT NULL UNIQUE,
    status       order_status NOT NULL,
    currency     char(3) NOT NULL CHECK (currency IN ('EUR', 'USD')),
    total        numeric(12, 2) NOT NULL CHECK (total >= 0),
    placed_at    timestamptz NOT NULL,
    shipped_at   timestamptz CHECK (shipped_at >= placed_at),
    UNIQUE (tenant_id, id)
);
COMMENT ON TABLE orders IS 'One row for each order; its lines are in order_items';
COMMENT ON COLUMN orders.reference IS 'Number shown to the customer';
COMMENT ON COLUMN orders.total IS 'Sum of the lines at the time of the order';

CREATE TABLE order_items (
    order_id    bigint NOT NULL,
    line        smallint NOT NULL CHECK (line > 0),
    tenant_id   integer NOT NULL,
    product_id  bigint NOT NULL,
    quantity    integer NOT NULL CHECK (quantity BETWEEN 1 AND 100),
    unit_price  numeric(12, 2) NOT NULL CHECK (unit_price >= 0),
    amount      numeric(12, 2) GENERATED ALWAYS AS (quantity * unit_price) STORED,
    PRIMARY KEY (order_id, line)
);
COMMENT ON TABLE order_items IS 'Lines of the orders';
COMMENT ON COLUMN order_items.unit_price IS 'Price at the time of the order; may differ from products.price';

-- A product of the order's own tenant: ids of tenant 1 are even, of tenant 2 odd.
INSERT INTO order_items (order_id, line, tenant_id, product_id, quantity, unit_price)
SELECT o, line, p.tenant_id, p.id, 1 + (o + line * 3) % 4, p.price
FROM generate_series(1, 15000) o
CROSS JOIN LATERAL generate_series(1, 1 + o % 3) line
JOIN products p ON p.id = 2 * ((o * 37 + line * 101) % 399) + 2 - (o % 2);

INSERT INTO orders
SELECT o, tenant_id, 2 * (o * 53 % 2999) + 2 - (o % 2), md5('order ' || o)::uuid, status,
       CASE tenant_id WHEN 1 THEN 'EUR' ELSE 'USD' END, total, placed_at,
       CASE WHEN status IN ('shipped', 'delivered', 'refunded') THEN placed_at + (1 + o % 5) * interval '1 day' END
FROM (SELECT order_id AS o, tenant_id, sum(amount) AS total,
             timestamptz '2025-01-01 00:10+00' + order_id * interval '52 minutes' AS placed_at,
             (CASE WHEN order_id % 29 = 0 THEN 'cancelled' WHEN order_id % 43 = 0 THEN 'refunded'
                   WHEN order_id > 14900 THEN 'pending' WHEN order_id > 14700 THEN 'paid'
                   WHEN order_id > 14400 THEN 'shipped' ELSE 'delivered' END)::order_status AS status
      FROM order_items GROUP BY order_id, tenant_id) summed
ORDER BY o;

CREATE TABLE payments (
    id          bigint NOT NULL,
    tenant_id   integer NOT NULL,
    order_id    bigint NOT NULL,
    method      text NOT NULL CHECK (method IN ('card', 'transfer')),
    card_last4  char(4) CHECK (card_last4 ~ '^[0-9]{4}$'),
    iban        text CHECK (iban ~ '^[A-Z]{2}[0-9]{2}[A-Z0-9]{11,30}$'),
    amount      numeric(12, 2) NOT NULL CHECK (amount >= 0),
    paid_at     timestamptz NOT NULL,
    PRIMARY KEY (id, paid_at),
    CHECK ((method = 'card') = (card_last4 IS NOT NULL) AND (method = 'transfer') = (iban IS NOT NULL))
) PARTITION BY RANGE (paid_at);
COMMENT ON TABLE payments IS 'Money received, one partition for each month';
COMMENT ON COLUMN payments.card_last4 IS 'Payment data: last four digits of the card';
COMMENT ON COLUMN payments.iban IS 'Payment data: account that paid';

DO $$
BEGIN
    FOR month IN 0..17 LOOP
        EXECUTE format('CREATE TABLE shop.payments_%s PARTITION OF shop.payments FOR VALUES FROM (%L) TO (%L)',
            to_char(date '2025-01-01' + month * interval '1 month', 'YYYY_MM'),
            (timestamp '2025-01-01' + month * interval '1 month') AT TIME ZONE 'UTC',
            (timestamp '2025-01-01' + (month + 1) * interval '1 month') AT TIME ZONE 'UTC');
    END LOOP;
END $$;

-- The check digits are right, so that software which validates an IBAN accepts it.
INSERT INTO payments
SELECT id, tenant_id, id, CASE WHEN by_card THEN 'card' ELSE 'transfer' END,
       CASE WHEN by_card THEN lpad((id * 7919 % 10000)::text, 4, '0') END,
       CASE WHEN NOT by_card THEN 'DE' || lpad((98 - (account || '131400')::numeric % 97)::text, 2, '0') || account END,
       total, placed_at + (3 + id % 600) * interval '1 minute'
FROM (SELECT *, id % 5 < 3 AS by_card, lpad((customer_id * 104729)::text, 18, '0') AS account
      FROM orders WHERE status NOT IN ('pending', 'cancelled')) paid;

ALTER TABLE customers ADD FOREIGN KEY (tenant_id) REFERENCES tenants,
    ADD FOREIGN KEY (tenant_id, referred_by) REFERENCES customers (tenant_id, id);
ALTER TABLE products ADD FOREIGN KEY (tenant_id) REFERENCES tenants;
ALTER TABLE orders ADD FOREIGN KEY (tenant_id, customer_id) REFERENCES customers (tenant_id, id);
ALTER TABLE order_items ADD FOREIGN KEY (tenant_id, order_id) REFERENCES orders (tenant_id, id),
    ADD FOREIGN KEY (tenant_id, product_id) REFERENCES products (tenant_id, id);
ALTER TABLE payments ADD FOREIGN KEY (tenant_id, order_id) REFERENCES orders (tenant_id, id);

CREATE INDEX customers_last_name ON customers (tenant_id, lower(last_name));
CREATE INDEX customers_tags ON customers USING gin (tags);
CREATE INDEX orders_customer ON orders (tenant_id, customer_id);
CREATE INDEX orders_placed_at ON orders (placed_at);
CREATE INDEX orders_open ON orders (tenant_id, placed_at) WHERE status IN ('pending', 'paid');
CREATE INDEX order_items_product ON order_items (tenant_id, product_id);
CREATE INDEX payments_order ON payments (tenant_id, order_id);

CREATE VIEW analytics.monthly_revenue AS
SELECT tenants.slug AS tenant, date_trunc('month', paid_at, 'UTC')::date AS month,
       count(*) AS payments, sum(amount) AS revenue
FROM payments JOIN tenants ON tenants.id = payments.tenant_id
GROUP BY 1, 2;
COMMENT ON VIEW analytics.monthly_revenue IS 'Money received by tenant and calendar month (UTC)';

-- Whoever reads gets these rights and no others: no temporary tables, nothing
-- in schema public, no other database (sample/mod.rs closes those).
GRANT USAGE ON SCHEMA shop, analytics TO nla_reader;
GRANT SELECT ON ALL TABLES IN SCHEMA shop, analytics TO nla_reader;

COMMIT;
