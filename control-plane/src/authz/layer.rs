//! The layer in front of all services. It finds out who calls from the
//! connection and the store (never from what the certificate claims about
//! rights), applies the rule of the method, and bounds the calls in work.

use std::{
    future::Future,
    panic::AssertUnwindSafe,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures_util::FutureExt as _;
use http::{Request, Response};
use nla_domain::{clock::WallClock, error::ErrorKind};
use nla_proto::{
    failure::Failure,
    tls::{
        peer::{Peer, PeerCertificate},
        server::ConnectInfo,
    },
};
use tonic::{Status, body::Body};
use tower::{Layer, Service};

use super::{
    Refusals,
    caller::{Caller, EDGE_REPLACED, Who},
    rules::{self, Rule},
    slots::Slots,
};
use crate::store::{State, Store};

/// Which listener a request came in on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Listener {
    /// mTLS only.
    Main,
    /// For edges that have no certificate yet.
    Enrolment,
}

/// What decides; shared by all connections of a listener.
#[derive(Debug)]
pub(crate) struct Gate {
    pub(crate) listener: Listener,
    pub(crate) store: Store,
    pub(crate) clock: Arc<dyn WallClock>,
    pub(crate) trust_domain: String,
    pub(crate) refusals: Refusals,
    /// Calls in work on this listener.
    pub(crate) slots: Slots,
}

/// Puts the gate in front of a service.
#[derive(Debug, Clone)]
pub(crate) struct AuthorizationLayer(Arc<Gate>);

impl AuthorizationLayer {
    pub(crate) fn new(gate: Gate) -> Self {
        Self(Arc::new(gate))
    }
}

impl<S> Layer<S> for AuthorizationLayer {
    type Service = Authorized<S>;

    fn layer(&self, inner: S) -> Authorized<S> {
        Authorized { gate: Arc::clone(&self.0), inner }
    }
}

/// A service behind the gate.
#[derive(Debug, Clone)]
pub(crate) struct Authorized<S> {
    gate: Arc<Gate>,
    inner: S,
}

impl<S> Service<Request<Body>> for Authorized<S>
where
    S: Service<Request<Body>, Response = Response<Body>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Send,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let name = match self.gate.admit(request.uri().path(), request.extensions().get()) {
            Ok(caller) => {
                // Nothing that a client could have put there may pass for a caller.
                request.extensions_mut().remove::<Caller>();
                match caller {
                    Some(caller) => {
                        let name = caller.to_string();
                        request.extensions_mut().insert(caller);
                        name
                    }
                    // Who has no name yet is told apart by address.
                    None => request
                        .extensions()
                        .get()
                        .map(|info: &ConnectInfo| info.remote.ip().to_string())
                        .unwrap_or_default(),
                }
            }
            Err(status) => return Box::pin(std::future::ready(Ok(status.into_http()))),
        };
        // Refuse rather than queue: a queue only makes everyone late.
        let Some(slot) = self.gate.slots.take(name) else {
            let failure =
                Failure::new(ErrorKind::Overloaded, "the control plane has too many calls in work: try again");
            return Box::pin(std::future::ready(Ok(Status::from(failure).into_http())));
        };
        // The clone that was polled ready must be the one that is called.
        let next = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, next);
        let path = request.uri().path().to_owned();
        Box::pin(async move {
            let answer = AssertUnwindSafe(inner.call(request)).catch_unwind().await;
            drop(slot);
            answer.unwrap_or_else(|_| {
                // The panic itself is in the log; the id finds it there.
                let id = uuid::Uuid::new_v4();
                tracing::error!(%id, path, "a handler panicked");
                let message = format!("the control plane has a defect; its log says more under {id}");
                Ok(Status::from(Failure::new(ErrorKind::Internal, message)).into_http())
            })
        })
    }
}

