//! The keys of the bucket, and the subjects that they are in NATS.

use crate::config::{BucketName, Endpoints, RouteName};

/// What a key of the bucket is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Key {
    /// `routes.NAME`: a route.
    Route(RouteName),
    /// `state.NAME`: what operators have made of a route, whatever its settings.
    State(RouteName),
    /// `status.NAME`: what came of a route, for whoever has written it. Replicas write it, and go by none.
    Status(RouteName),
}

/// The keys of one fleet in its bucket.
#[derive(Clone, Debug)]
pub struct Keys {
    bucket: BucketName,
    /// What all keys begin with, the dot included; nothing where they have no prefix.
    prefix: String,
}

const ROUTES: &str = "routes";
const STATE: &str = "state";
const STATUS: &str = "status";

impl Keys {
    /// Those that `endpoints` says.
    pub fn of(endpoints: &Endpoints) -> Self {
        let prefix = endpoints.prefix.as_ref().map_or_else(String::new, |prefix| format!("{prefix}."));
        Self { bucket: endpoints.bucket.clone(), prefix }
    }

    /// The stream that a bucket is.
    pub fn stream(&self) -> String {
        format!("KV_{}", self.bucket.as_str())
    }

    /// The bucket.
    pub const fn bucket(&self) -> &BucketName {
        &self.bucket
    }

    /// The key as operators write it.
    pub fn name(&self, key: &Key) -> String {
        let (kind, name) = match key {
            Key::Route(name) => (ROUTES, name),
            Key::State(name) => (STATE, name),
            Key::Status(name) => (STATUS, name),
        };
        format!("{}{kind}.{name}", self.prefix)
    }

    /// The subject to which a value of `key` is published.
    pub fn subject(&self, key: &Key) -> String {
        format!("{}{}", self.start(), self.name(key))
    }

    /// The subjects of all values that count. With a prefix it is one: that is asked for by a subject with the prefix in it, so
    /// that a user can be permitted to follow this fleet's values and no others.
    pub fn subjects(&self) -> Vec<String> {
        if self.prefix.is_empty() {
            [ROUTES, STATE].map(|kind| format!("{}{kind}.*", self.start())).into()
        } else {
            vec![format!("{}{}*.*", self.start(), self.prefix)]
        }
    }

    /// The subjects of all values that say what came of others.
    pub fn statuses(&self) -> Vec<String> {
        vec![format!("{}{}{STATUS}.*", self.start(), self.prefix)]
    }

    /// The key with this subject; where it is none of this fleet, the name that it has.
    pub fn parse(&self, subject: &str) -> Result<Key, String> {
        let key = subject.strip_prefix(&self.start()).unwrap_or(subject);
        let parts = key.strip_prefix(&self.prefix).and_then(|rest| rest.split_once('.'));
        let found = parts.and_then(|(kind, name)| {
            let name = name.parse().ok()?;
            match kind {
                ROUTES => Some(Key::Route(name)),
                STATE => Some(Key::State(name)),
                STATUS => Some(Key::Status(name)),
                _ => None,
            }
        });
        found.ok_or_else(|| key.to_owned())
    }

    fn start(&self) -> String {
        format!("$KV.{}.", self.bucket.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Sources, load};

    fn keys(prefix: Option<&str>) -> Keys {
        let flag = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned(), "--set".to_owned());
        let prefix = prefix.map(|prefix| ("endpoints.prefix", prefix));
        let flags = [("endpoints.bucket", "b")].into_iter().chain(prefix).map(flag).collect();
        let config = load(Sources { flags, ..Sources::default() }).unwrap();
        Keys::of(&config.endpoints.unwrap())
    }

    #[test]
    fn a_key_is_found_by_its_subject() {
        let key = Key::Route("todos".parse().unwrap());
        for (prefix, subject) in
            [(None, "$KV.b.routes.todos"), (Some("acme.eu"), "$KV.b.acme.eu.routes.todos")]
        {
            let keys = keys(prefix);
            assert_eq!(keys.subject(&key), subject);
            assert_eq!(keys.parse(subject), Ok(key.clone()));
        }
        assert_eq!(keys(None).subjects(), ["$KV.b.routes.*", "$KV.b.state.*"]);
        assert_eq!(keys(Some("acme.eu")).subjects(), ["$KV.b.acme.eu.*.*"]);
        assert_eq!(keys(None).parse("$KV.b.state.todos"), Ok(Key::State("todos".parse().unwrap())));
    }

    #[test]
    fn what_is_none_of_ours_is_named() {
        for key in ["routes.UPPER", "routes", "routes.a.b", "other.a", "acme.routes.a", "routes."] {
            assert_eq!(keys(None).parse(&format!("$KV.b.{key}")), Err(key.to_owned()));
        }
        assert_eq!(keys(Some("acme")).parse("$KV.b.routes.a"), Err("routes.a".to_owned()));
    }
}
