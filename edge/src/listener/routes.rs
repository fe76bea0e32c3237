//! Paths of the edge's listener: MCP behind the address limiter, health beside
//! it. `app` builds it. Invariants: whatever is not known gets a JSON 404; only
//! health is answered without the limiter; an answer from a state that has not
//! been confirmed lately says so.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    response::IntoResponse,
    routing::get,
};
use http::{
    HeaderName, HeaderValue, Response, StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE},
};
use nla_domain::error::ErrorKind;
use serde_json::json;
use tower::ServiceExt;

use super::{
    address::{AddressLimiter, ClientAddress},
    ready::Readiness,
};

/// The place of the MCP endpoint. It is empty until the edge has its identity,
/// so that health can be asked for while the edge waits for its control plane.
#[derive(Debug, Clone, Default)]
pub struct McpSlot(Arc<OnceLock<Router>>);

impl McpSlot {
    /// Serves `mcp` from now on. Only the first call counts.
    pub fn open(&self, mcp: Router) {
        // The slot is private to one `App`, which opens it once.
        let _ = self.0.set(mcp.fallback(unknown_path));
    }
}

/// Present on answers of an edge that has lost its control plane: `stale; age=42`,
/// in seconds. Absent otherwise.
const STATE: HeaderName = HeaderName::from_static("nla-state");

/// All paths.
pub fn router(mcp: McpSlot, limiter: &AddressLimiter, readiness: Readiness) -> Router {
    let health = Router::new()
        .route("/livez", get(|| async { json_response(StatusCode::OK, &json!({ "live": true })) }))
        .route("/readyz", get(ready))
        .with_state(readiness.clone());
    Router::new().fallback(dispatch).with_state((mcp, readiness)).layer(limiter.layer()).merge(health)
}

async fn dispatch(State((slot, readiness)): State<(McpSlot, Readiness)>, request: Request) -> Response<Body> {
    match slot.0.get() {
        Some(router) => match router.clone().oneshot(request).await {
            Ok(mut response) => {
                if let Some(age) = readiness.stale_for() {
                    response.headers_mut().insert(STATE, stale(age));
                }
                response
            }
            Err(never) => match never {},
        },
        None => json_error(
            StatusCode::SERVICE_UNAVAILABLE,
            ErrorKind::Unavailable,
            "this edge has not been enrolled yet; /readyz says more",
        ),
    }
}

async fn ready(State(readiness): State<Readiness>, request: Request) -> Response<Body> {
    let client = request.extensions().get::<ClientAddress>();
    let report = readiness.report(client.is_some_and(|client| client.0.to_canonical().is_loopback()));
    let status = if report.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    match serde_json::to_value(&report) {
        Ok(body) => json_response(status, &body),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

fn stale(age: Duration) -> HeaderValue {
    // Before the first confirmation there is no age.
    let text = if age == Duration::MAX { "stale".to_owned() } else { format!("stale; age={}", age.as_secs()) };
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("stale"))
}

async fn unknown_path() -> Response<Body> {
    json_error(StatusCode::NOT_FOUND, ErrorKind::NotFound, "there is nothing here; the MCP endpoint is /mcp")
}

pub(super) fn json_error(status: StatusCode, kind: ErrorKind, message: &str) -> Response<Body> {
    json_response(status, &json!({ "error": { "reason": kind.reason(), "message": message } }))
}

fn json_response(status: StatusCode, body: &serde_json::Value) -> Response<Body> {
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
