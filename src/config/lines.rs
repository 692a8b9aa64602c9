//! On which line of a TOML file each key stands.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use toml::Spanned;

/// The keys of a table in the file, each with where it stands and what is below it.
#[derive(Default)]
pub(super) struct Lines(Vec<(Spanned<String>, Self)>);

impl Lines {
    /// Notes where the keys of a TOML document stand; none when it is no TOML.
    pub(super) fn of(text: &str) -> Self {
        toml::from_str(text).unwrap_or_default()
    }

    /// Where the key at the end of `path` begins, as an offset in bytes.
    pub(super) fn offset(&self, path: &[&str]) -> Option<usize> {
        let (first, rest) = path.split_first()?;
        let (key, below) = self.0.iter().find(|(key, _)| key.get_ref() == first)?;
        if rest.is_empty() { Some(key.span().start) } else { below.offset(rest) }
    }
}

/// The line and the column, both from 1, of an offset in bytes.
pub(super) fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
    (line, column)
}

impl<'de> Deserialize<'de> for Lines {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(LinesVisitor)
    }
}

struct LinesVisitor;

impl<'de> Visitor<'de> for LinesVisitor {
    type Value = Lines;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any TOML value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Lines, A::Error> {
        let mut keys = Vec::new();
        // A date is a map whose one key has no place in the file: it ends the search below, but is no mistake here.
        while let Ok(Some(key)) = map.next_key() {
            keys.push((key, map.next_value()?));
        }
        Ok(Lines(keys))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Lines, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Lines::default())
    }

    fn visit_str<E>(self, _: &str) -> Result<Lines, E> {
        Ok(Lines::default())
    }

    fn visit_i64<E>(self, _: i64) -> Result<Lines, E> {
        Ok(Lines::default())
    }

    fn visit_f64<E>(self, _: f64) -> Result<Lines, E> {
        Ok(Lines::default())
    }

    fn visit_bool<E>(self, _: bool) -> Result<Lines, E> {
        Ok(Lines::default())
    }
}
