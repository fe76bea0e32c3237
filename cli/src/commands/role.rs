//! `nlactl role ...`

use clap::{Args, Subcommand};
use nla_domain::{
    id::{DatabaseName, RoleName},
    role::{SqlAudit, Tool},
};
use nla_proto::{
    convert,
    v1::{self, roles_client::RolesClient},
};

use super::texts;
use crate::{
    args::Globals,
    exit::CliError,
    input::Confirm,
    output::{
        Output,
        views::{List, Removed, role::Role},
    },
    session::{MAX_MESSAGE_BYTES, Session},
    values,
};

#[derive(Debug, Subcommand)]
pub(crate) enum RoleCommand {
    /// Create a role
    #[command(after_help = "\
Without --tool the role allows all four tools; it opens only the databases that are named.

Examples:
  nlactl role create reporting --database shop
  nlactl role create looker --database shop --tool list_databases --tool get_schema --description 'schema only'
  nlactl role create private --database crm --sql-audit fingerprint --max-rows 100")]
    Create(Create),
    /// List roles
    #[command(after_help = "Examples:\n  nlactl role list")]
    List,
    /// Show a role
    #[command(after_help = "Examples:\n  nlactl role show reporting -o yaml")]
    Show {
        /// Its name
        name: RoleName,
    },
    /// Change a role; what is not given stays as it is
    #[command(after_help = "\
A list that is given replaces the whole list; an empty name clears it.

Examples:
  nlactl role update reporting --database shop --database crm
  nlactl role update reporting --max-rows 0 --explain-analyze false
  nlactl role update reporting --allow-function shop.order_total --allow-relation pg_catalog.pg_stat_activity
  nlactl role update reporting --allow-function ''")]
    Update(Update),
    /// Remove a role that no token in force has
    #[command(after_help = "Examples:\n  nlactl role remove reporting\n  nlactl role remove reporting --yes")]
    Remove {
        /// Its name
        name: RoleName,
        #[command(flatten)]
        confirm: Confirm,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Create {
    /// Its name
    name: RoleName,
    #[command(flatten)]
    settings: Settings,
}

#[derive(Debug, Args)]
pub(crate) struct Update {
    /// Its name
    name: RoleName,
    #[command(flatten)]
    settings: Settings,
}

#[derive(Debug, Args)]
struct Settings {
    /// For people
    #[arg(long)]
    description: Option<String>,
    /// A database that it opens; repeat for more
    #[arg(long = "database", value_name = "DATABASE")]
    databases: Vec<DatabaseName>,
    /// A tool that it allows; repeat for more
    #[arg(long = "tool", value_name = "TOOL", value_parser = values::tool())]
    tools: Vec<Tool>,
    /// Whether EXPLAIN may run the statement
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    explain_analyze: Option<bool>,
    /// Most rows in one answer; 0 leaves it to the database's own limit
    #[arg(long, value_name = "ROWS")]
    max_rows: Option<u32>,
    /// What the audit log keeps of a statement [default: full]
    #[arg(long, value_name = "FORM", value_parser = values::sql_audit())]
    sql_audit: Option<SqlAudit>,
    #[command(flatten)]
    exceptions: Exceptions,
}

/// What the guard refuses otherwise.
#[derive(Debug, Args)]
#[command(next_help_heading = "Exceptions")]
pub(super) struct Exceptions {
    /// A function that the guard refuses otherwise, as schema.name; repeat for more
    #[arg(long = "allow-function", value_name = "SCHEMA.NAME", value_parser = values::parse_qualified)]
    pub(super) functions: Vec<String>,
    /// A relation that the guard refuses otherwise, as schema.name; repeat for more
    #[arg(long = "allow-relation", value_name = "SCHEMA.NAME", value_parser = values::parse_qualified)]
    pub(super) relations: Vec<String>,
    /// An operator that the guard refuses otherwise, without its schema; repeat for more
    #[arg(
        long = "allow-operator",
        value_name = "OPERATOR",
        allow_hyphen_values = true,
        value_parser = values::parse_operator
    )]
    pub(super) operators: Vec<String>,
    /// A setting that SHOW may tell beyond the harmless ones; repeat for more
    #[arg(long = "allow-setting", value_name = "NAME", value_parser = values::parse_setting)]
    pub(super) settings: Vec<String>,
}

impl Exceptions {
    fn is_empty(&self) -> bool {
        [&self.functions, &self.relations, &self.operators, &self.settings].iter().all(|names| names.is_empty())
    }

    fn apply(&self, role: &mut v1::Role) {
        let set = |field: &mut Vec<String>, given: &[String]| {
            if !given.is_empty() {
                *field = given.iter().filter(|name| !name.is_empty()).cloned().collect();
            }
        };
        set(&mut role.functions, &self.functions);
        set(&mut role.relations, &self.relations);
        set(&mut role.operators, &self.operators);
        set(&mut role.settings, &self.settings);
    }
}

