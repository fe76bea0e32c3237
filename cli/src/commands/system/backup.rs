//! `nlactl system backup` and `backup-info`.

use std::{
    fs::File,
    io::{self, BufReader, IsTerminal as _, Write as _},
    path::Path,
    time::{Duration, Instant},
};

use nla_domain::hex;
use nla_proto::{
    backup::{BackupHash, BackupReader, BackupSum},
    v1::{self, BackupManifest, backup_part::Part, backups_client::BackupsClient},
};
use tokio_stream::StreamExt as _;
use tonic::{Status, Streaming};

use super::part::PartFile;
use crate::{
    args::Globals,
    exit::CliError,
    output::{
        Output, bytes as human_bytes, hint,
        views::backup::{Backup, BackupInfo},
    },
    session::{MAX_MESSAGE_BYTES, Session},
};

const WHAT: &str = "back up the control plane";
/// The control plane gives up sooner.
const SILENCE: Duration = Duration::from_secs(60);
/// Between two looks at the progress.
const PROGRESS_EVERY: Duration = Duration::from_millis(500);

/// Where it goes.
enum Target {
    File(PartFile),
    Stdout,
}

impl Target {
    fn write(&mut self, bytes: &[u8]) -> Result<(), CliError> {
        match self {
            Self::File(file) => file.write(bytes),
            Self::Stdout => {
                let mut stdout = io::stdout().lock();
                let written = stdout.write_all(bytes).and_then(|()| stdout.flush());
                written.map_err(|error| CliError::local("cannot write the backup to stdout", error))
            }
        }
    }
}

pub(super) async fn backup(globals: &Globals, output: &Output, file: &Path, force: bool) -> Result<(), CliError> {
    let to_stdout = file == Path::new("-");
    if to_stdout && io::stdout().is_terminal() {
        return Err(
            CliError::usage("a backup is no text for a terminal").with_next("name a file, or send stdout to one")
        );
    }
    let session = Session::open(globals)?;
    let mut target = if to_stdout { Target::Stdout } else { Target::File(PartFile::create(file, force)?) };
    let mut parts = session
        .stream(WHAT, v1::CreateBackupRequest {}, async |channel, request| {
            BackupsClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES).create(request).await
        })
        .await?;
    let interrupt = tokio::signal::ctrl_c();
    tokio::pin!(interrupt);
    let taken = tokio::select! {
        // The first look installs the handler.
        biased;
        _ = &mut interrupt => {
            let message = "interrupted: no backup was made";
            return Err(CliError::Incomplete { message: message.into(), next: None });
        }
        taken = take(&session, &mut parts, &mut target, globals.quiet) => taken?,
    };
    let (begin, sum) = taken;
    match target {
        Target::Stdout => {
            let text = format!(
                "Backed up revision {}: {} bytes, SHA-256 {}",
                begin.revision,
                sum.bytes,
                hex::encode(&sum.sha256)
            );
            output.hint(&text);
            Ok(())
        }
        Target::File(part) => {
            part.finish(|part| match read(part)? {
                (_, found) if found == sum => Ok(()),
                _ => Err(CliError::Local {
                    message: "what was read back from the disk is not what was written".into(),
                    next: Some("look after the disk, then try again".into()),
                    source: None,
                }),
            })?;
            output.result(&Backup::new(file, &begin, &sum))?;
            output.hint("It opens with the control plane's key-encryption key only: keep that elsewhere.");
            Ok(())
        }
    }
}

/// Takes the whole file.
async fn take(
    session: &Session,
    parts: &mut Streaming<v1::BackupPart>,
    target: &mut Target,
    quiet: bool,
) -> Result<(v1::BackupBegin, BackupSum), CliError> {
    let failed = |status: &Status| CliError::from_status(WHAT, session.url(), status);
    let mut progress = Progress::new(quiet);
    let mut hash = BackupHash::default();
    let mut bytes = 0;
    let mut begin = None;
    loop {
        let part = tokio::time::timeout(SILENCE, parts.next()).await;
        let part = part.map_err(|_| failed(&Status::deadline_exceeded("nothing came for a minute")))?;
        let part = part.unwrap_or_else(|| Err(Status::unavailable("the control plane ended the stream too early")));
        match (part.map_err(|status| failed(&status))?.part, &begin) {
            (Some(Part::Begin(found)), None) => begin = Some(found),
            (Some(Part::Data(data)), Some(begin)) => {
                target.write(&data.bytes)?;
                hash.update(&data.bytes);
                bytes += data.bytes.len() as u64;
                progress.show(data.pairs, begin.pairs, bytes);
            }
            (Some(Part::End(end)), Some(begin)) => {
                let sum = BackupSum { pairs: end.pairs, bytes, sha256: hash.sum() };
                if end.bytes != bytes || end.sha256 != sum.sha256 {
                    return Err(failed(&Status::data_loss("what came is not what was sent: try again")));
                }
                return Ok((begin.clone(), sum));
            }
            _ => {
                return Err(failed(&Status::internal(
                    "the answer is malformed: is nlactl older than the control plane?",
                )));
            }
        }
    }
}

/// A line on stderr that is written again and again, for people only.
struct Progress {
    shown: Option<Instant>,
    wanted: bool,
}

impl Progress {
    fn new(quiet: bool) -> Self {
        Self { shown: None, wanted: !quiet && io::stderr().is_terminal() }
    }

    fn show(&mut self, pairs: u64, of: u64, bytes: u64) {
        if !self.wanted || self.shown.is_some_and(|at| at.elapsed() < PROGRESS_EVERY) {
            return;
        }
        self.shown = Some(Instant::now());
        // Nobody is left to tell when stderr is closed.
        let _ = write!(io::stderr(), "\r{pairs} of {of} records, {}    ", human_bytes(bytes));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown.is_some() {
            hint(false, "");
        }
    }
}

/// Shows what a file says that it is, once it was found whole.
pub(super) fn info(output: &Output, file: &Path) -> Result<(), CliError> {
    let (manifest, sum) = read(file)?;
    output.result(&BackupInfo::new(file, &manifest, &sum))
}

/// Reads a backup to its end, without a key.
fn read(file: &Path) -> Result<(BackupManifest, BackupSum), CliError> {
    let opened = File::open(file).map_err(|error| CliError::local(format!("cannot read {}", file.display()), error))?;
    let unusable = |error| CliError::local(format!("{} is no usable backup", file.display()), error);
    let mut reader = BackupReader::open(BufReader::with_capacity(1 << 20, opened)).map_err(unusable)?;
    while reader.next_pair().map_err(unusable)?.is_some() {}
    let sum = reader.sum().unwrap_or_default();
    Ok((reader.manifest().clone(), sum))
}
