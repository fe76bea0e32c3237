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

use tokio::time::Instant;

use super::{
    super::{receipt, wire_span},
    get,
    list::list,
    rotate::{DEFAULT_WAIT, How, SILENT_EDGE},
    run_folder::{Run, RunFolder},
};
use crate::{
    args::Globals,
    exit::CliError,
    input::Confirm,
    output::{
        Output,
        views::{
            receipt::Receipt,
            rotation::{Failed, Plan, Planned, Rotated, RotatedToken, Skipped},
        },
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
        let at_once = self.how.overlap().is_zero();
        // The newest change that ended a token.
        let mut ended = 0;
        for (number, id) in run.tokens.iter().enumerate() {
            let path = folder.as_ref().map(|folder| folder.token_file(id));
            if let Some(path) = path.filter(|path| path.exists()) {
                output.hint(&format!("[{}/{count}] {id} was replaced before", number + 1));
                if at_once {
                    // Its run may have stopped before it looked at the edges.
                    ended = ended.max(self.ended_at(&session, id).await?);
                }
                done.tokens.push(RotatedToken {
                    predecessor: id.clone(),
                    token_file: Some(path),
                    ..Default::default()
                });
                continue;
            }
            match replace(&session, &run, &request, id, folder.as_ref(), output).await {
                Ok((token, revision)) => {
                    ended = ended.max(revision);
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
                    let lost = lost(&session, id, folder.as_ref()).await;
                    let error = lost.unwrap_or_else(|| why(&error));
                    output.hint(&format!("[{}/{count}] {id} was not replaced: {error}", number + 1));
                    done.failed.push(Failed { id: id.clone(), error });
                }
            }
        }
        if at_once && ended > 0 {
            done.unconfirmed = unconfirmed(globals, ended).await?;
        }
        show(output, folder.is_some(), &done)?;
        let silent =
            format!("{} did not confirm the end of old tokens in time (revision {ended})", done.unconfirmed.join(", "));
        if done.failed.is_empty() {
            if done.unconfirmed.is_empty() {
                return Ok(());
            }
            let message = format!("all are replaced, but {silent}");
            return Err(CliError::Incomplete { message, next: None }.with_next(SILENT_EDGE));
        }
        let ids: Vec<&str> = done.failed.iter().map(|failed| failed.id.as_str()).collect();
        let mut message = format!("{} of {count} tokens were not replaced: {}", ids.len(), ids.join(", "));
        if !done.unconfirmed.is_empty() {
            message = format!("{message}; {silent}");
        }
        Err(CliError::Incomplete { message, next: None }
            .with_next("do what is said of each, or look at it with `nlactl token show ID`"))
    }

    /// The change that ended a token; 0 where there is no such token any more.
    async fn ended_at(&self, session: &Session, id: &str) -> Result<u64, CliError> {
        let Ok(id) = id.parse() else { return Ok(0) };
        match get(session, &id).await {
            Ok(token) => Ok(token.meta.map_or(0, |meta| meta.revision)),
            Err(CliError::Answered { source, .. }) if source.kind == ErrorKind::NotFound => Ok(0),
            Err(error) => Err(error),
        }
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

/// The edges that may still accept a token that ended with that revision or an
/// earlier one. Asked once for all tokens, so that a silent edge is waited for
/// once.
async fn unconfirmed(globals: &Globals, revision: u64) -> Result<Vec<String>, CliError> {
    let deadline = Instant::now() + DEFAULT_WAIT;
    let receipt = receipt::until(Session::open(globals)?, revision, v1::Staleness::Standard, deadline).await?;
    Ok(Receipt::from_wire(receipt).outstanding())
}

/// What to do about a token that was replaced while its successor's text got
/// lost: the control plane remembers an answer for an hour only.
async fn lost(session: &Session, id: &str, folder: Option<&RunFolder>) -> Option<String> {
    let file = folder?.token_file(id);
    let successor = get(session, &id.parse().ok()?).await.ok()?.successor;
    let lost = format!("its successor {successor} was made, and the answer with its text got lost; run");
    let command = format!("nlactl token rotate {successor} --overlap 0s --yes --token-file '{}'", file.display());
    (!successor.is_empty()).then(|| format!("{lost} `{command}`"))
}

/// Replaces one and puts the new one where it belongs. With the revision that
/// did it.
async fn replace(
    session: &Session,
    run: &Run,
    request: &v1::RotateTokenRequest,
    id: &str,
    folder: Option<&RunFolder>,
    output: &Output,
) -> Result<(RotatedToken, u64), CliError> {
    let request = v1::RotateTokenRequest {
        idempotency_key: run.key(id),
        id: id.to_owned(),
        wait: wire_span(Some(Duration::ZERO)),
        ..request.clone()
    };
    let answer = session
        .call(&format!("rotate token {id}"), request, async |channel, request| {
            TokensClient::new(channel).rotate(request).await
        })
        .await?;
    let new = answer.token.unwrap_or_default();
    let text = Secret::new(answer.token_text);
    let mut token = RotatedToken { id: new.id, predecessor: id.to_owned(), ..Default::default() };
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
    Ok((token, answer.revision))
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
