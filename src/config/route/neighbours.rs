//! Routes that come one by one, each beside those that were there before: whoever comes later has to fit.

use std::collections::HashMap;

use super::{
    Route,
    checks::{self, BySource, BySubject, Outline},
};

/// For each of `routes`, in their order, why it can't stand beside those before it that can; none where it can.
pub fn unfit(routes: &[&Route]) -> Vec<Option<String>> {
    let outlines: Vec<_> = routes.iter().map(|route| Outline::of(route)).collect();
    let mut present = Present::default();
    let fit = |outline| {
        let problem = present.problem(outline);
        if problem.is_none() {
            present.add(outline);
        }
        problem
    };
    outlines.iter().map(fit).collect()
}

/// The routes that are there, by what another one can have to do with them.
#[derive(Default)]
struct Present<'o> {
    by_source: BySource<'o>,
    receivers: BySubject<'o>,
    /// The routes that publish to a subject.
    publishers: HashMap<&'o str, Vec<&'o Outline>>,
}

impl<'o> Present<'o> {
    fn add(&mut self, route: &'o Outline) {
        self.by_source.add(route);
        self.receivers.add(route);
        for (_, subject) in &route.publishes {
            self.publishers.entry(subject.as_str()).or_default().push(route);
        }
    }

    fn problem(&self, route: &'o Outline) -> Option<String> {
        let split = self.by_source.like(route).find_map(|earlier| checks::shared(earlier, route));
        if let Some((key, problem)) = split {
            return Some(format!("{key}: {problem}"));
        }
        for (key, subject) in &route.publishes {
            let receivers = self.receivers.receiving(subject.as_str());
            if let Some(problem) = receivers.iter().find_map(|receiver| checks::looped(subject, receiver)) {
                return Some(format!("{}.{key}: {problem}", route.path));
            }
        }
        self.receives(route)
    }

    /// Why `route` can't receive its subject, where one that is there publishes to it.
    fn receives(&self, route: &Outline) -> Option<String> {
        let subject = route.subject.as_ref()?;
        let literal = self.publishers.get(subject.as_str()).and_then(|publishers| publishers.first());
        let by_wildcard = || {
            let all = self.publishers.values().filter_map(|publishers| publishers.first());
            let comes_back = |publisher: &&&Outline| {
                publisher.publishes.iter().any(|(_, published)| subject.matches(published))
            };
            all.filter(|_| subject.has_wildcard()).find(comes_back)
        };
        let publisher = literal.or_else(by_wildcard)?;
        Some(format!(
            "{}.subject: expected a subject that no route publishes to, as {} does to one in \"{subject}\"",
            route.path, publisher.path
        ))
    }
}
