//! The names of the operators that PostgreSQL itself ships (`builtin.txt`, see
//! `tools/`). Called by `walk`. Invariant: any other name needs the role's word.

use std::collections::HashSet;
use std::sync::LazyLock;

static BUILTIN: LazyLock<HashSet<&'static str>> = LazyLock::new(|| {
    include_str!("builtin.txt")
        .lines()
        .skip(1) // the note of the generator; `#` is an operator too
        .collect()
});

pub(crate) fn is_builtin(name: &str) -> bool {
    BUILTIN.contains(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_the_usual_ones() {
        for name in ["+", "=", "<>", "||", "?", "?|", "@>", "->>", "~~*", "#", "##", "@@"] {
            assert!(is_builtin(name), "{name}");
        }
        assert!(!is_builtin("<%") && !is_builtin(""));
    }
}
