//! `nlactl edge ...`

use std::{path::PathBuf, time::Duration};

use clap::{Args, Subcommand};
use nla_domain::{id::EdgeId, secret::Secret};
use nla_proto::v1::{self, edges_client::EdgesClient};

use super::wire_span;
use crate::{
    args::Globals,
    exit::CliError,
    input::{Confirm, SecretFile},
    output::{
        Output,
        views::{
            List,
            edge::{Edge, JoinToken},
            token::Delivery,
        },
    },
    session::{MAX_MESSAGE_BYTES, Session},
    values::parse_span,
};

#[derive(Debug, Subcommand)]
pub(crate) enum EdgeCommand {
    /// List edges, connected or not
    #[command(after_help = "Examples:\n  nlactl edge list\n  nlactl edge list -o json")]
    List,
    /// Show one edge
    #[command(after_help = "Examples:\n  nlactl edge show edge-1\n  nlactl edge show edge-1 -o yaml")]
    Show {
        /// The edge
        id: EdgeId,
    },
    /// Create a join token, with which one edge enrols once
    #[command(after_help = "\
Examples:
  nlactl edge join-token edge-1 --out edge-1.join
  nlactl edge join-token edge-1 --ttl 30m --allow-cidr 10.1.0.0/16")]
    JoinToken(Join),
    /// Ban an edge: its certificate and its copy of the state are worth nothing any more
    #[command(
        after_help = "Examples:\n  nlactl edge revoke edge-1 --reason 'machine sold'\n  nlactl edge revoke edge-1 --yes"
    )]
    Revoke {
        /// The edge
        id: EdgeId,
        /// Why, for the audit log
        #[arg(long, default_value = "")]
        reason: String,
        #[command(flatten)]
        confirm: Confirm,
    },
    /// Have load balancers take an edge out: it is not ready, and answers what still comes
    #[command(after_help = "Examples:\n  nlactl edge drain edge-1 --reason 'kernel update'")]
    Drain {
        /// The edge
        id: EdgeId,
        /// Why, for the audit log and the edge's /readyz
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Suspend an edge: it refuses all calls, cancels running ones and forgets what it knows, until `release`
    #[command(after_help = "\
Examples:
  nlactl edge quarantine edge-1 --reason 'calls from an unknown network'
  nlactl edge quarantine edge-1 --yes")]
    Quarantine {
        /// The edge
        id: EdgeId,
        /// Why, for the audit log and the edge's /readyz
        #[arg(long, default_value = "")]
        reason: String,
        #[command(flatten)]
        confirm: Confirm,
    },
    /// End a quarantine: the edge gets the whole state and serves again
    #[command(after_help = "Examples:\n  nlactl edge release edge-1")]
    Release {
        /// The edge
        id: EdgeId,
    },
    /// End a drain: the edge is ready again
    #[command(after_help = "Examples:\n  nlactl edge resume edge-1")]
    Resume {
        /// The edge
        id: EdgeId,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Join {
    /// The name that the edge will have
    edge: EdgeId,
    /// How long the join token can be used [default: 10m]
    #[arg(long, value_parser = parse_span, value_name = "TIME")]
    ttl: Option<Duration>,
    /// Only accepted from these addresses; repeat for more [default: from anywhere]
    #[arg(long = "allow-cidr", value_name = "CIDR")]
    allowed_cidrs: Vec<String>,
    /// Write it to a new file that only you may read, and do not show it
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

impl EdgeCommand {
    pub(crate) async fn run(&self, globals: &Globals, output: &Output) -> Result<(), CliError> {
        match self {
            Self::List => {
                let answer = Session::open(globals)?
                    .call("list the edges", v1::ListEdgesRequest {}, async |channel, request| {
                        EdgesClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES).list(request).await
                    })
                    .await?;
                output.result(&List(answer.edges.into_iter().map(Edge::from_wire).collect()))
            }
            Self::Show { id } => {
                let request = v1::GetEdgeRequest { id: id.to_string() };
                let answer = Session::open(globals)?
                    .call(&format!("show edge {id}"), request, async |channel, request| {
                        EdgesClient::new(channel).get(request).await
                    })
                    .await?;
                output.result(&Edge::from_wire(answer))
            }
            Self::JoinToken(join) => join.run(&Session::open(globals)?, output).await,
            Self::Revoke { id, reason, confirm } => {
                confirm.obtain(&format!("Revoke edge {id}? It stops at once and has to be enrolled anew."))?;
                let session = Session::open(globals)?;
                let request = v1::RevokeEdgeRequest {
                    idempotency_key: session.key(),
                    id: id.to_string(),
                    reason: reason.clone(),
                };
                let answer = session
                    .call(&format!("revoke edge {id}"), request, async |channel, request| {
                        EdgesClient::new(channel).revoke(request).await
                    })
                    .await?;
                output.result(&Edge::from_wire(answer))
            }
            Self::Drain { id, reason } => {
                let session = Session::open(globals)?;
                let (idempotency_key, id, reason) = (session.key(), id.to_string(), reason.clone());
                let what = format!("drain edge {id}");
                let request = v1::DrainEdgeRequest { idempotency_key, id, reason };
                let answer = session
                    .call(&what, request, async |channel, request| EdgesClient::new(channel).drain(request).await)
                    .await?;
                output.result(&Edge::from_wire(answer))
            }
            Self::Quarantine { id, reason, confirm } => {
                confirm.obtain(&format!("Put edge {id} into quarantine? Its running calls are cancelled."))?;
                let session = Session::open(globals)?;
                let (idempotency_key, id, reason) = (session.key(), id.to_string(), reason.clone());
                let what = format!("put edge {id} into quarantine");
                let request = v1::QuarantineEdgeRequest { idempotency_key, id, reason };
                let answer = session
                    .call(&what, request, async |channel, request| EdgesClient::new(channel).quarantine(request).await)
                    .await?;
                output.result(&Edge::from_wire(answer))
            }
            Self::Release { id } => {
                let session = Session::open(globals)?;
                let request = v1::ReleaseEdgeRequest { idempotency_key: session.key(), id: id.to_string() };
                let answer = session
                    .call(&format!("release edge {id}"), request, async |channel, request| {
                        EdgesClient::new(channel).release(request).await
                    })
                    .await?;
                output.result(&Edge::from_wire(answer))
            }
            Self::Resume { id } => {
                let session = Session::open(globals)?;
                let request = v1::ResumeEdgeRequest { idempotency_key: session.key(), id: id.to_string() };
                let answer = session
                    .call(&format!("resume edge {id}"), request, async |channel, request| {
                        EdgesClient::new(channel).resume(request).await
                    })
                    .await?;
                output.result(&Edge::from_wire(answer))
            }
        }
    }
}

impl Join {
    async fn run(&self, session: &Session, output: &Output) -> Result<(), CliError> {
        let file = self.out.as_deref().map(SecretFile::reserve).transpose()?;
        let edge = self.edge.to_string();
        let request = v1::CreateJoinTokenRequest {
            idempotency_key: session.key(),
            edge_id: edge.clone(),
            lifetime: wire_span(self.ttl),
            allowed_cidrs: self.allowed_cidrs.clone(),
        };
        let answer = session
            .call(&format!("create a join token for {edge}"), request, async |channel, request| {
                EdgesClient::new(channel).create_join_token(request).await
            })
            .await?;
        let token = Secret::new(answer.join_token);
        let delivery = match file {
            None => Delivery::Shown(token),
            Some(file) => Delivery::File(file.write(token.expose(), "create another")?),
        };
        let shown = matches!(delivery, Delivery::Shown(_));
        output.result(&JoinToken::new(edge, delivery, answer.expires_at))?;
        if shown {
            output.hint("It works once and is not shown again: give it to the edge's configuration now.");
        }
        Ok(())
    }
}