impl Settings {
    fn is_empty(&self) -> bool {
        let lists = self.databases.is_empty() && self.tools.is_empty();
        let options = self.explain_analyze.is_none() && self.max_rows.is_none() && self.sql_audit.is_none();
        lists && options && self.description.is_none() && self.exceptions.is_empty()
    }

    /// Puts what was given into the role and leaves the rest as it is.
    fn apply(&self, role: &mut v1::Role) {
        if let Some(description) = &self.description {
            role.description.clone_from(description);
        }
        if !self.databases.is_empty() {
            role.databases = texts(&self.databases);
        }
        if !self.tools.is_empty() {
            role.tools = wire_tools(&self.tools);
        }
        role.allow_explain_analyze = self.explain_analyze.unwrap_or(role.allow_explain_analyze);
        role.max_rows = self.max_rows.unwrap_or(role.max_rows);
        role.sql_audit = self.sql_audit.map_or(role.sql_audit, |audit| convert::sql_audit(audit).into());
        self.exceptions.apply(role);
    }
}

fn wire_tools(tools: &[Tool]) -> Vec<i32> {
    tools.iter().map(|tool| convert::tool(*tool).into()).collect()
}

impl RoleCommand {
    pub(crate) async fn run(&self, globals: &Globals, output: &Output) -> Result<(), CliError> {
        match self {
            Self::Create(create) => create.run(&Session::open(globals)?, output).await,
            Self::List => {
                let answer = Session::open(globals)?
                    .call("list the roles", v1::ListRolesRequest {}, async |channel, request| {
                        RolesClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES).list(request).await
                    })
                    .await?;
                output.result(&List(answer.roles.into_iter().map(Role::from_wire).collect()))
            }
            Self::Show { name } => output.result(&Role::from_wire(get(&Session::open(globals)?, name).await?)),
            Self::Update(update) => update.run(globals, output).await,
            Self::Remove { name, confirm } => {
                confirm.obtain(&format!("Remove role {name}?"))?;
                remove(&Session::open(globals)?, output, name).await
            }
        }
    }
}

pub(super) async fn get(session: &Session, name: &RoleName) -> Result<v1::RoleView, CliError> {
    let request = v1::GetRoleRequest { name: name.to_string() };
    session
        .call(&format!("show role {name}"), request, async |channel, request| {
            RolesClient::new(channel).get(request).await
        })
        .await
}

impl Create {
    async fn run(&self, session: &Session, output: &Output) -> Result<(), CliError> {
        let name = &self.name;
        let mut role = v1::Role {
            name: name.to_string(),
            tools: wire_tools(&Tool::ALL),
            sql_audit: convert::sql_audit(SqlAudit::default()).into(),
            ..Default::default()
        };
        self.settings.apply(&mut role);
        let request = v1::CreateRoleRequest { idempotency_key: session.key(), role: Some(role) };
        let answer = session
            .call(&format!("create role {name}"), request, async |channel, request| {
                RolesClient::new(channel).create(request).await
            })
            .await?;
        output.result(&Role::from_wire(answer))?;
        if self.settings.databases.is_empty() {
            output.hint("The role opens no database yet: name one with `nlactl role update --database`.");
        }
        Ok(())
    }
}

impl Update {
    async fn run(&self, globals: &Globals, output: &Output) -> Result<(), CliError> {
        let name = &self.name;
        if self.settings.is_empty() {
            return Err(CliError::usage("nothing to change was given"));
        }
        let session = Session::open(globals)?;
        let view = get(&session, name).await?;
        let mut role = view.role.unwrap_or_default();
        self.settings.apply(&mut role);
        let request = v1::UpdateRoleRequest {
            idempotency_key: session.key(),
            role: Some(role),
            expected_revision: view.meta.map_or(0, |meta| meta.revision),
        };
        let answer = session
            .call(&format!("update role {name}"), request, async |channel, request| {
                RolesClient::new(channel).update(request).await
            })
            .await?;
        output.result(&Role::from_wire(answer))
    }
}

async fn remove(session: &Session, output: &Output, name: &RoleName) -> Result<(), CliError> {
    let request =
        v1::DeleteRoleRequest { idempotency_key: session.key(), name: name.to_string(), expected_revision: 0 };
    let answer = session
        .call(&format!("remove role {name}"), request, async |channel, request| {
            RolesClient::new(channel).delete(request).await
        })
        .await?;
    output.result(&Removed { kind: "role", name: name.to_string(), removed: true, revision: answer.revision })
}
