//! Databases, credentials, roles and settings.

use std::num::NonZeroU16;

use nla_domain::{
    credential::Credential,
    database::{Database, DatabaseLimits, Endpoint, RolePolicy},
    pepper::{FIRST_GENERATION, Peppers},
    role::Role,
    secret::{Key32, Secret},
    snapshot::{MAX_STALENESS, Settings},
};

use super::{
    ConvertError, duration, from_duration, from_role_policy, from_sql_audit, from_ssl_mode, from_tool, or_default,
    parse, parse_all, role_policy, sql_audit, ssl_mode, tool,
};
use crate::v1;

impl From<&Database> for v1::Database {
    fn from(database: &Database) -> Self {
        let limits = &database.limits;
        Self {
            name: database.name.to_string(),
            description: database.description.clone(),
            host: database.endpoint.host.clone(),
            port: u32::from(database.endpoint.port.get()),
            dbname: database.dbname.clone(),
            sslmode: ssl_mode(database.sslmode).into(),
            root_certificate_pem: database.root_certificate_pem.clone().unwrap_or_default(),
            limits: Some(v1::DatabaseLimits {
                max_rows: limits.max_rows,
                max_bytes: limits.max_bytes,
                statement_timeout: Some(duration(limits.statement_timeout)),
                pool_size: limits.pool_size,
            }),
            role_policy: role_policy(database.role_policy).into(),
        }
    }
}

impl TryFrom<v1::Database> for Database {
    type Error = ConvertError;

    fn try_from(wire: v1::Database) -> Result<Self, ConvertError> {
        let default = DatabaseLimits::default();
        let limits = match wire.limits {
            None => default,
            Some(limits) => DatabaseLimits {
                max_rows: or_default(limits.max_rows, default.max_rows),
                max_bytes: or_default(limits.max_bytes, default.max_bytes),
                statement_timeout: match &limits.statement_timeout {
                    None => default.statement_timeout,
                    Some(timeout) => from_duration("limits.statement_timeout", timeout)?,
                },
                pool_size: or_default(limits.pool_size, default.pool_size),
            },
        };
        let port = u16::try_from(wire.port).ok().and_then(NonZeroU16::new);
        let database = Self {
            name: parse("name", &wire.name)?,
            description: wire.description,
            endpoint: Endpoint {
                host: wire.host,
                port: port.ok_or_else(|| ConvertError::new("port", "must be between 1 and 65535"))?,
            },
            dbname: wire.dbname,
            sslmode: from_ssl_mode("sslmode", wire.sslmode)?,
            root_certificate_pem: (!wire.root_certificate_pem.is_empty()).then_some(wire.root_certificate_pem),
            limits,
            role_policy: match v1::RolePolicy::try_from(wire.role_policy) {
                // Stored or sent by a version that did not have the field.
                Ok(v1::RolePolicy::Unspecified) => RolePolicy::default(),
                _ => from_role_policy("role_policy", wire.role_policy)?,
            },
        };
        database.validate().map_err(|error| ConvertError::new(error.field(), error.to_string()))?;
        Ok(database)
    }
}

impl From<&Role> for v1::Role {
    fn from(role: &Role) -> Self {
        Self {
            name: role.name.to_string(),
            description: role.description.clone(),
            databases: role.databases.iter().map(ToString::to_string).collect(),
            tools: role.tools.iter().map(|t| tool(*t).into()).collect(),
            allow_explain_analyze: role.allow_explain_analyze,
            max_rows: role.max_rows.unwrap_or(0),
            sql_audit: sql_audit(role.sql_audit).into(),
            functions: role.functions.clone(),
            relations: role.relations.clone(),
            operators: role.operators.clone(),
            settings: role.settings.clone(),
        }
    }
}

impl TryFrom<v1::Role> for Role {
    type Error = ConvertError;

