//! The join token, from its file or the environment. Invariant: it leaves this
//! process only towards the control plane whose pin it carries. The file is the
//! operator's (often a read-only mount), so it is left alone; the token's hash
//! is kept instead, and a spent token is worth nothing.

use nla_domain::{join::JoinToken, secret::Secret, snapshot::Digest};
use nla_proto::files;

use super::{IdentityError, JoinSource};

#[derive(Debug)]
pub(super) struct Token {
    pub(super) token: JoinToken,
    /// SHA-256 of its text.
    pub(super) hash: [u8; 32],
}

/// The token that is there, if any. A file that is missing or empty holds none.
pub(super) fn read(source: &JoinSource) -> Result<Option<Token>, IdentityError> {
    if let Some(path) = &source.file
        && path.exists()
    {
        let bytes = files::read_private(path).map_err(IdentityError::TokenFile)?;
        let text =
            std::str::from_utf8(&bytes).map_err(|_| IdentityError::Token(nla_domain::join::MalformedJoinToken))?;
        if !text.trim().is_empty() {
            return parse(text).map(Some);
        }
    }
    source.text.as_ref().map(Secret::expose).map(parse).transpose()
}

fn parse(text: &str) -> Result<Token, IdentityError> {
    let token = JoinToken::parse(text).map_err(IdentityError::Token)?;
    Ok(Token { hash: Digest::of(token.to_text().expose().as_bytes()).0, token })
}
