//! `nlactl ca ...`

use clap::{Args, Subcommand};
use nla_proto::v1::{self, authorities_client::AuthoritiesClient};

use crate::{
    args::Globals,
    context::{self, Context},
    exit::CliError,
    input::Confirm,
    output::{Output, views::ca::Authorities},
    session::{MAX_MESSAGE_BYTES, Session},
};

#[derive(Debug, Subcommand)]
pub(crate) enum CaCommand {
    /// Show the authorities, the phase, and who still depends on an old one
    #[command(after_help = "Examples:\n  nlactl ca status\n  nlactl ca status --output json")]
    Status,
    /// Make the next authority and let every edge trust it
    #[command(after_help = "\
Nothing changes for anybody yet. `nlactl ca status` names the edges that have not
confirmed it; then `nlactl ca activate` lets it sign.

Examples:
  nlactl ca prepare")]
    Prepare,
    /// Let the prepared authority sign
    #[command(after_help = "\
Edges renew by themselves within half a minute, operators with `nlactl operator
renew`. The previous authority is trusted, and signs the control plane's own
certificate, until `nlactl ca retire`.

Examples:
  nlactl ca activate
  nlactl ca activate --force --yes")]
    Activate(Forced),
    /// End the trust in the previous authority
    #[command(after_help = "\
Refused while its certificates or join tokens are in use: `nlactl ca status` names
them.

Examples:
  nlactl ca retire
  nlactl ca retire --force --yes")]
    Retire(Forced),
    /// Go one phase back: let the previous authority sign again, or drop the prepared one
    #[command(after_help = "Examples:\n  nlactl ca rollback\n  nlactl ca rollback --yes")]
    Rollback(Forced),
}

#[derive(Debug, Args)]
pub(crate) struct Forced {
    /// Also when somebody is locked out by it, who then has to join or be made again
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    confirm: Confirm,
}

impl Forced {
    fn obtain(&self, question: &str) -> Result<(), CliError> {
        let more = if self.force { " Whoever is not ready for it is locked out." } else { "" };
        self.confirm.obtain(&format!("{question}{more}"))
    }
}

/// Edges with very many names fit as well.
fn client(channel: tonic::transport::Channel) -> AuthoritiesClient<tonic::transport::Channel> {
    AuthoritiesClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES)
}

impl CaCommand {
    pub(crate) async fn run(&self, globals: &Globals, output: &Output) -> Result<(), CliError> {
        let (answer, next) = match self {
            Self::Status => {
                let session = Session::open(globals)?;
                let request = v1::AuthorityStatusRequest {};
                let answer = session.call("show the authorities", request, async |channel, request| {
                    client(channel).status(request).await
                });
                (answer.await?, None)
            }
            Self::Prepare => {
                let session = Session::open(globals)?;
                let request = v1::PrepareAuthorityRequest { idempotency_key: session.key() };
                let answer = session.call("prepare an authority", request, async |channel, request| {
                    client(channel).prepare(request).await
                });
                let next = "When `nlactl ca status` names no waiting edge, let it sign with `nlactl ca activate`.";
                (answer.await?, Some(next))
            }
            Self::Activate(forced) => {
                forced.obtain("Let the next authority sign all new certificates?")?;
                let session = Session::open(globals)?;
                let request = v1::ActivateAuthorityRequest { idempotency_key: session.key(), force: forced.force };
                let answer = session.call("activate the next authority", request, async |channel, request| {
                    client(channel).activate(request).await
                });
                let next = "Each operator runs `nlactl operator renew`; when `nlactl ca status` shows nothing of the previous authority in use, end it with `nlactl ca retire`. Make a backup now (`nlactl system backup`): one from before brings back the old authority.";
                (answer.await?, Some(next))
            }
            Self::Retire(forced) => {
                forced.obtain("End the trust in the previous authority, and destroy its key?")?;
                let session = Session::open(globals)?;
                let request = v1::RetireAuthorityRequest { idempotency_key: session.key(), force: forced.force };
                let answer = session.call("retire the previous authority", request, async |channel, request| {
                    client(channel).retire(request).await
                });
                let next = "Make a backup now (`nlactl system backup`): one from before brings back the authority that has ended.";
                (answer.await?, Some(next))
            }
            Self::Rollback(forced) => {
                forced.obtain("Go one phase back?")?;
                let session = Session::open(globals)?;
                let request = v1::RollbackAuthorityRequest { idempotency_key: session.key(), force: forced.force };
                let answer =
                    session.call("go back", request, async |channel, request| client(channel).rollback(request).await);
                (answer.await?, None)
            }
        };
        // Otherwise an authority that has ended would be trusted until the next
        // renewal. What was asked for is done all the same.
        let (entry, folder) = Context::locate(globals)?;
        let refreshed = context::refresh_authorities(&entry, &folder, &answer.ca_bundle_pem);
        output.result(&Authorities::from_wire(answer))?;
        match refreshed {
            Ok(false) => {}
            Ok(true) => output.hint("The context trusts these authorities from now on."),
            Err(error) => output.hint(&format!(
                "The context still trusts the authorities of before: {}; `nlactl ca status` tries again.",
                crate::exit::message(&error)
            )),
        }
        if let Some(next) = next {
            output.hint(next);
        }
        Ok(())
    }
}
