//! Replaces many tokens: shows the plan, asks, then one after the other. A run
//! with a folder can be repeated after an interruption: what it has begun is in
//! the folder, and each token's request keeps its idempotency key, so that none
//! is replaced twice and an answer that got lost is given again.

use std::{path::Path, time::Duration};

use nla_domain::{
    clock::{SystemClock, WallClock as _},
    error::ErrorKind,
    secret::Secret,
};
use nla_proto::{
    convert, files,
    v1::{self, tokens_client::TokensClient},
};

use super::{
    list::list,
    rotate::{How, SILENT_EDGE},
    run_folder::{Run, RunFolder},
};
use crate::{
    args::Globals,
    exit::CliError,
    input::Confirm,
    output::{
        Output,
        views::rotation::{Failed, Plan, Planned, Rotated, RotatedToken, Skipped},
    },
    session::Session,
    values::TokenFilter,
};

/// A token that a rotation has just made is not to be rotated: whoever repeats
/// a run without a folder must not replace what the first one has made.
const FRESH: Duration = Duration::from_secs(3600);

pub(super) struct RotateAll<'a> {
    pub(super) filter: TokenFilter,
    pub(super) dir: Option<&'a Path>,
    pub(super) dry_run: bool,
    pub(super) how: &'a How,
    pub(super) confirm: &'a Confirm,
}

impl RotateAll<'_> {
    pub(super) async fn run(&self, globals: &Globals, output: &Output) -> Result<(), CliError> {
        if self.dir.is_none() && !self.dry_run && output.is_table() {
            return Err(CliError::usage("there is no place for the new tokens")
                .with_next("name a folder with --token-dir, or print them as JSON with --output json"));
        }
        let session = Session::open(globals)?;
        let request = self.how.request();
        let selection = format!("{:?}", self.filter);
        let folder = self.dir.filter(|_| !self.dry_run).map(RunFolder::new).transpose()?;
        let begun = folder.as_ref().map(|folder| folder.begun(&selection, &request)).transpose()?.flatten();
        let plan = match &begun {
            Some(run) => Plan::again(run.tokens.clone()),
            None => self.plan(&session).await?,
        };
        if self.dry_run {
            return output.result(&plan);
        }
        plan.lines().iter().for_each(|line| output.hint(line));
        let count = plan.tokens.len();
        if count == 0 {
            return output.result(&Rotated { skipped: plan.skipped, ..Rotated::default() });
        }
        let ends = if self.how.overlap().is_zero() { " and end the old ones at once" } else { "" };
        self.confirm.obtain(&format!("Replace {count} tokens{ends}?"))?;
        let run = match (begun, &folder) {
            (Some(run), _) => run,
            (None, Some(folder)) => folder.begin(&selection, &request, plan.ids())?,
            (None, None) => Run::new(&selection, &request, plan.ids()),
        };
        let mut done = Rotated { skipped: plan.skipped, ..Rotated::default() };
        for (number, id) in run.tokens.iter().enumerate() {
            let path = folder.as_ref().map(|folder| folder.token_file(id));
            if let Some(path) = path.filter(|path| path.exists()) {
                output.hint(&format!("[{}/{count}] {id} was replaced before", number + 1));
                done.tokens.push(RotatedToken {
                    predecessor: id.clone(),
                    token_file: Some(path),
                    ..Default::default()
                });
                continue;
            }
            match replace(&session, &run, &request, id, folder.as_ref(), output).await {
                Ok(token) => {
                    output.hint(&format!("[{}/{count}] {id} -> {}", number + 1, token.id));
                    done.tokens.push(token);
                }
                Err(error @ (CliError::Unreachable { .. } | CliError::Local { .. })) => {
                    // It would be the same for all others.
                    done.left = run.tokens[number..].to_vec();
                    show(output, folder.is_some(), &done)?;
                    output.hint(&format!("{} of {count} tokens are left: repeat the command", done.left.len()));
                    return Err(error);
                }
                Err(error) => {
                    let error = why(&error);
                    output.hint(&format!("[{}/{count}] {id} was not replaced: {error}", number + 1));
                    done.failed.push(Failed { id: id.clone(), error });
                }
            }
        }
        show(output, folder.is_some(), &done)?;
        if done.failed.is_empty() {
            let unconfirmed = done.unconfirmed();
            if unconfirmed.is_empty() {
                return Ok(());
            }
            let message = format!(
                "all are replaced, but {} did not confirm the end of old tokens in time",
                unconfirmed.join(", ")
            );
            return Err(CliError::Incomplete { message, next: None }.with_next(SILENT_EDGE));
        }
        let ids: Vec<&str> = done.failed.iter().map(|failed| failed.id.as_str()).collect();
        let message = format!("{} of {count} tokens were not replaced: {}", ids.len(), ids.join(", "));
        Err(CliError::Incomplete { message, next: None }
            .with_next("look at each with `nlactl token show`, then replace it with `nlactl token rotate ID`"))
    }

    /// Which tokens are replaced, and which of those that fit are not.
    async fn plan(&self, session: &Session) -> Result<Plan, CliError> {
        let now = SystemClock.now();
        let fresh = self.how.overlap().max(FRESH);
        let mut plan = Plan::default();
        for token in list(session, &self.filter, false).await? {
            let made = token.meta.as_ref().and_then(|meta| meta.created_at.as_ref());
            let made = made.and_then(|at| convert::from_timestamp("created_at", at).ok()).unwrap_or_default();
            let why = match () {
                () if !token.successor.is_empty() => format!("has a successor already: {}", token.successor),
                () if !token.predecessor.is_empty() && now.since(made) < fresh => {
                    format!("has just been made in the place of {}", token.predecessor)
                }
                () => {
                    plan.tokens.push(Planned { id: token.id, owner: token.owner, purpose: token.purpose });
                    continue;
                }
            };
            plan.skipped.push(Skipped { id: token.id, why });
        }
        Ok(plan)
    }
}

