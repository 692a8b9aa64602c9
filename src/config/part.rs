//! A part of the settings, for clients of the daemons: what is wrong with others does not matter to those, nor what they can't read of
//! the files that others name.

use super::{
    ConfigErrors, Endpoints, Nats, PublishSubject, RouteName, Service, Sources, endpoints, layers, nats,
    parse,
    reader::{Reader, Reported, Section},
    route, service,
};

/// Where NATS is, and what is kept there of messages.
#[derive(Debug)]
pub struct Kept {
    /// `[nats]`.
    pub nats: Nats,
    /// `history.subject`, where what came of attempts is published.
    pub history: Option<PublishSubject>,
    /// `dead_letter.subject` of the routes of the file, each once.
    pub letters: Vec<PublishSubject>,
    /// The bucket that has routes as well, where there is one.
    pub endpoints: Option<Endpoints>,
}

/// Where NATS is and how it is logged in to, and which service to look for there.
///
/// # Errors
/// What is wrong with these.
pub fn nats_and_service(sources: Sources) -> Result<(Nats, Service), ConfigErrors> {
    let is_about_them = |key: &[&str]| matches!(key, ["nats" | "service", ..]);
    read(sources, is_about_them, |at| {
        let (nats, service) = (at.section("nats", nats::read), at.section("service", service::read));
        Ok((nats?, service?))
    })
}

/// What is kept of messages, and where.
///
/// # Errors
/// What is wrong with the settings that say so.
pub fn kept(sources: Sources) -> Result<Kept, ConfigErrors> {
    let is_about_it = |key: &[&str]| {
        let is_of_sections = matches!(key, ["nats", ..] | ["history" | "routes" | "endpoints"]);
        let is_of_bucket = matches!(key, ["endpoints", "bucket" | "prefix"]);
        let is_of_letters = matches!(key, ["history", "subject"] | ["routes", _, "dead_letter", ..]);
        is_of_sections || is_of_bucket || is_of_letters
    };
    read(sources, is_about_it, |at| {
        let nats = at.section("nats", nats::read);
        let history = at.optional_section("history", |at| at.optional("subject", parse::name));
        let letters = at.optional_section("routes", letters);
        let endpoints = at.optional_section("endpoints", endpoints::read_place);
        let (history, letters) = (history?.flatten(), letters?.unwrap_or_default());
        Ok(Kept { nats: nats?, history, letters, endpoints: endpoints? })
    })
}

fn letters(at: &Section<'_>) -> Result<Vec<PublishSubject>, Reported> {
    let mut subjects = Vec::new();
    for (key, entry) in at.entries() {
        let Ok(name) = key.parse::<RouteName>() else { continue };
        let read = |at: &Section<'_>| {
            at.optional_section("dead_letter", |at| route::dead_letters(at, name.as_str()))
        };
        // What is wrong with it is noted, where that is of interest.
        let letters = at.below(key, entry, read).ok().flatten().map(|letters| letters.subject);
        subjects.extend(letters.filter(|subject| !subjects.contains(subject)));
    }
    Ok(subjects)
}

/// Reads what `part` does, and returns it, or the mistakes in keys for which `is_in_it` holds.
fn read<T>(
    sources: Sources,
    is_in_it: impl Fn(&[&str]) -> bool,
    part: impl FnOnce(&Section<'_>) -> Result<T, Reported>,
) -> Result<T, ConfigErrors> {
    let mut errors = Vec::new();
    let Some(root) = layers::merge(sources, &mut errors) else { return Err(ConfigErrors(errors)) };
    let reader = Reader::new(root);
    let read = reader.read(part);
    let (found, _warnings) = reader.into_findings();
    let is_in_it = |key: &str| is_in_it(&key.split('.').collect::<Vec<_>>());
    let mistakes: Vec<_> = found.into_iter().filter(|mistake| is_in_it(&mistake.key)).collect();
    read.ok().filter(|_| mistakes.is_empty()).ok_or(ConfigErrors(mistakes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(settings: &[(&str, &str)]) -> Result<Kept, String> {
        let flag = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned(), "--set".to_owned());
        let sources = Sources { flags: settings.iter().map(flag).collect(), ..Sources::default() };
        super::kept(sources).map_err(|errors| errors.to_string())
    }

    #[test]
    fn what_is_kept_is_found_beside_what_is_wrong() {
        let found = kept(&[
            ("nats.url", "nats://n:1"),
            ("history.subject", "h.x"),
            ("history.sample", "lots"),
            ("surprise", "1"),
            ("log.level", "shouting"),
            ("routes.a.webhook.url_file", "/nowhere"),
            ("routes.a.dead_letter.subject", "dead.a"),
            ("routes.b.dead_letter.create", "false"),
            ("routes.c.dead_letter.subject", "dead.a"),
            ("routes.d.subject", "d"),
            ("routes.e", "is no table"),
            ("endpoints.bucket", "b"),
            ("endpoints.identity_file", "/nowhere"),
        ]);
        let Kept { nats, history, letters, endpoints } = found.unwrap();
        assert_eq!(endpoints.unwrap().bucket.as_str(), "b");
        assert_eq!(nats.servers[0].address(), "nats://n:1");
        assert_eq!(history.unwrap().as_str(), "h.x");
        let letters: Vec<_> = letters.iter().map(PublishSubject::as_str).collect();
        assert_eq!(letters, ["dead.a", "broadcaster.dead.b"]);
        assert!(kept(&[]).unwrap().letters.is_empty());
    }

    #[test]
    fn what_is_wrong_with_it_is_told() {
        for (key, value) in [
            ("nats.url", "http://n"),
            ("history.subject", "a b"),
            ("routes.a.dead_letter.subject", ">"),
            ("routes.a.dead_letter.subjct", "a"),
            ("routes", "a"),
            ("history", "a"),
            ("endpoints.prefix", "a b"),
        ] {
            let told = kept(&[(key, value), ("surprise", "1")]).unwrap_err();
            assert!(told.contains(key) && !told.contains("surprise"), "{told}");
        }
    }
}
