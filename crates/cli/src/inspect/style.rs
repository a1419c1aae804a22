//! Colours, for those who can see them and want to.

use std::{env, fmt};

use crate::connection::is_terminal;

/// Whether output is coloured.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Style {
    pub(crate) is_coloured: bool,
}

/// What a piece of text is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Role {
    /// The line that sums a packet up.
    Headline,
    /// Places and bytes.
    Aside,
    /// What is wrong.
    Fault,
}

impl Style {
    /// Asks the environment: `NO_COLOR` says no, `CLICOLOR_FORCE` yes, and otherwise it is for
    /// terminals.
    pub(crate) fn from_environment() -> Self {
        let is_set = |name| env::var_os(name).is_some_and(|value| !value.is_empty());
        Self {
            is_coloured: !is_set("NO_COLOR") && (is_set("CLICOLOR_FORCE") || is_terminal()),
        }
    }

    /// Returns the text as what it is.
    pub(crate) const fn paint<T>(self, role: Role, text: T) -> Painted<T> {
        Painted {
            style: self,
            role,
            text,
        }
    }
}

/// Text with a colour.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Painted<T> {
    style: Style,
    role: Role,
    text: T,
}

impl<T: fmt::Display> fmt::Display for Painted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.style.is_coloured {
            return self.text.fmt(f);
        }
        f.write_str(match self.role {
            Role::Headline => "\x1b[1m",
            Role::Aside => "\x1b[2m",
            Role::Fault => "\x1b[1;31m",
        })?;
        // The field width counts for the text, not for the colour.
        self.text.fmt(f)?;
        f.write_str("\x1b[0m")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colour_goes_around_the_text_and_its_width() {
        let painted = |is_coloured| {
            let style = Style { is_coloured };
            format!("{:<4}|", style.paint(Role::Fault, "no"))
        };
        assert_eq!(painted(false), "no  |");
        assert_eq!(painted(true), "\x1b[1;31mno  \x1b[0m|");
    }
}
