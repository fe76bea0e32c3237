//! From a connected socket to a session: TLS, the start-up message, the
//! password, and the key for cancel requests. `connect` calls it.
//! Invariants: nothing is read in clear text beyond the one byte that answers
//! the request for TLS; a password in clear text is sent over TLS only; a server
//! that was to prove itself (SCRAM) is not believed before it has.

use std::sync::Arc;

use bytes::BytesMut;
use postgres_protocol::{
    authentication::{
        md5_hash,
        sasl::{ChannelBinding, SCRAM_SHA_256, SCRAM_SHA_256_PLUS, ScramSha256},
    },
    message::{backend as tag, frontend},
};
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsConnector;

use super::{CancelKey, Reported, Session, WireError, binding};
use crate::pg::{
    connect_error::{ConnectCause, ConnectError, ConnectStage},
    socket::{Peer, Socket},
    tls,
};

/// A socket with what protects it.
pub(crate) struct Protected {
    pub(crate) stream: Box<dyn Socket>,
    encrypted: bool,
    binding: Option<Vec<u8>>,
}

/// Asks for TLS and begins it, if there is to be any.
///
/// # Errors
/// [`ConnectError`] of the step TLS; there is no way back to a plain connection.
pub(crate) async fn protect(
    mut socket: Box<dyn Socket>,
    tls: Option<(Arc<ClientConfig>, &str)>,
) -> Result<Protected, ConnectError> {
    let Some((config, host)) = tls else {
        return Ok(Protected { stream: socket, encrypted: false, binding: None });
    };
    let failed = |cause| ConnectError::new(ConnectStage::Tls, cause);
    let name = ServerName::try_from(host.to_owned())
        .map_err(|_| failed(ConnectCause::Tls("the host is not a valid TLS server name".to_owned())))?;
    let mut request = BytesMut::new();
    frontend::ssl_request(&mut request);
    let asked = async {
        socket.write_all(&request).await?;
        socket.flush().await?;
        socket.read_u8().await
    };
    match asked.await {
        Ok(b'S') => {}
        Ok(b'N') => return Err(failed(ConnectCause::NoTls)),
        Ok(_) | Err(_) => return Err(failed(ConnectCause::Protocol)),
    }
    let stream = TlsConnector::from(config).connect(name, socket).await.map_err(|error| {
        let reason = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        failed(reason.map_or(ConnectCause::Protocol, |reason| ConnectCause::Tls(tls::explain(reason))))
    })?;
    let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
    let binding = certificate.and_then(binding::tls_server_end_point);
    Ok(Protected { stream: Box::new(stream), encrypted: true, binding })
}

/// Who logs in, and where.
pub(crate) struct Login<'a> {
    pub(crate) user: &'a str,
    pub(crate) password: &'a [u8],
    pub(crate) database: &'a str,
    pub(crate) application_name: &'a str,
    /// `options`, which not every pooler takes.
    pub(crate) options: Option<&'a str>,
}

/// Why there is no session.
#[derive(Debug)]
pub(crate) enum LoginError {
    /// The server said why.
    Refused(Reported),
    /// It did not.
    Failed(ConnectError),
}

impl From<ConnectCause> for LoginError {
    fn from(cause: ConnectCause) -> Self {
        Self::Failed(ConnectError::new(ConnectStage::Authenticate, cause))
    }
}

impl From<WireError> for LoginError {
    fn from(_: WireError) -> Self {
        ConnectCause::Protocol.into()
    }
}

/// What the server asks for (manual, 55.7, "Authentication...").
const OK: i32 = 0;
const CLEAR_TEXT: i32 = 3;
const MD5: i32 = 5;
const SASL: i32 = 10;
const SASL_CONTINUE: i32 = 11;
const SASL_FINAL: i32 = 12;

