//! What a person is asked for while a command runs: a yes before something is
//! destroyed, and a password. Nothing is asked where nobody can answer. And the
//! statement that `check` looks at.

mod confirm;
mod import;
mod password;
mod secret_file;
mod statement;

pub(crate) use self::{
    confirm::Confirm,
    import::Import,
    password::PasswordSource,
    secret_file::SecretFile,
    statement::{Source, read_file},
};
