//! On which line of a TOML file each key stands: figment knows the file that a value came from, and not the line.

use std::{collections::HashMap, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use toml::Spanned;

/// The keys of a table in the file, each with where it stands, as an offset in bytes, and what is below it.
#[derive(Default)]
pub(super) struct Lines(HashMap<String, (usize, Self)>);

impl Lines {
    /// Notes where the keys of a TOML document stand; none when it is no TOML.
    pub(super) fn of(text: &str) -> Self {
        toml::from_str(text).unwrap_or_default()
    }

    /// Where the key at the end of `path` begins, as an offset in bytes.
    pub(super) fn offset(&self, path: &[&str]) -> Option<usize> {
        let (first, rest) = path.split_first()?;
        let (offset, below) = self.0.get(*first)?;
        if rest.is_empty() { Some(*offset) } else { below.offset(rest) }
    }
}

/// Where the lines of a text begin, so that a file of many routes is not counted through for each of their keys.
#[derive(Default)]
pub(super) struct LineStarts(Vec<usize>);

impl LineStarts {
    pub(super) fn of(text: &str) -> Self {
        Self(std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect())
    }

    /// The number of the line, from 1, that an offset in bytes is in.
    pub(super) fn line(&self, offset: usize) -> usize {
        self.0.partition_point(|start| *start <= offset).max(1)
    }

    /// That line, and the column, from 1, in characters of `text`.
    pub(super) fn position(&self, text: &str, offset: usize) -> (usize, usize) {
        let line = self.line(offset);
        let start = self.0.get(line - 1).copied().unwrap_or_default();
        let column = text.get(start..offset).unwrap_or_default().chars().count() + 1;
        (line, column)
    }
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
        let mut keys = HashMap::new();
        // A date is a map whose one key has no place in the file: it ends the search below, but is no mistake here.
        while let Ok(Some(key)) = map.next_key::<Spanned<String>>() {
            let offset = key.span().start;
            keys.insert(key.into_inner(), (offset, map.next_value()?));
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