impl Gate {
    /// Decides about one request.
    fn admit(&self, path: &str, connection: Option<&ConnectInfo>) -> Result<Option<Caller>, Status> {
        let connection = connection
            .ok_or_else(|| Failure::new(ErrorKind::Internal, "the connection is not one of our listeners'"))?;
        let Some(rule) = rules::rule(path) else {
            let path: String = path.chars().take(80).collect();
            return Err(Status::unimplemented(format!("there is no method {path:?}")));
        };
        match (self.listener, rule) {
            (Listener::Enrolment, Rule::EnrolmentListener) => return Ok(None),
            (Listener::Enrolment, _) => {
                return Err(refuse("only Join can be called on the enrolment listener").into());
            }
            (Listener::Main, Rule::EnrolmentListener) => {
                return Err(refuse("Join is called on the enrolment listener").into());
            }
            (Listener::Main, _) => {}
        }
        let state = self.store.state();
        let decided = self.identify(&state, connection).and_then(|caller| permitted(rule, &caller).map(|()| caller));
        decided.map(Some).map_err(|failure| {
            self.refusals.note(path, connection, &failure);
            failure.into()
        })
    }

    fn identify(&self, state: &State, connection: &ConnectInfo) -> Result<Caller, Failure> {
        let certificate = connection
            .peer
            .as_ref()
            .ok_or_else(|| Failure::new(ErrorKind::MissingToken, "a client certificate is needed"))?;
        if certificate.trust_domain != self.trust_domain {
            return Err(refuse("the certificate belongs to another trust domain"));
        }
        // TLS looked at the dates when the connection began, which may be long ago.
        if certificate.not_after <= self.clock.now() {
            return Err(refuse("the certificate has expired: renew it and connect again"));
        }
        let who = who(state, certificate)?;
        let (serial, not_after) = (certificate.serial.clone(), certificate.not_after);
        Ok(Caller { who, remote: connection.remote, serial, not_after })
    }
}

fn who(state: &State, certificate: &PeerCertificate) -> Result<Who, Failure> {
    match &certificate.peer {
        Peer::Edge(id) => {
            let edge = state.edges.get(id).ok_or_else(|| refuse("this edge is not enrolled: join again"))?;
            if edge.value.revoked.is_some() {
                return Ok(Who::RevokedEdge(id.clone()));
            }
            if edge.value.held(&certificate.serial).is_none() {
                return Err(refuse(EDGE_REPLACED));
            }
            Ok(Who::Edge(id.clone()))
        }
        Peer::Operator(name) => {
            let operator = state.operators.get(name).ok_or_else(|| refuse("this operator does not exist"))?;
            if operator.value.revoked.is_some() {
                return Err(refuse("this operator was revoked"));
            }
            // A valid one of this name that the store does not hold has been
            // replaced: by a renewal, or by a new one after a loss.
            if operator.value.held(&certificate.serial).is_none() {
                return Err(refuse("this operator's certificate was replaced by another one"));
            }
            Ok(Who::Operator(name.clone(), operator.value.level))
        }
        Peer::ControlPlane => Err(refuse("a control plane's certificate administers nothing")),
    }
}

fn permitted(rule: Rule, caller: &Caller) -> Result<(), Failure> {
    match (rule, &caller.who) {
        (Rule::EdgeStream, Who::RevokedEdge(_)) => Ok(()),
        (_, Who::RevokedEdge(_)) => Err(refuse("this edge was revoked")),
        (Rule::AnyPeer, _) | (Rule::Edge | Rule::EdgeStream, Who::Edge(_)) => Ok(()),
        (Rule::Operator(levels), Who::Operator(_, level)) if levels.contains(level) => Ok(()),
        (Rule::Operator(levels), Who::Operator(_, level)) => {
            let names: Vec<&str> = levels.iter().map(|level| level.as_str()).collect();
            Err(refuse(&format!("this needs level {}; yours is {level}", names.join(" or "))))
        }
        (Rule::Operator(_), Who::Edge(_)) => Err(refuse("edges cannot administer")),
        (Rule::Edge | Rule::EdgeStream, Who::Operator(..)) => Err(refuse("only edges may call this")),
        (Rule::EnrolmentListener, _) => Err(refuse("this is not served here")),
    }
}

fn refuse(message: &str) -> Failure {
    Failure::new(ErrorKind::PermissionDenied, message)
}
