//! The plain variables, such as `WEBHOOK_URL`, set the route `default`. Where the file has routes with other names, one
//! of these may be left over, or be meant for one of those: then there is a route that nobody wanted.

use super::checks::Outline;
use crate::config::{
    Place, layers,
    reader::Section,
    tree::{Entry, Table, Value},
};

/// The name of the route that plain variables set.
const DEFAULT: &str = "default";

/// The route `default` where nothing but plain variables and options makes it, beside other routes.
pub(super) struct Stray {
    /// The settings that make it: the key within the route, and where it was set.
    settings: Vec<(String, Place)>,
    others: Vec<String>,
}

impl Stray {
    /// The one among the routes that are `at`, if there is one.
    pub(super) fn among(at: &Section<'_>) -> Option<Self> {
        let routes = at.entries();
        let Value::Table(default) = &routes.get(DEFAULT)?.value else { return None };
        let settings = settings(default, "");
        let is_plain = |(_, place): &(String, Place)| match place {
            Place::Variable(name) => !name.starts_with(layers::PREFIX),
            Place::Flag(flag) => flag != "--set",
            Place::File { .. } | Place::Bucket { .. } | Place::Unset => false,
        };
        let others: Vec<_> = routes.keys().filter(|name| *name != DEFAULT).cloned().collect();
        let stray = !others.is_empty() && !settings.is_empty() && settings.iter().all(is_plain);
        stray.then_some(Self { settings, others })
    }

    pub(super) fn is(&self, name: &str) -> bool {
        name == DEFAULT
    }

    pub(super) fn has_url(&self) -> bool {
        self.settings.iter().any(|(key, _)| key.starts_with("webhook.url"))
    }

    /// Says what is wrong or odd with it. Where it is wrong, it is left out of what is compared.
    pub(super) fn tell(&self, at: &Section<'_>, outlines: &mut Vec<Outline>) {
        let key = at.path(DEFAULT);
        let own = outlines.iter().position(|route| route.path == key).map(|own| outlines.swap_remove(own));
        let wrong = match &own {
            None => Some("it has no webhook.url"),
            Some(own) if outlines.iter().any(|other| other.splits_messages_with(own)) => {
                Some("both would share the same messages")
            }
            Some(_) => None,
        };
        let (others, advice) = (self.others(), self.advice());
        match wrong {
            Some(why) => {
                at.report(DEFAULT, format!("expected no such route beside {others}: {why}; {advice}"));
            }
            None => {
                at.warn_at(key, format!("is one more route beside {others}: {advice}"));
                outlines.extend(own);
            }
        }
    }

    fn others(&self) -> String {
        const SHOWN: usize = 3;
        let names = self.others.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
        match self.others.len().checked_sub(SHOWN) {
            None | Some(0) => names,
            Some(more) => format!("{names} and {more} more"),
        }
    }

    fn advice(&self) -> String {
        let places: Vec<_> = self.settings.iter().map(|(_, place)| place.to_string()).collect();
        let instead = match (&self.settings[..], &self.others[..]) {
            ([(key, _), ..], [other, ..]) => layers::variable(&format!("routes.{other}.{key}")),
            _ => String::new(),
        };
        format!("{} is about the route {DEFAULT} alone; unset it, or set {instead}", places.join(" or "))
    }
}

fn settings(table: &Table, path: &str) -> Vec<(String, Place)> {
    let below = |(key, entry): (&String, &Entry)| match &entry.value {
        Value::Table(table) => settings(table, &format!("{path}{key}.")),
        _ => vec![(format!("{path}{key}"), entry.place.clone())],
    };
    table.iter().flat_map(below).collect()
}
