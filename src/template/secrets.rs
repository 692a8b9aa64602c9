//! Texts that a template may use and nobody may see, such as the key that a service wants in the body.

use std::fmt;

use minijinja::value::{Value, ValueKind};

/// Secrets by name. They don't print. Two are equal when they hold the same.
#[derive(Clone, PartialEq, Eq)]
pub struct Secrets(Value);

impl Secrets {
    /// The names, sorted; they are no secrets.
    pub fn names(&self) -> Vec<String> {
        let names = self.0.try_iter().into_iter().flatten().map(|name| name.to_string());
        let mut names: Vec<_> = names.collect();
        names.sort_unstable();
        names
    }

    /// Whether a template may ask for a secret of this name.
    pub fn has(&self, name: &str) -> bool {
        self.0.get_attr(name).is_ok_and(|value| value.kind() == ValueKind::String)
    }

    pub(super) fn value(&self) -> Value {
        self.0.clone()
    }
}

impl FromIterator<(String, String)> for Secrets {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(secrets: I) -> Self {
        Self(Value::from_pairs(secrets))
    }
}

impl Default for Secrets {
    fn default() -> Self {
        Self::from_iter([])
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.names()).finish()
    }
}
