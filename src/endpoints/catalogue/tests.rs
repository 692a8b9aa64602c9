//! Which values run, beside each other and those before them.

use super::*;
use crate::config::{Sources, load};

const MOST: NonZeroUsize = NonZeroUsize::new(3).unwrap();

/// A route that takes `subject`, to be told apart from others by `url`.
fn route(name: &str, subject: &str, url: &str) -> Route {
    let flag =
        |(key, value): (&str, &str)| (format!("routes.{name}.{key}"), value.to_owned(), "--set".to_owned());
    let flags = [("subject", subject), ("webhook.url", url)].map(flag).into();
    load(Sources { flags, ..Sources::default() }).unwrap().routes.remove(0)
}

fn value(name: &str, revision: u64, subject: &str) -> (RouteName, u64, Option<Value>) {
    let route = route(name, subject, &format!("http://host/{revision}"));
    (route.name.clone(), revision, Some(Ok(Arc::new(route))))
}

fn bad(name: &str, revision: u64) -> (RouteName, u64, Option<Value>) {
    (name.parse().unwrap(), revision, Some(Err(["no url".to_owned()].into())))
}

fn changes(values: impl IntoIterator<Item = (RouteName, u64, Option<Value>)>) -> Changes {
    Changes { values: values.into_iter().collect(), ..Changes::default() }
}

/// What runs, by name and the revision of its value, and what of the values does not.
fn resolve(catalogue: &mut Catalogue, file: &[Arc<Route>]) -> (Vec<String>, Vec<String>) {
    let Resolved { routes, states } = catalogue.resolve(file);
    let runs = |route: &Arc<Route>| format!("{}{}", route.name, route.webhook.url.path_and_query());
    let said = |(name, state): (&RouteName, &State)| match &state.standing {
        Standing::Active => None,
        Standing::Overridden => Some(format!("{name} overridden")),
        Standing::Refused { former_runs: true, .. } => Some(format!("{name} refused, runs on")),
        Standing::Refused { .. } => Some(format!("{name} refused")),
    };
    (routes.iter().map(runs).collect(), states.iter().filter_map(said).collect())
}

#[track_caller]
fn assert_resolved(catalogue: &mut Catalogue, file: &[Arc<Route>], runs: &[&str], said: &[&str]) {
    let (now, not) = resolve(catalogue, file);
    assert_eq!(
        (now.as_slice(), not.as_slice()),
        (
            &*runs.iter().map(ToString::to_string).collect::<Vec<_>>(),
            &*said.iter().map(ToString::to_string).collect::<Vec<_>>()
        )
    );
}

#[test]
fn a_value_with_a_mistake_changes_nothing() {
    let mut catalogue = Catalogue::new(MOST);
    catalogue.take(changes([value("a", 1, "a"), bad("b", 2)]));
    assert_resolved(&mut catalogue, &[], &["a/1"], &["b refused"]);
    catalogue.take(changes([bad("a", 3), value("b", 4, "b")]));
    assert_resolved(&mut catalogue, &[], &["a/1", "b/4"], &["a refused, runs on"]);
    catalogue.take(changes([value("a", 5, "a")]));
    assert_resolved(&mut catalogue, &[], &["a/5", "b/4"], &[]);
}

#[test]
fn whoever_was_there_first_stays() {
    let mut catalogue = Catalogue::new(MOST);
    catalogue.take(changes([value("a", 1, "x"), value("b", 2, "x.>"), value("c", 3, "x.y")]));
    assert_resolved(&mut catalogue, &[], &["a/1", "b/2"], &["c refused"]);
    catalogue.take(changes([value("b", 4, "y")]));
    assert_resolved(&mut catalogue, &[], &["a/1", "b/4", "c/3"], &[]);
    // Another value has to fit beside what runs, though its route was there first.
    catalogue.take(changes([value("a", 5, "x.*")]));
    assert_resolved(&mut catalogue, &[], &["a/1", "b/4", "c/3"], &["a refused, runs on"]);
    // It is tried again as soon as there is room.
    catalogue.take(changes([value("c", 6, "z")]));
    assert_resolved(&mut catalogue, &[], &["a/5", "b/4", "c/6"], &[]);
}

#[test]
fn what_is_removed_makes_room() {
    let mut catalogue = Catalogue::new(MOST);
    catalogue.take(changes([value("a", 1, "x"), value("b", 2, "x")]));
    assert_resolved(&mut catalogue, &[], &["a/1"], &["b refused"]);
    catalogue.take(changes([("a".parse().unwrap(), 3, None)]));
    assert_resolved(&mut catalogue, &[], &["b/2"], &[]);
    let all = Changes { values: vec![value("c", 4, "x")], is_all: true, revision: 4 };
    catalogue.take(all);
    assert_resolved(&mut catalogue, &[], &["c/4"], &[]);
}

