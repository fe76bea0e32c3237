//! How a database's credential rotates, and how far the newest rotation is.
//! [`crate::rotation`] moves it on; the record is all that a restart needs.

use std::time::Duration;

use nla_domain::{
    clock::Timestamp,
    id::{DatabaseName, Revision},
    secret::Secret,
};

/// A database role and its password.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Login {
    /// PostgreSQL's role name.
    pub username: String,
    /// Empty where it is not known or not needed any more.
    pub password: Secret,
}

/// How one database's credential rotates.
#[derive(Clone, Debug, PartialEq)]
pub struct RotationRecord {
    /// Which.
    pub database: DatabaseName,
    /// Sets the passwords of the pair. It never leaves the control plane.
    pub manager: Login,
    /// Take turns.
    pub roles: [String; 2],
    /// Rotates by itself that often.
    pub every: Option<Duration>,
    /// When it does so next.
    pub next_at: Option<Timestamp>,
    /// The newest rotation.
    pub run: Option<Run>,
}

/// One rotation.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// Counts from 1.
    pub number: u64,
    /// What is done.
    pub step: Step,
    /// In force before; its name is empty when there was none.
    pub old: Login,
    /// In force afterwards.
    pub new: Login,
    /// Generation of the credential that was in force when it began, and of the
    /// published one afterwards.
    pub generation: u64,
    /// No verification by an edge, no grace.
    pub emergency: bool,
    /// Waits for connected edges only.
    pub force: bool,
    /// Longest wait for the old role's sessions.
    pub grace: Duration,
    /// Who began it.
    pub started_by: String,
    /// When.
    pub started_at: Timestamp,
    /// When the step was reached.
    pub changed_at: Timestamp,
    /// The revision that carries the new credential.
    pub revision: Revision,
    /// `old` and `new` have changed places: the credential before comes back.
    pub reverting: bool,
    /// Why it stands still.
    pub failure: Option<String>,
    /// Edges that never confirmed.
    pub unreached: Vec<String>,
    /// What a reader of the end should know.
    pub remark: String,
}

impl Run {
    /// True while there is something left to do, by itself or by an operator.
    pub fn is_open(&self) -> bool {
        !matches!(self.step, Step::Done | Step::Aborted)
    }

    /// True while it moves by itself.
    pub fn is_moving(&self) -> bool {
        self.is_open() && self.failure.is_none()
    }
}

/// What a rotation has done.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Step {
    /// The new password is made.
    Planned,
    /// The server has it.
    Set,
    /// The control plane has logged in with it.
    Verified,
    /// So has an edge.
    VerifiedByEdge,
    /// It is the credential.
    Published,
    /// The edges use it.
    Acknowledged,
    /// The old role has no session, or no more time.
    Drained,
    /// The old role is shut.
    Done,
    /// The new role is to be shut again.
    Undoing,
    /// It is shut again.
    Aborted,
}

impl Step {
    /// In the order of their numbers on the wire.
    pub const ALL: [Self; 10] = [
        Self::Planned,
        Self::Set,
        Self::Verified,
        Self::VerifiedByEdge,
        Self::Published,
        Self::Acknowledged,
        Self::Drained,
        Self::Done,
        Self::Undoing,
        Self::Aborted,
    ];

    /// The name in events and messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Planned => "planned",
            Self::Set => "set",
            Self::Verified => "verified",
            Self::VerifiedByEdge => "verified-by-edge",
            Self::Published => "published",
            Self::Acknowledged => "acknowledged",
            Self::Drained => "drained",
            Self::Done => "done",
            Self::Undoing => "undoing",
            Self::Aborted => "aborted",
        }
    }

    /// Its number on the wire and in the store.
    pub fn number(self) -> i32 {
        self as i32 + 1
    }

    /// From its number.
    pub fn from_number(number: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|step| step.number() == number)
    }
}
