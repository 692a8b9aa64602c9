//! An error with its causes, for one line of text.

use std::{error::Error, fmt};

/// Shows an error and all its causes, outermost first, with a colon between them: an error shows only itself, and the
/// operator needs the cause.
#[derive(Debug)]
pub struct ErrorChain<'e>(pub &'e dyn Error);

impl fmt::Display for ErrorChain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot start")]
    struct Outer(#[source] io::Error);

    #[test]
    fn every_cause_is_shown_once() {
        let error = Outer(io::Error::other("no threads"));
        assert_eq!(ErrorChain(&error).to_string(), "cannot start: no threads");
    }
}
