//! Rotations of credentials: how a database's credential rotates, and how far
//! the newest rotation is.

use std::time::Duration;

use nla_proto::v1::{self, RotationStep};
use serde::Serialize;

use super::{
    Listed,
    wire::{self, Meta, When},
};
use crate::output::{Cell, Show, Table, Tone, elapsed, millis};

/// SQL that lets a credential rotate.
#[derive(Debug, Serialize)]
pub(crate) struct RotationSql {
    pub(crate) database: String,
    pub(crate) roles: [String; 2],
    pub(crate) manager: String,
    pub(crate) sql: String,
}

/// A database's rotation.
#[derive(Debug, Serialize)]
pub(crate) struct Rotation {
    database: String,
    manager: String,
    roles: Vec<String>,
    every_seconds: Option<u64>,
    next_at: When,
    run: Option<Run>,
    #[serde(flatten)]
    meta: Meta,
}

#[derive(Debug, Serialize)]
struct Run {
    number: u64,
    step: &'static str,
    state: &'static str,
    old_role: Option<String>,
    new_role: String,
    generation: u64,
    emergency: bool,
    force: bool,
    reverting: bool,
    grace_ms: f64,
    started_by: String,
    started_at: When,
    changed_at: When,
    waiting_for: Option<String>,
    failure: Option<String>,
    next: Option<String>,
    unreached_edges: Vec<String>,
    remark: Option<String>,
}

fn step_name(step: RotationStep) -> &'static str {
    match step {
        RotationStep::Planned => "planned",
        RotationStep::Set => "set",
        RotationStep::Verified => "verified",
        RotationStep::VerifiedByEdge => "verified-by-edge",
        RotationStep::Published => "published",
        RotationStep::Acknowledged => "acknowledged",
        RotationStep::Drained => "drained",
        RotationStep::Done => "done",
        RotationStep::Undoing => "undoing",
        RotationStep::Aborted => "aborted",
        RotationStep::Unspecified => "unknown",
    }
}

impl Run {
    fn from_wire(run: v1::RotationRun) -> Self {
        let step = run.step();
        let state = match step {
            RotationStep::Done => "done",
            RotationStep::Aborted => "aborted",
            _ if !run.failure.is_empty() => "failed",
            _ => "running",
        };
        Self {
            number: run.number,
            step: step_name(step),
            state,
            old_role: wire::text(run.old_role),
            new_role: run.new_role,
            generation: run.generation,
            emergency: run.emergency,
            force: run.force,
            reverting: run.reverting,
            grace_ms: millis(wire::duration(run.grace.as_ref())),
            started_by: run.started_by,
            started_at: When::from_wire(run.started_at.as_ref()),
            changed_at: When::from_wire(run.changed_at.as_ref()),
            waiting_for: wire::text(run.waiting_for),
            failure: wire::text(run.failure),
            next: wire::text(run.next),
            unreached_edges: run.unreached_edges,
            remark: wire::text(run.remark),
        }
    }

    fn tone(&self) -> Tone {
        if self.state == "failed" { Tone::Bad } else { Tone::Good }
    }
}

impl Rotation {
    pub(crate) fn from_wire(view: v1::RotationView) -> Self {
        Self {
            database: view.database,
            manager: view.manager_username,
            roles: view.roles,
            every_seconds: view.every.map(|every| wire::duration(Some(&every)).as_secs()),
            next_at: When::from_wire(view.next_at.as_ref()),
            run: view.run.map(Run::from_wire),
            meta: Meta::from_wire(view.meta),
        }
    }

    /// One line for whoever watches.
    pub(crate) fn progress(&self) -> String {
        let Some(run) = &self.run else { return "no rotation yet".to_owned() };
        let waiting = run.waiting_for.as_deref().map(|what| format!("; waits for {what}")).unwrap_or_default();
        format!("{} ({}){waiting}", run.step, run.new_role)
    }

    /// Why it stands still, and what leads on.
    pub(crate) fn failure(&self) -> Option<(String, String)> {
        let run = self.run.as_ref()?;
        let failure = run.failure.as_ref()?;
        let message = format!("the rotation failed after the step {}: {failure}", run.step);
        Some((message, run.next.clone().unwrap_or_default()))
    }

    /// True when the new credential is in force and the old role is shut.
    pub(crate) fn is_done(&self) -> bool {
        self.run.as_ref().is_some_and(|run| run.state == "done")
    }
}

impl Listed for Rotation {
    fn list(items: &[Self]) -> Table {
        let header = ["DATABASE", "ROLES", "STATE", "STEP", "CHANGED", "NEXT"];
        items.iter().fold(Table::list(header), |table, rotation| {
            let run = rotation.run.as_ref();
            table.row([
                Cell::whole(&rotation.database),
                Cell::names(&rotation.roles),
                run.map_or_else(|| Cell::text("-"), |run| Cell::whole(run.state).toned(run.tone())),
                Cell::text(run.map_or("-", |run| run.step)),
                run.map_or_else(|| Cell::text("-"), |run| run.changed_at.relative()),
                rotation.next_at.relative(),
            ])
        })
    }

    fn name(&self) -> &str {
        &self.database
    }
}

impl Show for Rotation {
    fn table(&self) -> Table {
        let every = self.every_seconds.map_or_else(|| "never".to_owned(), |every| elapsed(Duration::from_secs(every)));
        let mut table = Table::fields()
            .field("Database", Cell::text(&self.database))
            .field("Roles", Cell::names(&self.roles))
            .field("Manager", Cell::text(&self.manager))
            .field("By itself every", Cell::text(every))
            .field("Next", self.next_at.full("-"));
        if let Some(run) = &self.run {
            table = table
                .field("Rotation", Cell::text(run.number))
                .field("State", Cell::text(run.state).toned(run.tone()))
                .field("Step", Cell::text(run.step))
                .field("New role", Cell::text(&run.new_role))
                .optional("Old role", run.old_role.as_deref().unwrap_or_default())
                .field("Started", run.started_at.full("-"))
                .field("Started by", Cell::text(&run.started_by))
                .field("Changed", run.changed_at.full("-"))
                .optional("Waits for", run.waiting_for.as_deref().unwrap_or_default())
                .optional("Edges not reached", &run.unreached_edges.join(", "))
                .optional("Failure", run.failure.as_deref().unwrap_or_default())
                .optional("Way forward", run.next.as_deref().unwrap_or_default())
                .optional("Remark", run.remark.as_deref().unwrap_or_default());
        }
        self.meta.rows(table)
    }

    fn essence(&self) -> Vec<String> {
        vec![self.database.clone()]
    }
}
