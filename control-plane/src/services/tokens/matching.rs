//! Shows what a filter stands for, before something is done to it.

use std::sync::Arc;

use nla_domain::error::ErrorKind;
use nla_proto::{failure::Failure, v1};
use tonic::{Request, Response, Status};

use super::{
    super::{Context, view},
    MAX_LISTED,
    filter::Filter,
};

/// The service.
#[derive(Debug)]
pub(in crate::services) struct Matching(pub(in crate::services) Arc<Context>);

#[tonic::async_trait]
impl v1::token_selection_server::TokenSelection for Matching {
    async fn r#match(
        &self,
        request: Request<v1::MatchTokensRequest>,
    ) -> Result<Response<v1::MatchTokensResponse>, Status> {
        let filter = Filter::read(&request.into_inner().filter.unwrap_or_default())?;
        let state = self.0.store.state();
        let found: Vec<_> = filter.matching(&state, &self.0.sync, self.0.clock.now()).take(MAX_LISTED + 1).collect();
        if found.len() > MAX_LISTED {
            let message = format!("there are more than {MAX_LISTED} such tokens: narrow the filter");
            return Err(Failure::new(ErrorKind::FailedPrecondition, message).with_field("filter").into());
        }
        let tokens = found.into_iter().map(|stored| view::token(&stored.value, &stored.meta)).collect();
        Ok(Response::new(v1::MatchTokensResponse { tokens, revision: state.revision.0 }))
    }
}
