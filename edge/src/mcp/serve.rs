//! The HTTP side of the endpoint: what is checked before JSON is looked at, and how answers leave.
//!
//! Mounted by the edge's listener through `router`. Invariant: a caller that is not admitted makes the
//! server read no body, and every request gets an answer that carries its id, whatever panics.

use std::future::poll_fn;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::any;
use bytes::Bytes;
use futures_util::FutureExt;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::batch;
use super::delivery::{Delivery, Room};
use super::dispatch;
use super::encode::{self, Rendered, Reply};
use super::error::{Refusal, RpcError};
use super::handler::Handler;
use super::message;
use super::options::Options;
use super::prepare::{self, Envelope, PreparedCall, Taken};
use super::running::{Running, Supervision};
use super::stream::{EventStream, Start};
use super::version::Version;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

#[derive(Debug)]
pub(super) struct Server<H> {
    pub(super) handler: Arc<H>,
    pub(super) options: Options,
    pub(super) rendered: Rendered,
}

/// The endpoint at `options.path`, answering all HTTP methods there.
pub fn router<H: Handler>(handler: Arc<H>, options: Options) -> Router {
    let path = options.path.clone();
    let rendered = Rendered::new(handler.describe());
    let server = Arc::new(Server { handler, options, rendered });
    Router::new().route(&path, any(serve::<H>)).with_state(server)
}

async fn serve<H: Handler>(State(server): State<Arc<Server<H>>>, request: Request) -> Response {
    let request_id = Uuid::now_v7();
    // Handlers are guarded in `Running`; this guards admission and our own code.
    let answered = AssertUnwindSafe(answer(server, request, request_id)).catch_unwind().await;
    let mut response = answered.unwrap_or_else(|_payload| {
        tracing::error!(%request_id, "request handling panicked");
        error_response(Version::ASSUMED, &RpcError::internal(request_id))
    });
    let mut buffer = Uuid::encode_buffer();
    if let Ok(value) = HeaderValue::from_str(request_id.hyphenated().encode_lower(&mut buffer)) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    response
}

async fn answer<H: Handler>(server: Arc<Server<H>>, request: Request, request_id: Uuid) -> Response {
    let options = &server.options;
    let deadline = Instant::now() + options.deadline;
    let (parts, body) = request.into_parts();
    if let Err(response) = check_caller(&parts, options) {
        return *response;
    }
    let principal = match server.handler.admit(&parts).await {
        Ok(principal) => principal,
        Err(refusal) => return refused(&refusal),
    };
    let body = match read_body(&parts, body, options).await {
        Ok(body) => body,
        Err(response) => return *response,
    };
    let envelope =
        Envelope { headers: &parts.headers, request_id, cancel: CancellationToken::new(), deadline, in_batch: false };
    let supervision = |version: Version| Supervision {
        request_id,
        cancel: envelope.cancel.clone(),
        deadline,
        grace: options.cancel_grace,
        tasks: options.tasks.clone(),
        outlives_client: !version.is_modern() && !options.cancel_legacy_on_disconnect,
    };
    let version = prepare::assumed(&parts.headers);
    let elements = match message::split(&body) {
        Ok(message::Body::One(json)) => {
            return match prepare::take(&*server.handler, json, &envelope) {
                Taken::Call(call) => {
                    let supervision = supervision(call.version);
                    run_one(&server, principal, *call, supervision).await
                }
                Taken::Accepted => accepted(),
                Taken::Answered { reply, .. } => json_response(reply),
            };
        }
        Ok(message::Body::Batch(elements)) => elements,
        Err(error) => return error_response(version, &error),
    };
    let prepared = match batch::prepare(&*server.handler, version, &elements, &envelope, options) {
        Ok(prepared) => prepared,
        Err(error) => return error_response(version, &error),
    };
    let supervision = supervision(version);
    let work = batch::run(Arc::clone(&server), parts, principal, prepared);
    match Running::new(work, supervision).await {
        Ok(Some((reply, room))) => delivered(json_response(reply), room),
        Ok(None) => accepted(),
        Err(error) => error_response(version, &error),
    }
}

