//! Confirmation of what cannot be undone.

use std::io::{self, BufRead, IsTerminal as _, Write};

use clap::Args;

use crate::{exit::CliError, output::escape};

/// `--yes`, for commands that destroy.
#[derive(Debug, Args)]
pub(crate) struct Confirm {
    /// Do it without asking
    #[arg(long, short)]
    yes: bool,
}

impl Confirm {
    /// Asks unless `--yes` was given.
    ///
    /// # Errors
    /// [`CliError::Usage`] where nobody can be asked; [`CliError::Incomplete`]
    /// when the answer is no.
    pub(crate) fn obtain(&self, question: &str) -> Result<(), CliError> {
        if self.yes {
            return Ok(());
        }
        if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
            let message = format!("this needs a confirmation and there is no terminal to ask on: {question}");
            return Err(CliError::usage(message).with_next("add --yes if you mean it"));
        }
        let agreed = ask(question, &mut io::stdin().lock(), &mut io::stderr().lock())
            .map_err(|source| CliError::local("cannot ask for a confirmation", source))?;
        if agreed { Ok(()) } else { Err(CliError::Incomplete { message: "nothing was changed".into(), next: None }) }
    }
}

fn ask(question: &str, input: &mut impl BufRead, output: &mut impl Write) -> io::Result<bool> {
    write!(output, "{} [y/N] ", escape(question))?;
    output.flush()?;
    let mut answer = String::new();
    input.read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_clear_yes_counts() {
        for (answer, agreed) in
            [("y\n", true), ("YES\n", true), ("\n", false), ("n\n", false), ("", false), ("yep\n", false)]
        {
            let mut asked = Vec::new();
            assert_eq!(ask("Revoke?", &mut answer.as_bytes(), &mut asked).unwrap(), agreed, "{answer:?}");
            assert_eq!(asked, b"Revoke? [y/N] ");
        }
    }
}
