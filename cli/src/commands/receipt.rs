//! `nlactl receipt ...`

use std::time::Duration;

use clap::{Args, Subcommand};
use nla_proto::v1::{self, receipts_client::ReceiptsClient};
use tokio::time::Instant;

use super::wire_span;
use crate::{
    args::Globals,
    exit::CliError,
    output::{Output, views::receipt::Receipt},
    session::{MAX_MESSAGE_BYTES, Session},
    values::parse_span,
};

/// What the control plane waits at most in one call; longer waits are several.
const ONE_WAIT: Duration = Duration::from_secs(60);
/// What is added to a wait, so that the control plane can answer after it.
pub(super) const GRACE: Duration = Duration::from_secs(5);
/// `--wait` without a time: in it a reachable fleet has long confirmed, and an
/// edge with strict tokens that is out of reach has fenced itself.
pub(super) const WAIT: &str = "60s";

#[derive(Debug, Subcommand)]
pub(crate) enum ReceiptCommand {
    /// Show what each edge has made of a revision
    #[command(after_help = "\
Each change answers the revision that it made. Ends with 1 while an edge has
neither applied it nor fenced itself.

Examples:
  nlactl receipt show --revision 1042
  nlactl receipt show --revision 1042 --wait 5m -o json
  nlactl receipt show --revision 1042 --strict --wait")]
    Show(Show),
}

#[derive(Debug, Args)]
pub(crate) struct Show {
    /// The revision
    #[arg(long)]
    revision: u64,
    /// How long to wait for it to be complete [default: 0s; without TIME: 60s]
    #[arg(long, value_parser = parse_span, value_name = "TIME", num_args = 0..=1, default_missing_value = WAIT)]
    wait: Option<Duration>,
    /// By the bound of strict tokens, which is the shorter one
    #[arg(long)]
    strict: bool,
}

impl ReceiptCommand {
    pub(crate) async fn run(&self, globals: &Globals, output: &Output) -> Result<(), CliError> {
        match self {
            Self::Show(show) => show.run(globals, output).await,
        }
    }
}

impl Show {
    async fn run(&self, globals: &Globals, output: &Output) -> Result<(), CliError> {
        let session = Session::open(globals)?;
        let class = if self.strict { v1::Staleness::Strict } else { v1::Staleness::Standard };
        let deadline = Instant::now() + self.wait.unwrap_or_default();
        let receipt = Receipt::from_wire(until(session, self.revision, class, deadline).await?);
        output.result(&receipt)?;
        complete(&receipt, "the revision is committed")
    }
}

/// The receipt of a revision when it is complete, or at the deadline.
pub(super) async fn until(
    session: Session,
    revision: u64,
    class: v1::Staleness,
    deadline: Instant,
) -> Result<v1::Receipt, CliError> {
    let session = session.at_least(ONE_WAIT + GRACE);
    loop {
        let wait = deadline.saturating_duration_since(Instant::now()).min(ONE_WAIT);
        let request = v1::GetReceiptRequest { revision, staleness: class.into(), wait: wire_span(Some(wait)) };
        let receipt = session
            .call(&format!("show the receipt of revision {revision}"), request, async |channel, request| {
                ReceiptsClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES).get(request).await
            })
            .await?;
        if receipt.complete || Instant::now() >= deadline {
            return Ok(receipt);
        }
    }
}

/// How the command ends by its receipt.
pub(super) fn complete(receipt: &Receipt, done: &str) -> Result<(), CliError> {
    if receipt.is_complete() {
        return Ok(());
    }
    let message = format!("{done}, but an edge may still go by what was before: {}", receipt.outstanding().join(", "));
    Err(CliError::Incomplete { message, next: None }.with_next(
        "wait for that time with `nlactl receipt show --revision ... --wait`, or stop the edge; see `nlactl edge list`",
    ))
}