/// Runs a call until it ends or speaks: then the rest of it moves into the stream.
async fn run_one<H: Handler>(
    server: &Arc<Server<H>>,
    principal: H::Principal,
    call: PreparedCall,
    supervision: Supervision,
) -> Response {
    let PreparedCall { id, version, work } = call;
    let room = server.handler.room(&principal);
    let notifier = work.notifier();
    let shared = Arc::clone(server);
    let reply_id = id.clone();
    let running = Running::new(
        async move {
            let Server { handler, rendered, .. } = &*shared;
            dispatch::run(&**handler, rendered, &principal, &reply_id, version, work).await
        },
        supervision,
    );
    if notifier.is_silent() {
        return delivered(end(running.await, &id, version), room);
    }
    let keep_alive = server.options.keep_alive;
    let mut stream = EventStream::new(running, notifier, id, version, keep_alive);
    let response = match poll_fn(|context| stream.poll_start(context)).await {
        Start::Silent(ended) => end(ended, stream.id(), version),
        Start::Speaks => event_response(stream),
    };
    delivered(response, room)
}

fn delivered(response: Response, room: Option<Room>) -> Response {
    response.map(|body| Body::new(Delivery::new(body, room)))
}

/// What needs neither the caller's identity nor the body.
fn check_caller(parts: &Parts, options: &Options) -> Result<(), Box<Response>> {
    if parts.method != Method::POST {
        let error = RpcError::invalid_request("this endpoint takes POST only: it has no sessions");
        let mut response = with_status(StatusCode::METHOD_NOT_ALLOWED, &error);
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST"));
        return Err(response.into());
    }
    let mut origins = parts.headers.get_all(header::ORIGIN).iter();
    let allowed = match (origins.next(), origins.next()) {
        (None, _) => true,
        (Some(origin), None) => {
            options.allowed_origins.iter().any(|allowed| origin.as_bytes().eq_ignore_ascii_case(allowed.as_bytes()))
        }
        (Some(_), Some(_)) => false,
    };
    if allowed {
        return Ok(());
    }
    let error = RpcError::invalid_request("this Origin is not allowed here");
    Err(with_status(StatusCode::FORBIDDEN, &error).into())
}

async fn read_body(parts: &Parts, body: Body, options: &Options) -> Result<Bytes, Box<Response>> {
    let refuse = |status, text: String| -> Result<Bytes, Box<Response>> {
        Err(with_status(status, &RpcError::invalid_request(text)).into())
    };
    if !is_json(&parts.headers) {
        return refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE, "Content-Type must be application/json".into());
    }
    if !accepts_json(&parts.headers) {
        return refuse(StatusCode::NOT_ACCEPTABLE, "Accept must include application/json or text/event-stream".into());
    }
    let limit = options.max_body_bytes;
    let too_large = || format!("the body is larger than {limit} bytes");
    let declared = parts.headers.get(header::CONTENT_LENGTH);
    let declared: Option<usize> = declared.and_then(|length| length.to_str().ok()?.parse().ok());
    if declared.is_some_and(|length| length > limit) {
        return refuse(StatusCode::PAYLOAD_TOO_LARGE, too_large());
    }
    match timeout(options.body_timeout, Limited::new(body, limit).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => refuse(StatusCode::PAYLOAD_TOO_LARGE, too_large()),
        Ok(Err(_)) => refuse(StatusCode::BAD_REQUEST, "the body broke off".into()),
        Err(_) => refuse(StatusCode::REQUEST_TIMEOUT, "the body did not arrive in time".into()),
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
}

/// Liberal: either of our two forms, a wildcard, or no preference.
fn accepts_json(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(header::ACCEPT).iter().peekable();
    values.peek().is_none()
        || values
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .filter_map(|range| range.split(';').next())
            .map(|range| range.trim().to_ascii_lowercase())
            .any(|range| {
                matches!(&*range, "*/*" | "application/*" | "application/json" | "text/event-stream" | "text/*")
            })
}

fn end(ended: Result<Reply, RpcError>, id: &str, version: Version) -> Response {
    json_response(ended.unwrap_or_else(|error| encode::error(Some(id), version, &error)))
}

fn error_response(version: Version, error: &RpcError) -> Response {
    json_response(encode::error(None, version, error))
}

fn refused(refusal: &Refusal) -> Response {
    let mut response = with_status(refusal.status, &refusal.error);
    response.headers_mut().extend((*refusal.headers).clone());
    response
}

fn with_status(status: StatusCode, error: &RpcError) -> Response {
    let mut response = error_response(Version::ASSUMED, error);
    *response.status_mut() = status;
    response
}

fn json_response(reply: Reply) -> Response {
    let mut response = Response::new(Body::from(reply.json));
    *response.status_mut() = reply.status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn event_response(stream: EventStream) -> Response {
    let mut response = Response::new(Body::new(stream));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(ACCEL_BUFFERING, HeaderValue::from_static("no"));
    response
}

fn accepted() -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::ACCEPTED;
    response
}
