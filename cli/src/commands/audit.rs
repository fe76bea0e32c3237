//! `nlactl audit ...`

use clap::{Args, Subcommand};
use nla_domain::{
    audit::Outcome,
    clock::Timestamp,
    id::{DatabaseName, EdgeId, TokenId},
};
use nla_proto::{
    convert,
    v1::{self, audit_client::AuditClient},
};
use tokio_stream::StreamExt as _;

use super::wire_time;
use crate::{
    exit::CliError,
    output::{
        Output,
        views::audit::{Event, Events},
    },
    session::{MAX_MESSAGE_BYTES, Session},
    values::{self, parse_when},
};

/// What one answer of the control plane holds at most.
const MAX_PAGE: u32 = 1_000;

#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// List events, newest first
    #[command(after_help = "\
Examples:
  nlactl audit list --since 2h --outcome refused
  nlactl audit list --token abcDEF012345 --limit 5000 -o json
  nlactl audit list --kind admin --since 2026-11-01T00:00:00Z --until 1d")]
    List {
        #[command(flatten)]
        filter: Filter,
        /// Most events to show
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
        limit: u32,
    },
    /// Show the latest events, oldest first, and follow the log
    #[command(after_help = "\
Ctrl-C ends it; --after goes on where an earlier run stopped. JSON comes as one object a line.

Examples:
  nlactl audit tail --follow
  nlactl audit tail -f --database shop -o json
  nlactl audit tail -f --after 4711")]
    Tail {
        #[command(flatten)]
        filter: Filter,
        /// Show new events as they happen
        #[arg(long, short)]
        follow: bool,
        /// Begin after the event of this number
        #[arg(long, value_name = "NUMBER", requires = "follow", conflicts_with = "lines")]
        after: Option<u64>,
        /// How many of the latest events to begin with
        #[arg(long, short = 'n', default_value_t = 10)]
        lines: u32,
    },
}

/// Which events. All that are given must hold.
#[derive(Debug, Args)]
pub(crate) struct Filter {
    /// Only calls with this token
    #[arg(long, value_name = "ID")]
    token: Option<TokenId>,
    /// Only calls with tokens of this owner
    #[arg(long)]
    owner: Option<String>,
    /// Only calls to this database
    #[arg(long)]
    database: Option<DatabaseName>,
    /// Only calls to this edge
    #[arg(long)]
    edge: Option<EdgeId>,
    /// Only with this outcome
    #[arg(long, value_parser = values::outcome())]
    outcome: Option<Outcome>,
    /// Only calls that this rule refused
    #[arg(long)]
    rule: Option<String>,
    /// Only from this time on: 2026-11-23T20:00:00Z, or 2h for two hours ago
    #[arg(long, value_name = "TIME", value_parser = parse_when)]
    since: Option<Timestamp>,
    /// Only before this time
    #[arg(long, value_name = "TIME", value_parser = parse_when)]
    until: Option<Timestamp>,
    /// Only calls of agents, or only administration
    #[arg(long, value_parser = ["call", "admin"])]
    kind: Option<String>,
}

impl Filter {
    fn wire(&self) -> v1::AuditFilter {
        let text = |value: Option<String>| value.unwrap_or_default();
        v1::AuditFilter {
            token: text(self.token.map(|id| id.to_string())),
            owner: text(self.owner.clone()),
            database: text(self.database.as_ref().map(ToString::to_string)),
            edge: text(self.edge.as_ref().map(ToString::to_string)),
            outcome: self.outcome.map_or(0, |outcome| convert::outcome(outcome).into()),
            rule: text(self.rule.clone()),
            since: wire_time(self.since),
            until: wire_time(self.until),
            kind: text(self.kind.clone()),
        }
    }
}

impl AuditCommand {
    pub(crate) async fn run(&self, session: &Session, output: &Output) -> Result<(), CliError> {
        match self {
            Self::List { filter, limit } => {
                let events = latest(session, filter, *limit).await?;
                output.result(&Events(events))
            }
            Self::Tail { filter, follow, after, lines } => {
                let mut last = after.unwrap_or_default();
                if after.is_none() {
                    for event in latest(session, filter, *lines).await?.iter().rev() {
                        output.stream_item(&event.line(), event)?;
                        last = event.sequence;
                    }
                }
                if *follow { tail(session, output, filter, last).await } else { Ok(()) }
            }
        }
    }
}

/// The newest events, newest first, page by page.
async fn latest(session: &Session, filter: &Filter, limit: u32) -> Result<Vec<Event>, CliError> {
    let mut events = Vec::new();
    let mut page_token = String::new();
    loop {
        let missing = limit.saturating_sub(u32::try_from(events.len()).unwrap_or(u32::MAX));
        if missing == 0 {
            return Ok(events);
        }
        let request =
            v1::ListAuditRequest { filter: Some(filter.wire()), page_size: missing.min(MAX_PAGE), page_token };
        let answer = session
            .call("list the audit events", request, async |channel, request| {
                AuditClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES).list(request).await
            })
            .await?;
        events.extend(answer.events.into_iter().map(Event::from_wire).take(missing as usize));
        if answer.next_page_token.is_empty() {
            return Ok(events);
        }
        page_token = answer.next_page_token;
    }
}

/// Shows events until Ctrl-C.
async fn tail(session: &Session, output: &Output, filter: &Filter, mut last: u64) -> Result<(), CliError> {
    let what = "follow the audit log";
    let request = v1::TailAuditRequest { filter: Some(filter.wire()), after_sequence: last };
    let mut events = session
        .stream(what, request, async |channel, request| {
            AuditClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES).tail(request).await
        })
        .await?;
    let interrupt = tokio::signal::ctrl_c();
    tokio::pin!(interrupt);
    let end = loop {
        tokio::select! {
            // In this order: the first look installs the handler, so that
            // Ctrl-C is heard from the first event on.
            biased;
            signal = &mut interrupt => {
                break signal.map_err(|source| CliError::local("cannot wait for Ctrl-C", source));
            }
            event = events.next() => match event {
                Some(Ok(event)) => {
                    let event = Event::from_wire(event);
                    last = event.sequence;
                    output.stream_item(&event.line(), &event)?;
                }
                Some(Err(status)) => break Err(CliError::from_status(what, session.url(), &status)),
                None => {
                    let status = tonic::Status::unavailable("the control plane ended the stream");
                    break Err(CliError::from_status(what, session.url(), &status));
                }
            },
        }
    };
    output.hint(&format!("Go on with: nlactl audit tail --follow --after {last}"));
    end
}
