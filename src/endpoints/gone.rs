//! Webhooks that have said that they are gone for good (410): what one replica has heard, all go by, and those that are started
//! later.

use std::{collections::HashMap, rc::Rc, sync::Arc, time::SystemTime};

use tokio::task::spawn_local;
use tracing::warn;

use super::{
    state::{Fingerprint, FleetState, Gone},
    store::{Store, StoreError},
};
use crate::{
    base::clock::Clock,
    config::RouteName,
    route::{registry::Registry, webhook_health::Word},
};

/// What is known of webhooks that are gone, and of the keys that say so.
pub(super) struct GoneWebhooks {
    registry: Arc<Registry>,
    store: Rc<Store>,
    /// What this replica is called.
    replica: Arc<str>,
    clock: Clock,
    known: HashMap<RouteName, Known>,
    /// What was known before all keys were read anew.
    former: HashMap<RouteName, Known>,
    /// The latest revision of each key, also of those that have no value any more: only that may be replaced.
    revisions: HashMap<RouteName, u64>,
}

struct Known {
    gone: Gone,
    revision: u64,
    /// Whether its route was told, which may not be there yet.
    is_told: bool,
}

impl GoneWebhooks {
    pub(super) fn new(registry: &Arc<Registry>, store: Store, replica: Arc<str>, clock: Clock) -> Self {
        Self {
            registry: Arc::clone(registry),
            store: Rc::new(store),
            replica,
            clock,
            known: HashMap::new(),
            former: HashMap::new(),
            revisions: HashMap::new(),
        }
    }

    /// Forgets all keys: what comes next are all that there are. Returns the names that were known as gone.
    pub(super) fn begin_anew(&mut self) -> Vec<RouteName> {
        self.revisions.clear();
        self.former = std::mem::take(&mut self.known);
        self.former.keys().cloned().collect()
    }

    /// Takes note of the key of the route of this name.
    pub(super) fn take_note(&mut self, name: &RouteName, revision: u64, gone: Option<Gone>) {
        self.revisions.insert(name.clone(), revision);
        let Some(gone) = gone else { return drop(self.known.remove(name)) };
        // What a webhook has done since it was told of counts, and not that it is read once more.
        let is_told =
            self.former.remove(name).is_some_and(|known| known.is_told && known.revision == revision);
        self.known.insert(name.clone(), Known { gone, revision, is_told });
    }

    /// Whether the webhook of this route is known as gone.
    pub(super) fn has(&self, name: &RouteName) -> bool {
        self.known.contains_key(name)
    }

    /// Tells the routes that run by now.
    pub(super) fn tell_routes(&mut self) {
        self.former.clear();
        let routes = self.registry.current();
        for (name, Known { gone, is_told, .. }) in self.known.iter_mut().filter(|(_, known)| !known.is_told) {
            let Some(route) = routes.get(name) else { continue };
            *is_told = true;
            if Fingerprint::of(&route.settings.webhook.url) == gone.webhook {
                let age = SystemTime::now().duration_since(gone.since).unwrap_or_default();
                route.disable(&gone.told(), age, self.clock.now());
            }
        }
    }

    /// Lets the other replicas know what a webhook has said here. That is written by itself: the bucket is followed on meanwhile.
    pub(super) fn hear(&self, word: Word) {
        let Word { route: name, webhook, is_gone } = word;
        let routes = self.registry.current();
        // What was under way when the route got another address tells nothing of that one.
        if routes.get(&name).is_none_or(|route| route.settings.webhook.url != webhook) {
            return;
        }
        let webhook = Fingerprint::of(&webhook);
        let known = self.known.get(&name).map(|known| &known.gone.webhook);
        let is_news = if is_gone { known != Some(&webhook) } else { known.is_some() };
        if !is_news {
            return;
        }
        let gone = is_gone.then(|| Gone { since: SystemTime::now(), by: self.replica.to_string(), webhook });
        // An operator may hold the route whose last attempts have said it: the hold stands in the same key, and stays.
        let state = FleetState { held: self.registry.held(&name), gone };
        let state = Some(state).filter(|state| *state != FleetState::default());
        let revision = self.revisions.get(&name).copied().unwrap_or_default();
        let store = Rc::clone(&self.store);
        drop(spawn_local(async move {
            match store.set_state(&name, state.as_ref(), Some(revision)).await {
                // What somebody else has written meanwhile counts: an operator's hold, or the same.
                Ok(_) | Err(StoreError::Changed) => {}
                Err(error) => warn!(
                    route = name.as_str(),
                    %error,
                    "what the webhook has said can't be told to the other replicas: they find out by themselves"
                ),
            }
        }));
    }
}
