//! The command line as a whole: options that every command takes, the list of
//! commands, and the help text that documents exit codes. Each command's own
//! arguments stand beside its code in `commands`.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Parser};

use crate::{commands::Command, output::Format, values::parse_span};

const AFTER_HELP: &str = "\
Exit codes:
  0  done
  1  failed, or the answer says that a part of it failed
  2  usage: an argument is missing or malformed, or --yes is needed
  3  refused: this operator may not do that
  4  there is no such object
  5  conflict: it exists, has changed meanwhile, or is in use
  6  the control plane cannot be reached
  7  check: the guard refuses the statement

Results go to stdout, messages to stderr. `nla-control-plane init` writes a first
configuration folder; NLA_CONFIG_DIR or --config-dir points at it.

Examples:
  nlactl system status
  nlactl token create --owner ana@example.com --purpose 'weekly report' --role reporting
  nlactl audit tail --follow";

/// Administers NLA: tokens, databases, roles, edges, operators and the audit log.
#[derive(Debug, Parser)]
#[command(name = "nlactl", version, after_help = AFTER_HELP, disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) globals: Globals,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options of every command.
#[derive(Debug, Args)]
pub(crate) struct Globals {
    /// Context to use instead of the current one
    #[arg(long, global = true, env = "NLA_CONTEXT", value_name = "NAME", help_heading = "Global options")]
    pub(crate) context: Option<String>,
    /// Folder with config.yaml [default: $XDG_CONFIG_HOME/nla or ~/.config/nla]
    #[arg(long, global = true, env = "NLA_CONFIG_DIR", value_name = "DIR", help_heading = "Global options")]
    pub(crate) config_dir: Option<PathBuf>,
    /// Form of the result
    #[arg(
        long,
        short,
        global = true,
        value_enum,
        default_value_t = Format::Table,
        value_name = "FORM",
        help_heading = "Global options"
    )]
    pub(crate) output: Format,
    /// No hints on stderr; in table form only names, one a line, or the new secret
    #[arg(long, short, global = true, help_heading = "Global options")]
    pub(crate) quiet: bool,
    /// Longest wait for the control plane, such as 10s or 2m
    #[arg(
        long,
        global = true,
        default_value = "30s",
        value_parser = parse_span,
        value_name = "TIME",
        help_heading = "Global options"
    )]
    pub(crate) timeout: Duration,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    fn walk(command: &clap::Command, path: &str, visit: &mut impl FnMut(&str, &clap::Command)) {
        visit(path, command);
        for sub in command.get_subcommands() {
            walk(sub, &format!("{path} {}", sub.get_name()), visit);
        }
    }

    #[test]
    fn every_command_has_help_with_an_example_that_parses() {
        let mut root = Cli::command();
        root.build();
        let mut leaves = 0;
        walk(&root, "nlactl", &mut |path, command| {
            assert!(command.get_about().is_some(), "{path} has no help");
            if command.has_subcommands() {
                return;
            }
            leaves += 1;
            let help = command.get_after_help().unwrap_or_else(|| panic!("{path} has no example")).to_string();
            let examples: Vec<_> = help.lines().filter_map(|line| line.trim().strip_prefix("nlactl ")).collect();
            assert!(!examples.is_empty(), "{path} has no example");
            for example in examples {
                let line = example.split(['|', '<', '>']).next().unwrap_or_default();
                let words = std::iter::once("nlactl".to_owned()).chain(split(line));
                Cli::try_parse_from(words).unwrap_or_else(|error| panic!("{path}: {example}: {error}"));
                assert!(format!("nlactl {line}").starts_with(path), "{path}: {example}");
            }
        });
        assert!(leaves > 30, "{leaves}");
    }

    /// Splits as a shell does, as far as our examples need it.
    fn split(line: &str) -> Vec<String> {
        let parts = line.split('\'').enumerate();
        parts
            .flat_map(|(at, part)| {
                if at % 2 == 1 { vec![part.to_owned()] } else { part.split_whitespace().map(Into::into).collect() }
            })
            .collect()
    }

    #[test]
    fn no_secret_is_accepted_on_the_command_line() {
        let mut root = Cli::command();
        root.build();
        walk(&root, "nlactl", &mut |path, command| {
            for argument in command.get_arguments() {
                let name = argument.get_id().as_str();
                let takes_secret = ["password", "token", "secret", "join_token", "private_key"].contains(&name);
                let only_a_filter = path.starts_with("nlactl audit") && name == "token";
                assert!(!takes_secret || only_a_filter, "{path} --{name}");
            }
        });
    }

    #[test]
    fn refused_command_lines() {
        let cases: &[&[&str]] = &[
            &["token", "show", "not-an-id"],
            &["token", "create", "--owner", "a", "--purpose", "b", "--role", "Bad Name"],
            &["token", "create", "--owner", "a", "--purpose", "b"],
            &["token", "create", "--owner", "a", "--purpose", "b", "--role", "r", "--expires-in", "soon"],
            &["credential", "set", "shop", "--username", "u", "--password", "p"],
            &["credential", "set", "shop", "--username", "u", "--password-file", "f", "--password-stdin"],
            &["database", "add", "shop", "--url", "postgres://h/d", "--host", "h"],
            &["database", "add", "shop", "--host", "h", "--dbname", "d", "--sslmode", "prefer"],
            &["role", "create", "r", "--database", "d", "--tool", "drop_table"],
            &["operator", "create", "o", "--level", "root", "--out", "d"],
            &["audit", "tail", "--after", "3"],
            &["audit", "list", "--limit", "0"],
            &["--output", "xml", "version"],
            &[],
        ];
        for words in cases {
            let words = std::iter::once(&"nlactl").chain(*words);
            let error = Cli::try_parse_from(words.clone()).expect_err(&format!("{:?}", words.collect::<Vec<_>>()));
            assert_eq!(error.exit_code(), 2, "{error}");
        }
    }
}
