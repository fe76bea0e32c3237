//! The database that the demo queries: a private PostgreSQL with sample data,
//! or the user's own.

use std::{net::IpAddr, path::Path};

use anyhow::{Context as _, Result, bail};
use nla_domain::{database::SslMode, secret::Secret};
use nla_proto::{convert, v1};
use tokio_postgres::config::Host;

use super::Arguments;
use crate::{
    postgres::{Options, Postgres},
    sample::{self, Sample},
    system::sample_database,
};

/// What the demo queries.
#[derive(Debug)]
pub(super) enum Target {
    /// Started by the demo.
    Sample(Box<Postgres>, Sample),
    /// Somebody else's.
    Own(Own),
}

/// The user's database, as its URL says.
#[derive(Debug)]
pub(super) struct Own {
    definition: v1::Database,
    username: String,
    password: Secret,
    url: String,
}

impl Target {
    pub(super) fn what(arguments: &Arguments) -> &'static str {
        if arguments.postgres_url.is_some() { "your database" } else { "PostgreSQL with 66,000 rows of sample data" }
    }

    pub(super) async fn prepare(arguments: &Arguments, folder: &Path) -> Result<Self> {
        if let Some(url) = &arguments.postgres_url {
            let password = std::env::var("PGPASSWORD").ok().map(Secret::new);
            return own(url, password).map(Self::Own);
        }
        let postgres = Postgres::start(Options::new(folder.join("postgres"))).await?;
        let sample = sample::load(&postgres).await?;
        Ok(Self::Sample(Box::new(postgres), sample))
    }

    pub(super) async fn stop(self) {
        if let Self::Sample(postgres, _) = self {
            postgres.stop().await;
        }
    }

    /// For the control plane.
    pub(super) fn definition(&self) -> Result<v1::Database> {
        match self {
            Self::Sample(postgres, _) => sample_database(postgres),
            Self::Own(own) => Ok(own.definition.clone()),
        }
    }

    pub(super) fn login(&self) -> (&str, &Secret) {
        match self {
            Self::Sample(_, sample) => (sample.reader, &sample.reader_password),
            Self::Own(own) => (&own.username, &own.password),
        }
    }

    /// For `psql`, to compare. The user's own URL is given back as it came.
    pub(super) fn url(&self) -> Secret {
        match self {
            Self::Sample(postgres, sample) => postgres.url(sample.database, sample.reader, &sample.reader_password),
            Self::Own(own) => Secret::new(own.url.clone()),
        }
    }

    /// A question worth asking.
    pub(super) fn question(&self) -> &'static str {
        match self {
            Self::Sample(..) => {
                "SELECT t.name AS tenant, c.country, count(*) AS orders, sum(o.total) AS revenue, \
                 max(o.placed_at)::date AS latest \
                 FROM shop.orders o JOIN shop.customers c ON c.id = o.customer_id \
                 JOIN shop.tenants t ON t.id = o.tenant_id \
                 GROUP BY 1, 2 ORDER BY orders DESC LIMIT 5"
            }
            Self::Own(_) => {
                "SELECT table_schema, count(*) AS tables FROM information_schema.tables \
                 GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 5"
            }
        }
    }
}

fn own(url: &str, password: Option<Secret>) -> Result<Own> {
    // tokio-postgres knows neither verify-full nor sslrootcert.
    let (plain, query) = url.split_once('?').unwrap_or((url, ""));
    let (mut sslmode, mut root) = (None, None);
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=') {
            Some(("sslmode", mode)) => sslmode = Some(mode.parse::<SslMode>()?),
            Some(("sslrootcert", path)) => {
                root = Some(std::fs::read_to_string(path).with_context(|| format!("cannot read sslrootcert {path}"))?);
            }
            _ => bail!("--postgres-url: of the parameters only sslmode and sslrootcert are accepted"),
        }
    }
    // The parser's error may quote the URL, which may hold a password.
    let config: tokio_postgres::Config =
        plain.parse().ok().context("--postgres-url must be of the form postgres://user@host:port/database")?;
    let host = match config.get_hosts() {
        [Host::Tcp(host)] => host.clone(),
        [Host::Unix(folder)] => folder.display().to_string(),
        _ => bail!("--postgres-url must name exactly one host"),
    };
    let user = config.get_user().context("--postgres-url must name a user")?.to_owned();
    let dbname = config.get_dbname().unwrap_or(&user).to_owned();
    let local = host.starts_with('/')
        || host == "localhost"
        || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    let sslmode = sslmode.unwrap_or(if local { SslMode::Disable } else { SslMode::VerifyFull });
    let in_url = config.get_password().map(|bytes| Secret::new(String::from_utf8_lossy(bytes)));
    Ok(Own {
        definition: v1::Database {
            name: "mine".into(),
            description: "The database that was given to the demo".into(),
            host,
            port: u32::from(config.get_ports().first().copied().unwrap_or(5432)),
            dbname,
            sslmode: convert::ssl_mode(sslmode).into(),
            root_certificate_pem: root.unwrap_or_default(),
            limits: None,
            role_policy: v1::RolePolicy::Unspecified.into(),
        },
        username: user,
        password: in_url.or(password).unwrap_or_default(),
        url: url.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_the_user() {
        let cases = [
            ("postgres://me@db.example.com/app", Some(("db.example.com", 5432, "app", SslMode::VerifyFull))),
            (
                "postgres://me@db.example.com:6000/app?sslmode=require",
                Some(("db.example.com", 6000, "app", SslMode::Require)),
            ),
            ("postgres://me@localhost", Some(("localhost", 5432, "me", SslMode::Disable))),
            ("postgres://me@127.0.0.1/app?sslmode=require", Some(("127.0.0.1", 5432, "app", SslMode::Require))),
            ("postgres://me:secret@%2Frun%2Fpostgresql/app", Some(("/run/postgresql", 5432, "app", SslMode::Disable))),
            ("postgres://db.example.com/app", None),
            ("postgres://me@a,b/app", None),
            ("postgres://me@a/app?sslmode=prefer", None),
            ("postgres://me@a/app?options=-c", None),
            ("mysql://me@a/app", None),
            ("", None),
        ];
        for (url, expected) in cases {
            let own = own(url, None).ok();
            let seen = own.as_ref().map(|own| {
                let database = &own.definition;
                let mode = convert::from_ssl_mode("sslmode", database.sslmode).unwrap();
                (database.host.as_str(), database.port, database.dbname.as_str(), mode)
            });
            assert_eq!(seen, expected, "{url}");
        }
    }

    #[test]
    fn the_password_of_the_url_comes_before_that_of_the_environment() {
        let environment = || Some(Secret::new("environment"));
        assert_eq!(own("postgres://me:url@localhost/a", environment()).unwrap().password.expose(), "url");
        assert_eq!(own("postgres://me@localhost/a", environment()).unwrap().password.expose(), "environment");
    }

    #[test]
    fn a_refusal_never_quotes_the_password() {
        for url in ["postgres://me:hunter2@a,b/app", "mysql://me:hunter2@a/app", "postgres://me:hunter2@a:x/app"] {
            let error = format!("{:#}", own(url, None).unwrap_err());
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
