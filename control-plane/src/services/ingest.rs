//! Audit events from edges.

use std::sync::Arc;

use nla_proto::{failure::Failure, v1};
use tonic::{Request, Response, Status};

use super::Context;
use crate::authz::Caller;

/// Events in one batch: a batch is one write.
const MAX_EVENTS: usize = 1_000;
/// A boot id is a UUID or alike.
const MAX_BOOT_ID: usize = 64;

/// The service.
#[derive(Debug)]
pub(super) struct Ingest(pub(super) Arc<Context>);

#[tonic::async_trait]
impl v1::audit_ingest_server::AuditIngest for Ingest {
    async fn append(&self, request: Request<v1::AppendRequest>) -> Result<Response<v1::AppendResponse>, Status> {
        let caller = Caller::of(&request)?;
        let edge = caller.edge()?;
        let request = request.into_inner();
        check(&request)?;
        let stored_through =
            self.0.store.audit_append(edge, &request.boot_id, request.first_sequence, request.events).await?;
        Ok(Response::new(v1::AppendResponse { stored_through }))
    }
}

fn check(request: &v1::AppendRequest) -> Result<(), Failure> {
    let boot = &request.boot_id;
    if boot.is_empty() || boot.len() > MAX_BOOT_ID || !boot.bytes().all(|b| b.is_ascii_graphic()) {
        let message = format!("boot_id must be 1 to {MAX_BOOT_ID} printable ASCII characters");
        return Err(Failure::invalid("boot_id", message));
    }
    if request.first_sequence == 0 {
        return Err(Failure::invalid("first_sequence", "first_sequence counts from 1"));
    }
    if request.events.is_empty() || request.events.len() > MAX_EVENTS {
        return Err(Failure::invalid("events", format!("a batch holds 1 to {MAX_EVENTS} events")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_are_checked() {
        let good =
            v1::AppendRequest { boot_id: "b".to_owned(), first_sequence: 1, events: vec![v1::CallEvent::default()] };
        assert!(check(&good).is_ok());
        let cases = [
            (v1::AppendRequest { boot_id: String::new(), ..good.clone() }, "boot_id"),
            (v1::AppendRequest { boot_id: "x".repeat(65), ..good.clone() }, "boot_id"),
            (v1::AppendRequest { boot_id: "a b".to_owned(), ..good.clone() }, "boot_id"),
            (v1::AppendRequest { first_sequence: 0, ..good.clone() }, "first_sequence"),
            (v1::AppendRequest { events: vec![], ..good.clone() }, "events"),
            (v1::AppendRequest { events: vec![v1::CallEvent::default(); 1_001], ..good }, "events"),
        ];
        for (request, field) in cases {
            assert_eq!(check(&request).unwrap_err().field.as_deref(), Some(field));
        }
    }
}
