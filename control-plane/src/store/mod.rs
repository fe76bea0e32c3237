//! The control plane's store: typed records, the audit log and the log of
//! changes, encrypted, in one transaction for each change, durable before it
//! is acknowledged. Services read [`Store::state`] and write by closures that
//! run one after the other on the newest state.

pub mod draft;
pub mod record;
pub mod state;

pub use draft::Draft;
pub use record::{
    AnswerRecord, CaRecord, CaSlot, CertificateRecord, EdgeRecord, JoinRecord, Meta, OperatorRecord, Record, RecordKey,
    Revocation, Stored, TokenRecord,
};
pub use state::State;
