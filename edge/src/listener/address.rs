//! Where a request comes from, and how many may come from there before anybody
//! has authenticated. `Connection` resolves the address; the router limits it;
//! the pipeline reads [`ClientAddress`] from the request's extensions.
//! Invariant: a header is believed only when a configured proxy has sent it.

use std::{
    net::{IpAddr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use axum::{body::Body, response::IntoResponse};
use governor::middleware::NoOpMiddleware;
use http::{HeaderMap, Request, Response, StatusCode, header::RETRY_AFTER};
use ipnet::IpNet;
use nla_domain::error::ErrorKind;
use tower_governor::{
    GovernorError, GovernorLayer,
    governor::{GovernorConfig, GovernorConfigBuilder},
    key_extractor::KeyExtractor,
};

use super::routes::json_error;
use crate::config::Limits;

/// The client's address: the peer of the connection, or what a trusted proxy
/// says it was. An IPv4 client is always in IPv4 form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientAddress(pub IpAddr);

/// Longer chains of proxies are nonsense.
const MAX_HOPS: usize = 32;

/// Walks from the peer towards the client for as long as each hop is trusted.
pub(super) fn resolve(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> ClientAddress {
    let is_trusted = |address: &IpAddr| trusted.iter().any(|net| net.contains(address));
    let mut client = peer.to_canonical();
    let lines: Vec<_> = headers.get_all("x-forwarded-for").iter().collect();
    let hops = lines.iter().rev().flat_map(|line| line.to_str().unwrap_or("?").rsplit(','));
    for hop in hops.take(MAX_HOPS) {
        if !is_trusted(&client) {
            break;
        }
        // What stands left of something unreadable proves nothing.
        let Some(address) = parse_hop(hop.trim()) else { break };
        client = address;
    }
    ClientAddress(client)
}

fn parse_hop(text: &str) -> Option<IpAddr> {
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    let address = bare.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|socket| socket.ip()));
    address.map(|address: IpAddr| address.to_canonical())
}

/// Who shares a quota: an IPv4 address, or an IPv6 network of 64 bits, which is
/// what one customer gets.
fn quota_key(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
    }
}

#[derive(Debug, Clone, Copy)]
pub(super) struct ByAddress;

impl KeyExtractor for ByAddress {
    type Key = IpAddr;

    fn extract<T>(&self, request: &Request<T>) -> Result<IpAddr, GovernorError> {
        let client = request.extensions().get::<ClientAddress>().ok_or(GovernorError::UnableToExtractKey)?;
        Ok(quota_key(client.0))
    }
}

/// How often addresses that are quiet again are forgotten.
const FORGET_EVERY: Duration = Duration::from_secs(10);

/// The limiter by address. Clones share its memory.
#[derive(Debug, Clone)]
pub struct AddressLimiter(Arc<GovernorConfig<ByAddress, NoOpMiddleware>>);

impl AddressLimiter {
    /// With the rate and burst of these limits.
    pub fn new(limits: &Limits) -> Self {
        let period = Duration::from_secs(1) / limits.address_per_second.max(1);
        let config = GovernorConfigBuilder::default()
            .key_extractor(ByAddress)
            .period(period)
            .burst_size(limits.address_burst.max(1))
            .finish();
        Self(Arc::new(config.expect("period and burst are above zero")))
    }

    pub(super) fn layer(&self) -> GovernorLayer<ByAddress, NoOpMiddleware, Body> {
        GovernorLayer::new(Arc::clone(&self.0)).error_handler(refuse)
    }

    /// Forgets quiet addresses now and then, until it is dropped: the memory is
    /// bounded by the addresses that were active within a few seconds.
    pub async fn forget_quiet(self) -> std::convert::Infallible {
        loop {
            tokio::time::sleep(FORGET_EVERY).await;
            self.0.limiter().retain_recent();
        }
    }
}

fn refuse(error: GovernorError) -> Response<Body> {
    match error {
        GovernorError::TooManyRequests { wait_time, .. } => {
            // The crate rounds down; a client that comes back too early is
            // refused again.
            let seconds = wait_time.saturating_add(1);
            let message = format!("too many requests from this address; try again in {seconds} s");
            let mut response = json_error(StatusCode::TOO_MANY_REQUESTS, ErrorKind::RateLimited, &message);
            response.headers_mut().insert(RETRY_AFTER, seconds.into());
            response
        }
        GovernorError::UnableToExtractKey | GovernorError::Other { .. } => {
            tracing::error!(%error, "a request without an address");
            let message = "the request's address is not known";
            json_error(StatusCode::INTERNAL_SERVER_ERROR, ErrorKind::Internal, message).into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_trusted_proxies_are_believed() {
        let proxies: Vec<IpNet> = vec!["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()];
        let cases: [(&str, &[&str], &str); 12] = [
            ("192.0.2.1", &[], "192.0.2.1"),
            ("192.0.2.1", &["198.51.100.7"], "192.0.2.1"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &["198.51.100.7"], "198.51.100.7"),
            ("10.0.0.1", &["203.0.113.9, 198.51.100.7"], "198.51.100.7"),
            ("10.0.0.1", &["203.0.113.9, 198.51.100.7, 10.0.0.2"], "198.51.100.7"),
            ("10.0.0.1", &["203.0.113.9", "198.51.100.7"], "198.51.100.7"),
            ("10.0.0.1", &["198.51.100.7, nonsense"], "10.0.0.1"),
            ("10.0.0.1", &["198.51.100.7:4711"], "198.51.100.7"),
            ("10.0.0.1", &["[2001:db8::1]:4711"], "2001:db8::1"),
            ("::ffff:10.0.0.1", &["2001:db8::1"], "2001:db8::1"),
            ("fd00::1", &["::ffff:198.51.100.7"], "198.51.100.7"),
        ];
        for (peer, lines, expected) in cases {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append("x-forwarded-for", line.parse().unwrap());
            }
            let client = resolve(peer.parse().unwrap(), &headers, &proxies);
            assert_eq!(client.0, expected.parse::<IpAddr>().unwrap(), "{peer} {lines:?}");
        }
    }

    #[test]
    fn an_ipv6_network_shares_a_quota() {
        let key = |text: &str| quota_key(text.parse().unwrap());
        assert_eq!(key("2001:db8:1:2:3::4"), key("2001:db8:1:2:ffff::"));
        assert_ne!(key("2001:db8:1:2::1"), key("2001:db8:1:3::1"));
        assert_ne!(key("192.0.2.1"), key("192.0.2.2"));
    }
}
