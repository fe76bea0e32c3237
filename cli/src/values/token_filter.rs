//! Which tokens a command is about, in one text: `owner=etl,label.team=data`.
//! A token has to fit all parts. Values with a comma stand in quotes.

use std::{collections::BTreeMap, time::Duration};

use nla_domain::{
    clock::Timestamp,
    id::{DatabaseName, RoleName},
    label,
};
use nla_proto::{convert, v1};

use super::parse_span;

/// A selection of tokens.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct TokenFilter {
    pub(crate) owner: Option<String>,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) role: Option<RoleName>,
    pub(crate) database: Option<DatabaseName>,
    /// Ends within this time.
    pub(crate) expires_within: Option<Duration>,
    /// Made longer ago than this, and not used since.
    pub(crate) unused: Option<Duration>,
}

const KEYS: &str = "owner, label.<key>, role, database, expires-within and unused";

impl TokenFilter {
    /// As the control plane reads it, at this time.
    pub(crate) fn to_wire(&self, now: Timestamp) -> v1::TokenFilter {
        let text = |value: Option<&str>| value.unwrap_or_default().to_owned();
        let ago = |span: Duration| {
            let micros = i64::try_from(span.as_micros()).unwrap_or(i64::MAX);
            convert::timestamp(Timestamp::from_micros(now.as_micros().saturating_sub(micros)))
        };
        v1::TokenFilter {
            owner: text(self.owner.as_deref()),
            labels: self.labels.clone(),
            role: text(self.role.as_ref().map(RoleName::as_str)),
            database: text(self.database.as_ref().map(DatabaseName::as_str)),
            unused_since: self.unused.map(ago),
            expires_before: self.expires_within.map(|span| convert::timestamp(now.plus(span))),
        }
    }
}

/// Reads a selection.
///
/// # Errors
/// A text that says which part cannot be read, and why.
pub(crate) fn parse_token_filter(text: &str) -> Result<TokenFilter, String> {
    let mut filter = TokenFilter::default();
    for (key, value) in parts(text)? {
        if value.is_empty() {
            return Err(format!("{key} has no value: write {key}=..."));
        }
        let set = |taken: bool| if taken { Err(format!("{key} is named twice: a token has one")) } else { Ok(()) };
        match key.as_str() {
            "owner" => {
                set(filter.owner.is_some())?;
                filter.owner = Some(value);
            }
            "role" => {
                set(filter.role.is_some())?;
                filter.role = Some(value.parse().map_err(|error| format!("{error}"))?);
            }
            "database" => {
                set(filter.database.is_some())?;
                filter.database = Some(value.parse().map_err(|error| format!("{error}"))?);
            }
            "expires-within" => {
                set(filter.expires_within.is_some())?;
                filter.expires_within = Some(parse_span(&value)?);
            }
            "unused" => {
                set(filter.unused.is_some())?;
                filter.unused = Some(parse_span(&value)?);
            }
            _ => {
                let label =
                    key.strip_prefix("label.").ok_or_else(|| format!("there is no {key:?}; there are {KEYS}"))?;
                label::check(label, &value).map_err(|error| error.to_string())?;
                set(filter.labels.contains_key(label))?;
                filter.labels.insert(label.to_owned(), value);
            }
        }
    }
    Ok(filter)
}

/// Cuts `a=b,c='d,e'` into pairs.
fn parts(text: &str) -> Result<Vec<(String, String)>, String> {
    let mut parts = Vec::new();
    let mut rest = text;
    loop {
        let (key, after) = rest
            .split_once('=')
            .filter(|(key, _)| !key.is_empty() && !key.contains(','))
            .ok_or_else(|| format!("{rest:?} is no part of a selection: write key=value with {KEYS}"))?;
        let quote = after.chars().next().filter(|c| matches!(c, '\'' | '"'));
        let (value, after) = match quote {
            Some(quote) => {
                let value = &after[1..];
                value.split_once(quote).ok_or_else(|| format!("the value of {key} ends without its {quote}"))?
            }
            None => after.split_at(after.find(',').unwrap_or(after.len())),
        };
        if quote.is_none() && value.contains(['\'', '"']) {
            return Err(format!("the value of {key} has a quote within: put all of it into quotes of the other kind"));
        }
        parts.push((key.trim().to_owned(), value.to_owned()));
        if after.is_empty() {
            return Ok(parts);
        }
        rest = after.strip_prefix(',').ok_or_else(|| format!("a comma has to follow the quoted value of {key}"))?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selections() {
        let days = |days: u64| Some(Duration::from_secs(days * 86_400));
        let owner = |owner: &str| TokenFilter { owner: Some(owner.into()), ..Default::default() };
        let cases = [
            ("owner=etl", owner("etl")),
            ("owner=ana@example.com", owner("ana@example.com")),
            ("owner='a, b'", owner("a, b")),
            ("owner=\"O'Brien\"", owner("O'Brien")),
            ("owner=a=b", owner("a=b")),
            ("owner=ana lee", owner("ana lee")),
            (
                "owner='x',label.team=data,label.env=prod,role=reader,database=shop,expires-within=7d,unused=30d",
                TokenFilter {
                    owner: Some("x".into()),
                    labels: [("env", "prod"), ("team", "data")].map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
                    role: Some("reader".parse().unwrap()),
                    database: Some("shop".parse().unwrap()),
                    expires_within: days(7),
                    unused: days(30),
                },
            ),
            ("role=reader, owner=x", TokenFilter { role: Some("reader".parse().unwrap()), ..owner("x") }),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_token_filter(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        let cases = [
            ("", "key=value"),
            (",", "key=value"),
            ("owner", "key=value"),
            ("=x", "key=value"),
            ("owner=", "owner has no value"),
            ("owner=''", "owner has no value"),
            ("owner=x,", "key=value"),
            ("owner=x,,role=y", "key=value"),
            ("owner=x,role", "key=value"),
            ("owner=x,owner=y", "owner is named twice"),
            ("label.a=1,label.a=2", "label.a is named twice"),
            ("owners=x", "there is no \"owners\"; there are owner"),
            ("label=x", "there is no \"label\""),
            ("label.=x", "label key \"\""),
            ("label.Team=x", "label key \"Team\""),
            ("role=No Role", "role \"No Role\""),
            ("unused=30", "span of time"),
            ("unused=1d,unused=2d", "unused is named twice"),
            ("owner='x", "ends without its '"),
            ("owner='x'y", "a comma has to follow"),
            ("owner=x'y", "has a quote within"),
        ];
        for (text, expected) in cases {
            let error = parse_token_filter(text).unwrap_err();
            assert!(error.contains(expected), "{text:?}: {error}");
        }
    }

    #[test]
    fn times_count_from_now() {
        let filter = parse_token_filter("expires-within=1h,unused=1h").unwrap();
        let request = filter.to_wire(Timestamp::from_micros(7_200_000_000));
        let seconds = |at: Option<prost_types::Timestamp>| at.map(|at| at.seconds);
        assert_eq!((seconds(request.unused_since), seconds(request.expires_before)), (Some(3_600), Some(10_800)));
    }
}
