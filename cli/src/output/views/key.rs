//! Keys of the store and of the tokens.

use nla_proto::v1;
use serde::Serialize;

use super::wire::{self, When};
use crate::output::{Cell, Show, Table};

/// All keys, and rotations under way.
#[derive(Debug, Serialize)]
pub(crate) struct Keys {
    kek: Kek,
    data: Data,
    peppers: Vec<Pepper>,
}

#[derive(Debug, Serialize)]
struct Kek {
    generation: u64,
    file: String,
    rotated_at: When,
    /// Why a rotation that was asked for is not finished.
    pending: Option<String>,
}

#[derive(Debug, Serialize)]
struct Data {
    generation: u32,
    generations: Vec<u32>,
    rotated_at: When,
    pending: Option<String>,
    seals: u64,
    max_seals: u64,
    progress: Vec<Progress>,
}

#[derive(Debug, Serialize)]
struct Progress {
    tree: String,
    done: u64,
    total: u64,
}

#[derive(Debug, Serialize)]
struct Pepper {
    generation: u32,
    newest: bool,
    live_tokens: u64,
    last_token_ends_at: When,
}

impl Keys {
    pub(crate) fn from_wire(status: v1::KeyStatus) -> Self {
        Self {
            kek: Kek {
                generation: status.kek_generation,
                file: status.kek_file,
                rotated_at: When::from_wire(status.kek_rotated_at.as_ref()),
                pending: wire::text(status.kek_pending),
            },
            data: Data {
                generation: status.data_generation,
                generations: status.data_generations,
                rotated_at: When::from_wire(status.data_rotated_at.as_ref()),
                pending: wire::text(status.data_pending),
                seals: status.seals,
                max_seals: status.max_seals,
                progress: status
                    .reseal
                    .into_iter()
                    .map(|part| Progress { tree: part.tree, done: part.done, total: part.total })
                    .collect(),
            },
            peppers: status
                .peppers
                .into_iter()
                .map(|pepper| Pepper {
                    generation: pepper.generation,
                    newest: pepper.newest,
                    live_tokens: pepper.live_tokens,
                    last_token_ends_at: When::from_wire(pepper.last_token_ends_at.as_ref()),
                })
                .collect(),
        }
    }

    /// Where the key-encryption key lies.
    pub(crate) fn kek_file(&self) -> &str {
        &self.kek.file
    }

    /// Whether all records are sealed by the newest data keys.
    pub(crate) fn data_is_settled(&self) -> bool {
        self.data.generations.len() == 1 && self.data.pending.is_none()
    }

    /// Why records are not sealed anew at the moment, once that was begun.
    pub(crate) fn data_failure(&self) -> Option<&str> {
        self.data.pending.as_deref().filter(|_| self.data.generations.len() > 1)
    }

    /// How far the records are.
    pub(crate) fn progress(&self) -> String {
        let parts = self.data.progress.iter().map(|part| format!("{} {} of {}", part.tree, part.done, part.total));
        let parts: Vec<String> = parts.collect();
        if parts.is_empty() { "Sealing records anew.".into() } else { format!("Sealing anew: {}.", parts.join(", ")) }
    }
}

impl Show for Keys {
    fn table(&self) -> Table {
        let (kek, data) = (&self.kek, &self.data);
        let mut table = Table::fields()
            .field("Key-encryption key", Cell::text(format_args!("generation {} in {}", kek.generation, kek.file)))
            .field("  replaced", kek.rotated_at.full("never"))
            .optional("  waits", kek.pending.as_deref().unwrap_or_default())
            .field("Data keys", Cell::text(format_args!("generation {}", data.generation)))
            .field("  replaced", data.rotated_at.full("never"))
            .field("  used", Cell::text(format_args!("{} of {} seals", data.seals, data.max_seals)))
            .optional("  waits", data.pending.as_deref().unwrap_or_default());
        if data.generations.len() > 1 {
            table = table.field("  old ones", Cell::text(self.progress()));
        }
        for pepper in &self.peppers {
            let label = format!("Pepper {}", pepper.generation);
            let newest = if pepper.newest { ", makes new tokens" } else { "" };
            table = table.field(&label, Cell::text(format_args!("{} live tokens{newest}", pepper.live_tokens)));
            if !pepper.newest {
                table = table.field("  ends by itself", pepper.last_token_ends_at.full("never"));
            }
        }
        table
    }

    fn essence(&self) -> Vec<String> {
        vec![self.data.generation.to_string()]
    }
}