impl Login<'_> {
    /// Logs in.
    ///
    /// # Errors
    /// [`LoginError`].
    pub(crate) async fn run(&self, protected: Protected, peer: Peer) -> Result<Session, LoginError> {
        let Protected { stream, encrypted, binding } = protected;
        let mut session = Session::new(stream, peer);
        let mut parameters = vec![
            ("client_encoding", "UTF8"),
            ("user", self.user),
            ("database", self.database),
            ("application_name", self.application_name),
        ];
        parameters.extend(self.options.map(|options| ("options", options)));
        let message = build(|out| frontend::startup_message(parameters, out))?;
        session.post(message, 1).await?;
        match asked(&mut session).await? {
            (OK, _) => {}
            (CLEAR_TEXT, _) if !encrypted => return Err(ConnectCause::ClearText.into()),
            (CLEAR_TEXT, _) => {
                session.post(build(|out| frontend::password_message(self.password, out))?, 0).await?;
                accepted(&mut session).await?;
            }
            (MD5, salt) => {
                let salt = salt.try_into().map_err(|_| ConnectCause::Protocol)?;
                let hash = md5_hash(self.user.as_bytes(), self.password, salt);
                session.post(build(|out| frontend::password_message(hash.as_bytes(), out))?, 0).await?;
                accepted(&mut session).await?;
            }
            (SASL, mechanisms) => {
                self.scram(&mut session, &mechanisms, binding).await?;
                accepted(&mut session).await?;
            }
            _ => return Err(ConnectCause::Method.into()),
        }
        loop {
            match session.receive().await? {
                (tag::BACKEND_KEY_DATA_TAG, body) => {
                    let (process_id, rest) = body.split_first_chunk().ok_or(ConnectCause::Protocol)?;
                    let secret = rest.try_into().map_err(|_| ConnectCause::Protocol)?;
                    let process_id = i32::from_be_bytes(*process_id);
                    session.set_key(CancelKey { process_id, secret: i32::from_be_bytes(secret) });
                }
                (tag::READY_FOR_QUERY_TAG, b"I") => return Ok(session),
                (tag::ERROR_RESPONSE_TAG, body) => return Err(LoginError::Refused(Reported::read(body))),
                _ => return Err(ConnectCause::Protocol.into()),
            }
        }
    }

    /// SCRAM-SHA-256 (RFC 5802 and 7677), bound to the TLS connection where the
    /// server offers it.
    async fn scram(
        &self,
        session: &mut Session,
        mechanisms: &[u8],
        binding: Option<Vec<u8>>,
    ) -> Result<(), LoginError> {
        let offers = |name: &str| mechanisms.split(|&byte| byte == 0).any(|offered| offered == name.as_bytes());
        let (binding, mechanism) = match (offers(SCRAM_SHA_256_PLUS), offers(SCRAM_SHA_256), binding) {
            (true, _, Some(binding)) => (ChannelBinding::tls_server_end_point(binding), SCRAM_SHA_256_PLUS),
            (true, false, None) | (false, false, _) => return Err(ConnectCause::Method.into()),
            // A server that did offer it knows from this that somebody in
            // between has hidden the offer.
            (false, true, Some(_)) => (ChannelBinding::unrequested(), SCRAM_SHA_256),
            (_, true, None) => (ChannelBinding::unsupported(), SCRAM_SHA_256),
        };
        let mut scram = ScramSha256::new(self.password, binding);
        let first = build(|out| frontend::sasl_initial_response(mechanism, scram.message(), out))?;
        session.post(first, 0).await?;
        let (SASL_CONTINUE, challenge) = asked(session).await? else { return Err(ConnectCause::Protocol.into()) };
        scram.update(&challenge).map_err(|_| ConnectCause::Protocol)?;
        session.post(build(|out| frontend::sasl_response(scram.message(), out))?, 0).await?;
        let (SASL_FINAL, proof) = asked(session).await? else { return Err(ConnectCause::Impostor.into()) };
        scram.finish(&proof).map_err(|_| ConnectCause::Impostor)?;
        Ok(())
    }
}

fn build(write: impl FnOnce(&mut BytesMut) -> std::io::Result<()>) -> Result<BytesMut, ConnectCause> {
    let mut out = BytesMut::new();
    // A NUL in a name or password, which PostgreSQL cannot have stored.
    write(&mut out).map_err(|_| ConnectCause::Credential("28000".to_owned()))?;
    Ok(out)
}

/// The next demand of the server, with its data.
async fn asked(session: &mut Session) -> Result<(i32, Vec<u8>), LoginError> {
    match session.receive().await? {
        (tag::AUTHENTICATION_TAG, body) => {
            let (kind, data) = body.split_first_chunk().ok_or(ConnectCause::Protocol)?;
            Ok((i32::from_be_bytes(*kind), data.to_vec()))
        }
        (tag::ERROR_RESPONSE_TAG, body) => Err(LoginError::Refused(Reported::read(body))),
        _ => Err(ConnectCause::Protocol.into()),
    }
}

async fn accepted(session: &mut Session) -> Result<(), LoginError> {
    match asked(session).await? {
        (OK, _) => Ok(()),
        _ => Err(ConnectCause::Protocol.into()),
    }
}
