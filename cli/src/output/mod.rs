//! What a command shows: one result on stdout as a table, JSON or YAML, and
//! hints on stderr. Text from elsewhere (client names, SQL, error messages) may
//! be hostile, so no form lets a character through that a terminal acts on.

mod escape;
mod human;
mod table;
pub(crate) mod views;
mod yaml;

use std::io::{self, IsTerminal as _, Write};

use serde::Serialize;

use crate::exit::CliError;

pub(crate) use self::{
    escape::escape,
    human::{bytes, elapsed, millis, relative},
    table::{Cell, Table, Tone},
};

/// Form of the result.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub(crate) enum Format {
    // Without help of their own the values stay on one line of --help.
    Table,
    Json,
    Yaml,
}

/// A result that can be shown in every form. The field names of its JSON are
/// an interface that scripts rely on.
pub(crate) trait Show: Serialize {
    /// For people.
    fn table(&self) -> Table;

    /// What `--quiet` leaves of the table form: one line each.
    fn essence(&self) -> Vec<String>;
}

/// Where results and hints go, and in which form.
#[derive(Debug)]
pub(crate) struct Output {
    format: Format,
    quiet: bool,
    colour: bool,
    width: u16,
}

/// Width of tables that go to a file or a pipe.
const PIPE_WIDTH: u16 = 80;

impl Output {
    /// For this process's stdout and stderr.
    pub(crate) fn for_process(format: Format, quiet: bool) -> Self {
        let terminal = io::stdout().is_terminal();
        let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let width = comfy_table::Table::new().width().filter(|_| terminal).unwrap_or(PIPE_WIDTH);
        Self { format, quiet, colour: terminal && !set("NO_COLOR") && !dumb, width: width.max(40) }
    }

    /// True when people read the result.
    pub(crate) fn is_table(&self) -> bool {
        self.format == Format::Table
    }

    /// Shows the command's one result.
    pub(crate) fn result(&self, value: &impl Show) -> Result<(), CliError> {
        write_stdout(&self.render(value)?)
    }

    /// Shows one result of a stream: a line of text, a line of JSON, or a YAML
    /// document of its own.
    pub(crate) fn stream_item(&self, line: &str, value: &impl Serialize) -> Result<(), CliError> {
        let text = match self.format {
            Format::Table => format!("{line}\n"),
            Format::Json => format!("{}\n", json(&to_value(value)?, false)),
            Format::Yaml => format!("---\n{}", yaml::render(&to_value(value)?)),
        };
        write_stdout(&text)
    }

    /// Shows a script: for people and pipes the text alone, in the other forms the
    /// value that holds it.
    pub(crate) fn script(&self, text: &str, value: &impl Serialize) -> Result<(), CliError> {
        write_stdout(&match self.format {
            Format::Table => text.to_owned(),
            Format::Json => format!("{}\n", json(&to_value(value)?, true)),
            Format::Yaml => yaml::render(&to_value(value)?),
        })
    }

    /// Shows text as it is; for shell completion and the like, which we made.
    pub(crate) fn raw(&self, text: &str) -> Result<(), CliError> {
        write_stdout(text)
    }

    /// Tells a person something that is not the result.
    pub(crate) fn hint(&self, text: &str) {
        hint(self.quiet, text);
    }

    fn render(&self, value: &impl Show) -> Result<String, CliError> {
        Ok(match self.format {
            Format::Table if self.quiet => value.essence().iter().map(|line| format!("{}\n", escape(line))).collect(),
            Format::Table => value.table().render(self.width, self.colour),
            Format::Json => format!("{}\n", json(&to_value(value)?, true)),
            Format::Yaml => yaml::render(&to_value(value)?),
        })
    }
}

/// Tells a person something that is not the result, unless they want quiet.
pub(crate) fn hint(quiet: bool, text: &str) {
    if !quiet {
        // Nobody is left to tell when stderr is closed.
        let _ = writeln!(io::stderr(), "{}", escape(text));
    }
}

fn to_value(value: &impl Serialize) -> Result<serde_json::Value, CliError> {
    serde_json::to_value(value).map_err(|source| CliError::local("cannot write the result as JSON", source))
}

/// JSON in which characters that a terminal acts on are written as `\u....`:
/// the same document for a parser.
fn json(value: &serde_json::Value, pretty: bool) -> String {
    let text = if pretty { format!("{value:#}") } else { value.to_string() };
    escape::json_text(&text)
}

fn write_stdout(text: &str) -> Result<(), CliError> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        // The reader, such as `head`, has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
        Err(error) => Err(CliError::local("cannot write the result to stdout", error)),
        Ok(()) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    struct Hostile {
        name: String,
    }

    impl Show for Hostile {
        fn table(&self) -> Table {
            Table::list(["NAME"]).row([Cell::text(&self.name)])
        }

        fn essence(&self) -> Vec<String> {
            vec![self.name.clone()]
        }
    }

    #[test]
    fn no_form_lets_terminal_control_through() {
        let name = "a\u{1b}[2Jb\u{9b}31mc\u{202e}d\u{7}\r\ne\u{7f}\u{2028}f".to_owned();
        let value = Hostile { name: name.clone() };
        for format in [Format::Table, Format::Json, Format::Yaml] {
            for quiet in [false, true] {
                let output = Output { format, quiet, colour: false, width: 80 };
                let text = output.render(&value).unwrap();
                let bad = text.chars().find(|c| escape::is_active(*c) && *c != '\n');
                assert_eq!(bad, None, "{format:?} {text:?}");
                assert!(text.lines().count() <= 3, "{format:?} {text:?}");
            }
        }
        let output = Output { format: Format::Json, quiet: false, colour: false, width: 80 };
        let back: serde_json::Value = serde_json::from_str(&output.render(&value).unwrap()).unwrap();
        assert_eq!(back["name"], name.as_str());
        let output = Output { format: Format::Yaml, ..output };
        let back: serde_json::Value = serde_yaml_ng::from_str(&output.render(&value).unwrap()).unwrap();
        assert_eq!(back["name"], name.as_str());
    }
}
