//! `[routes.NAME.webhook.secrets]` and `secrets_file`: what a template may use and nobody may see.

use std::collections::BTreeMap;

use crate::{
    config::{
        files, parse,
        reader::{Reported, Section},
        tree::Entry,
    },
    template::Secrets,
};

struct Given<'r> {
    key: String,
    entry: &'r Entry,
    from_file: bool,
}

/// Reads both tables of the webhook that is `at`.
pub(super) fn read(at: &Section<'_>) -> Result<Secrets, Reported> {
    let mut given = BTreeMap::new();
    let direct = at.section("secrets", |at| collect(at, false, &mut given));
    let from_files = at.section("secrets_file", |at| collect(at, true, &mut given));
    let read = |(name, Given { key, entry, from_file }): (&str, Given<'_>)| {
        let text = if from_file {
            files::path(&entry.value).and_then(|path| files::secret_file(&path))
        } else {
            parse::text(&entry.value)
        };
        text.map(|text| (name.to_owned(), text)).map_err(|problem| at.report_at(key, problem))
    };
    // All of them, so that each mistake is found.
    let read: Vec<_> = given.into_iter().map(read).collect();
    direct.and(from_files)?;
    read.into_iter().collect()
}

/// Adds the secrets of one table. Of two layers that set one, in whichever table, the later one wins.
fn collect<'r>(
    at: &Section<'r>,
    from_file: bool,
    given: &mut BTreeMap<&'r str, Given<'r>>,
) -> Result<(), Reported> {
    let mut result = Ok(());
    for (name, entry) in at.entries() {
        let is_name = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '_';
        if !name.chars().all(is_name) || !name.starts_with(|first: char| first.is_ascii_lowercase()) {
            // It may be the secret itself, so it is not shown.
            result = Err(at.report_table("expected names such as routing_key as the keys of this table"));
            continue;
        }
        let layer = entry.place.layer();
        let other = given.get(name.as_str()).map(|other| (other.entry.place.layer(), other.key.clone()));
        match other {
            Some((other, key)) if other == layer => {
                let problem = format!("expected only one of secrets_file and secrets: {key} is set too");
                result = Err(at.report(name, problem));
            }
            Some((other, _)) if other > layer => {}
            _ => {
                given.insert(name, Given { key: at.path(name), entry, from_file });
            }
        }
    }
    result
}
