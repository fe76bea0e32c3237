//! Which authority does what. The current one signs edges and operators. All
//! of them are trusted, on both sides. The control plane's own certificate is
//! of the previous one for as long as there is one: whoever has not yet heard
//! of the new authority, an operator's machine or a join token, goes on
//! recognising the control plane until the previous one is retired.

use super::{Authority, PkiError, authority::pem};
use crate::store::{CaRecord, CaSlot, State};

/// Where a replacement of the authority stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    /// One authority.
    Steady,
    /// The next one is made known.
    Prepared,
    /// It signs; the one before is still trusted.
    Activated,
}

impl Phase {
    /// The phase of a state.
    pub fn of(state: &State) -> Self {
        match () {
            () if state.authorities.contains_key(&CaSlot::Previous) => Self::Activated,
            () if state.authorities.contains_key(&CaSlot::Next) => Self::Prepared,
            () => Self::Steady,
        }
    }

    /// The name in messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Steady => "steady",
            Self::Prepared => "prepared",
            Self::Activated => "activated",
        }
    }
}

/// The authority that signs edges and operators.
///
/// # Errors
/// [`PkiError::Missing`], or [`PkiError::Authority`] when it cannot be read.
pub fn signing(state: &State) -> Result<Authority, PkiError> {
    Authority::from_record(record(state, CaSlot::Current).ok_or(PkiError::Missing)?)
}

/// The authority that signs the control plane's own certificate, and that join
/// tokens name.
///
/// # Errors
/// As [`signing`].
pub fn serving(state: &State) -> Result<Authority, PkiError> {
    Authority::from_record(record(state, serving_slot(state)).ok_or(PkiError::Missing)?)
}

/// The place of [`serving`].
pub fn serving_slot(state: &State) -> CaSlot {
    if Phase::of(state) == Phase::Activated { CaSlot::Previous } else { CaSlot::Current }
}

/// All authorities to trust, PEM, the one that signs first.
pub fn bundle_pem(state: &State) -> String {
    let records = CaSlot::ALL.into_iter().filter_map(|slot| record(state, slot));
    records.map(|record| pem("CERTIFICATE", &record.certificate_der)).collect()
}

/// The record in a place.
pub fn record(state: &State, slot: CaSlot) -> Option<&CaRecord> {
    state.authorities.get(&slot).map(|stored| &stored.value)
}