    fn try_from(wire: v1::Role) -> Result<Self, ConvertError> {
        if wire.description.chars().count() > 500 || wire.description.chars().any(char::is_control) {
            return Err(ConvertError::new("description", "must be at most 500 characters without control characters"));
        }
        let role = Self {
            name: parse("name", &wire.name)?,
            description: wire.description,
            databases: parse_all("databases", &wire.databases)?,
            tools: wire.tools.iter().map(|number| from_tool("tools", *number)).collect::<Result<_, _>>()?,
            allow_explain_analyze: wire.allow_explain_analyze,
            max_rows: (wire.max_rows != 0).then_some(wire.max_rows),
            sql_audit: from_sql_audit("sql_audit", wire.sql_audit)?,
            functions: wire.functions,
            relations: wire.relations,
            operators: wire.operators,
            settings: wire.settings,
        };
        role.validate().map_err(|error| ConvertError::new(error.field(), error.to_string()))?;
        Ok(role)
    }
}

impl From<&Credential> for v1::CredentialItem {
    fn from(credential: &Credential) -> Self {
        Self {
            database: credential.database.to_string(),
            username: credential.username.clone(),
            password: credential.password.expose().to_owned(),
            generation: credential.generation,
        }
    }
}

impl TryFrom<v1::CredentialItem> for Credential {
    type Error = ConvertError;

    fn try_from(wire: v1::CredentialItem) -> Result<Self, ConvertError> {
        let credential = Self {
            database: parse("database", &wire.database)?,
            username: wire.username,
            password: Secret::new(wire.password),
            generation: wire.generation,
        };
        credential.validate().map_err(|error| ConvertError::new("username or password", error.to_string()))?;
        Ok(credential)
    }
}

impl From<&Settings> for v1::Settings {
    fn from(settings: &Settings) -> Self {
        Self {
            pepper: settings.peppers.get(FIRST_GENERATION).map(|first| first.expose().to_vec()).unwrap_or_default(),
            strict_staleness: Some(duration(settings.strict_staleness)),
            standard_staleness: Some(duration(settings.standard_staleness)),
            peppers: settings
                .peppers
                .iter()
                .filter(|(generation, _)| *generation != FIRST_GENERATION)
                .map(|(generation, pepper)| v1::Pepper { generation, key: pepper.expose().to_vec() })
                .collect(),
            ca_bundle_pem: settings.ca_bundle_pem.clone(),
        }
    }
}

impl TryFrom<v1::Settings> for Settings {
    type Error = ConvertError;

    fn try_from(wire: v1::Settings) -> Result<Self, ConvertError> {
        let first = v1::Pepper { generation: FIRST_GENERATION, key: wire.pepper };
        // Without the first one there have to be others.
        let first = (!first.key.is_empty() || wire.peppers.is_empty()).then_some(first);
        let peppers = first.into_iter().chain(wire.peppers).map(|pepper| {
            let key = zeroize::Zeroizing::new(pepper.key);
            let key = Key32::from_slice(&key).ok_or_else(|| ConvertError::new("pepper", "must be 32 bytes"))?;
            Ok((pepper.generation, key))
        });
        let peppers: Vec<_> = peppers.collect::<Result<_, ConvertError>>()?;
        let bound = |field: &str, value: Option<prost_types::Duration>| {
            let value = value.ok_or_else(|| ConvertError::new(field, "is missing"))?;
            let value = from_duration(field, &value)?;
            if value.is_zero() || value > MAX_STALENESS {
                return Err(ConvertError::new(field, "must be above zero and at most a day"));
            }
            Ok(value)
        };
        Ok(Self {
            peppers: Peppers::from_pairs(peppers)
                .ok_or_else(|| ConvertError::new("peppers", "must be few and have numbers of their own"))?,
            strict_staleness: bound("strict_staleness", wire.strict_staleness)?,
            standard_staleness: bound("standard_staleness", wire.standard_staleness)?,
            ca_bundle_pem: wire.ca_bundle_pem,
        })
    }
}
