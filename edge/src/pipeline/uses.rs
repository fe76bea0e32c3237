//! When tokens were used, until the control plane has been told. Noted by
//! [`super::Admitted`] for each proven caller, also for one who is then turned
//! away for its rate; taken by the stream's report of use.
//! Invariant: noting a use touches nothing that another token's calls touch.

use std::{
    net::IpAddr,
    sync::{Mutex, PoisonError},
};

use nla_domain::{clock::Timestamp, id::TokenId};

/// The use of one token that has not been reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenUse {
    /// Which token.
    pub token: TokenId,
    /// The newest use.
    pub at: Timestamp,
    /// Where it came from.
    pub address: IpAddr,
    /// How many there were.
    pub calls: u64,
}

/// The unreported uses of one token.
#[derive(Debug, Default)]
pub(super) struct Uses(Mutex<Option<(Timestamp, IpAddr, u64)>>);

impl Uses {
    pub(super) fn note(&self, at: Timestamp, address: IpAddr) {
        let mut uses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let calls = uses.map_or(0, |(.., calls)| calls);
        *uses = Some((at, address.to_canonical(), calls + 1));
    }

    /// What has not been reported, which from now on has been.
    pub(super) fn take(&self, token: TokenId) -> Option<TokenUse> {
        let taken = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        taken.map(|(at, address, calls)| TokenUse { token, at, address, calls })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uses_are_reported_once_with_the_newest_address() {
        let (uses, token) = (Uses::default(), "abcDEF012345".parse().unwrap());
        assert_eq!(uses.take(token), None);
        uses.note(Timestamp::from_micros(1), "10.0.0.1".parse().unwrap());
        uses.note(Timestamp::from_micros(2), "::ffff:10.0.0.2".parse().unwrap());
        let address = "10.0.0.2".parse().unwrap();
        assert_eq!(uses.take(token), Some(TokenUse { token, at: Timestamp::from_micros(2), address, calls: 2 }));
        assert_eq!(uses.take(token), None);
    }
}