#[test]
fn a_former_value_keeps_its_place_from_those_that_come_late() {
    let mut catalogue = Catalogue::new(MOST);
    catalogue.take(changes([value("a", 1, "x"), value("b", 2, "y"), value("c", 3, "z")]));
    assert_resolved(&mut catalogue, &[], &["a/1", "b/2", "c/3"], &[]);
    // What b wants is taken, so that it stays where a wants to go.
    catalogue.take(changes([value("a", 4, "y"), value("b", 5, "z")]));
    let stay = ["a refused, runs on", "b refused, runs on"];
    assert_resolved(&mut catalogue, &[], &["a/1", "b/2", "c/3"], &stay);
    // As soon as there is room, both go.
    catalogue.take(changes([value("c", 6, "w")]));
    assert_resolved(&mut catalogue, &[], &["a/4", "b/5", "c/6"], &[]);
    // Both want the same: one gets it.
    catalogue.take(changes([value("a", 7, "v"), value("b", 8, "v")]));
    assert_resolved(&mut catalogue, &[], &["a/7", "b/5", "c/6"], &["b refused, runs on"]);
    // They change places.
    catalogue.take(changes([value("a", 9, "z"), value("b", 10, "v")]));
    assert_resolved(&mut catalogue, &[], &["a/9", "b/10", "c/6"], &[]);
}

#[test]
fn a_long_row_of_values_that_want_the_place_of_the_next_changes_nothing() {
    const ROUTES: u64 = 300;
    let mut catalogue = Catalogue::new(NonZeroUsize::new(1_000).unwrap());
    let at = |revision: u64, shift: u64| {
        (0..ROUTES).map(move |n| value(&format!("r{n:03}"), revision + n, &format!("s{}", n + shift)))
    };
    catalogue.take(changes(at(0, 0).chain([value("wall", 5_000, &format!("s{ROUTES}"))])));
    assert_eq!(resolve(&mut catalogue, &[]).0.len() as u64, ROUTES + 1);
    catalogue.take(changes(at(1_000, 1)));
    let (runs, refused) = resolve(&mut catalogue, &[]);
    assert!(runs.iter().zip(0..ROUTES).all(|(runs, n)| *runs == format!("r{n:03}/{n}")), "{runs:?}");
    assert_eq!(refused.len() as u64, ROUTES);
}

/// Whatever comes together, what runs fits together, and no value costs another one its former.
#[test]
fn no_batch_of_values_costs_what_runs() {
    const SUBJECTS: [&str; 8] = ["a", "b", "c", "d.e", "d.*", "d.>", "f", "f.g"];
    let mut catalogue = Catalogue::new(NonZeroUsize::new(5).unwrap());
    let (mut revision, mut seed) = (0, 7_u64);
    let mut chance = |most: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % most
    };
    let mut running: BTreeSet<RouteName> = BTreeSet::new();
    for _ in 0..600 {
        let mut batch = Vec::new();
        for _ in 0..=chance(4) {
            revision += 1;
            let name = format!("r{}", chance(7));
            let subject = SUBJECTS[usize::try_from(chance(8)).unwrap()];
            batch.push(match chance(6) {
                0 => (name.parse().unwrap(), revision, None),
                1 => bad(&name, revision),
                _ => value(&name, revision, subject),
            });
        }
        let gone: Vec<_> =
            batch.iter().filter(|(.., value)| value.is_none()).map(|(name, ..)| name.clone()).collect();
        catalogue.take(changes(batch));
        let Resolved { routes, .. } = catalogue.resolve(&[]);
        let all: Vec<_> = routes.iter().map(|route| &**route).collect();
        assert!(unfit(&all).iter().all(Option::is_none));
        let now: BTreeSet<_> = routes.iter().map(|route| route.name.clone()).collect();
        let lost: Vec<_> = running.difference(&now).filter(|name| !gone.contains(name)).collect();
        assert!(lost.is_empty(), "{lost:?} of {running:?} has ended");
        running = now;
    }
}

#[test]
fn the_file_is_first() {
    let mut catalogue = Catalogue::new(MOST);
    catalogue.take(changes([value("a", 1, "a"), value("b", 2, "b")]));
    assert_resolved(&mut catalogue, &[], &["a/1", "b/2"], &[]);
    let file = [route("a", "other", "http://host/file"), route("z", "b", "http://host/file")].map(Arc::new);
    assert_resolved(&mut catalogue, &file, &[], &["a overridden", "b refused"]);
    assert_resolved(&mut catalogue, &[], &["a/1", "b/2"], &[]);
}

#[test]
fn no_more_run_than_the_operator_wants() {
    let mut catalogue = Catalogue::new(MOST);
    let name = |number: u64| value(&format!("r{number}"), 10 - number, &format!("s{number}"));
    catalogue.take(changes((0..5).map(name)));
    assert_resolved(&mut catalogue, &[], &["r2/8", "r3/7", "r4/6"], &["r0 refused", "r1 refused"]);
}
