//! A caller that the layer has proven. Services take it from the request's
//! extensions; only the layer puts one there.

use std::{fmt, net::SocketAddr};

use nla_domain::{
    clock::Timestamp,
    error::ErrorKind,
    id::{EdgeId, OperatorName},
    operator::Level,
};
use nla_proto::failure::Failure;

/// What the holder of an edge's certificate is told that the store does not
/// hold. It is either the edge itself, after somebody else has joined under its
/// name, or a copy of a key.
pub(crate) const EDGE_REPLACED: &str = "this edge's certificate was replaced by another one, of a renewal or of a new join under its name; \
     if that was not you, revoke the edge, otherwise make a join token for this one";

/// Who calls, from where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    pub(super) who: Who,
    pub(super) remote: SocketAddr,
    /// Serial number of the certificate that the call came with.
    pub(super) serial: Vec<u8>,
    /// End of that certificate.
    pub(super) not_after: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Who {
    Edge(EdgeId),
    RevokedEdge(EdgeId),
    Operator(OperatorName, Level),
}

impl Caller {
    /// The caller of a request that has passed the layer.
    pub(crate) fn of<T>(request: &tonic::Request<T>) -> Result<Self, Failure> {
        let caller = request.extensions().get::<Self>().cloned();
        caller.ok_or_else(|| Failure::new(ErrorKind::Internal, "the request has passed no authorization"))
    }

    /// The address of the other end.
    pub fn remote(&self) -> SocketAddr {
        self.remote
    }

    /// Serial number of the certificate that the call came with.
    pub(crate) fn serial(&self) -> &[u8] {
        &self.serial
    }

    /// End of the certificate that the call came with.
    pub(crate) fn not_after(&self) -> Timestamp {
        self.not_after
    }

    /// The edge, where the rule admits edges only.
    pub(crate) fn edge(&self) -> Result<&EdgeId, Failure> {
        match &self.who {
            Who::Edge(id) => Ok(id),
            Who::RevokedEdge(_) => Err(Failure::new(ErrorKind::PermissionDenied, "this edge was revoked")),
            Who::Operator(..) => Err(Failure::new(ErrorKind::PermissionDenied, "only edges may call this")),
        }
    }

    /// The edge that opens its stream, which a revoked one may do to learn
    /// that it is.
    pub(crate) fn streaming_edge(&self) -> Result<&EdgeId, Failure> {
        match &self.who {
            Who::RevokedEdge(id) => Ok(id),
            Who::Edge(_) | Who::Operator(..) => self.edge(),
        }
    }

    /// The operator and level, where the rule admits operators only.
    pub(crate) fn operator(&self) -> Result<(&OperatorName, Level), Failure> {
        match &self.who {
            Who::Operator(name, level) => Ok((name, *level)),
            Who::Edge(_) | Who::RevokedEdge(_) => {
                Err(Failure::new(ErrorKind::PermissionDenied, "only operators may call this"))
            }
        }
    }
}

impl fmt::Display for Caller {
    /// As audit events name the actor.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.who {
            Who::Edge(id) | Who::RevokedEdge(id) => write!(f, "edge/{id}"),
            Who::Operator(name, _) => write!(f, "operator/{name}"),
        }
    }
}