/// Replaces one and puts the new one where it belongs.
async fn replace(
    session: &Session,
    run: &Run,
    request: &v1::RotateTokenRequest,
    id: &str,
    folder: Option<&RunFolder>,
    output: &Output,
) -> Result<RotatedToken, CliError> {
    let request = v1::RotateTokenRequest { idempotency_key: run.key(id), id: id.to_owned(), ..request.clone() };
    let answer = session
        .call(&format!("rotate token {id}"), request, async |channel, request| {
            TokensClient::new(channel).rotate(request).await
        })
        .await?;
    let new = answer.token.unwrap_or_default();
    let text = Secret::new(answer.token_text);
    let mut token = RotatedToken { id: new.id, predecessor: id.to_owned(), ..Default::default() };
    token.unconfirmed = answer.edges.into_iter().filter(|edge| !edge.applied).map(|edge| edge.edge_id).collect();
    match folder {
        Some(folder) => {
            let path = folder.token_file(id);
            let line = zeroize::Zeroizing::new(format!("{}\n", text.expose()));
            // In one step: a file that is there is whole, also after a kill.
            files::write_private(&path, line.as_bytes())
                .map_err(|source| CliError::local(format!("cannot write the new token of {id}"), source))?;
            token.token_file = Some(path);
        }
        None => {
            token.token_text = Some(text);
            output.stream_item("", &token)?;
            token.token_text = None;
        }
    }
    Ok(token)
}

/// Without a folder each token was shown by itself.
fn show(output: &Output, in_folder: bool, done: &Rotated) -> Result<(), CliError> {
    if in_folder { output.result(done) } else { Ok(()) }
}

/// What a control plane said, without how we called it.
fn why(error: &CliError) -> String {
    match error {
        CliError::Answered { source, .. } if source.kind == ErrorKind::FailedPrecondition => source.message.clone(),
        error => crate::exit::message(error).lines().next().unwrap_or_default().to_owned(),
    }
}
