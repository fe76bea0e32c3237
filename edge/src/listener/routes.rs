//! Paths of the edge's listener: MCP behind the address limiter, health beside
//! it. `app` builds it. Invariant: whatever is not known gets a JSON 404, and
//! only health is answered without the limiter.

use axum::{Router, body::Body, extract::State, response::IntoResponse, routing::get};
use http::{HeaderValue, Response, StatusCode, header::CACHE_CONTROL, header::CONTENT_TYPE};
use nla_domain::error::ErrorKind;
use serde_json::json;

use super::{address::AddressLimiter, ready::Readiness};

/// All paths.
pub fn router(mcp: Router, limiter: &AddressLimiter, readiness: Readiness) -> Router {
    let health = Router::new()
        .route("/livez", get(|| async { json_response(StatusCode::OK, &json!({ "live": true })) }))
        .route("/readyz", get(ready))
        .with_state(readiness);
    mcp.fallback(unknown_path).layer(limiter.layer()).merge(health)
}

async fn ready(State(readiness): State<Readiness>) -> Response<Body> {
    let report = readiness.report();
    let status = if report.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    match serde_json::to_value(&report) {
        Ok(body) => json_response(status, &body),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
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
