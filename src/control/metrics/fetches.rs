//! Requests for tokens by route. Each login counts its own from 0, and a route that is configured anew has another one: here
//! they go on.

use std::collections::BTreeMap;

use crate::deliver::login::Fetches;

/// The requests of all routes that there ever were.
#[derive(Debug, Default)]
pub(super) struct FetchCounts {
    routes: BTreeMap<u64, Fetched>,
    /// Those of routes that are gone.
    gone: Fetches,
}

#[derive(Debug, Default)]
struct Fetched {
    of_login: Fetches,
    of_route: Fetches,
    /// Whether it was there at this look.
    is_there: bool,
}

impl FetchCounts {
    /// All requests of the route with this number. Its present login, where it has one, has made those `of_login`.
    pub(super) fn go_on(&mut self, number: u64, of_login: Option<Fetches>) -> Fetches {
        if of_login.is_none() && !self.routes.contains_key(&number) {
            return Fetches::default();
        }
        let route = self.routes.entry(number).or_default();
        route.is_there = true;
        if let Some(now) = of_login {
            let is_new = now.fetched < route.of_login.fetched || now.failed < route.of_login.failed;
            let before = if is_new { Fetches::default() } else { route.of_login };
            route.of_route.fetched += now.fetched - before.fetched;
            route.of_route.failed += now.failed - before.failed;
            route.of_login = now;
        }
        route.of_route
    }

    /// Those of routes that are gone: of all that were not asked for since this was last called.
    pub(super) fn of_gone(&mut self) -> Fetches {
        let Self { routes, gone } = self;
        routes.retain(|_, route| {
            if !route.is_there {
                gone.fetched += route.of_route.fetched;
                gone.failed += route.of_route.failed;
            }
            std::mem::take(&mut route.is_there)
        });
        *gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_login_goes_on_where_the_former_one_ended() {
        let mut counts = FetchCounts::default();
        let fetches = |fetched, failed| Fetches { fetched, failed };
        let mut go_on = |number, of_login: Option<(u64, u64)>| {
            let all = counts.go_on(number, of_login.map(|(fetched, failed)| fetches(fetched, failed)));
            (all, counts.of_gone())
        };
        assert_eq!(go_on(1, Some((5, 1))), (fetches(5, 1), fetches(0, 0)));
        assert_eq!(go_on(1, Some((6, 1))), (fetches(6, 1), fetches(0, 0)));
        assert_eq!(go_on(1, Some((1, 0))), (fetches(7, 1), fetches(0, 0)));
        assert_eq!(go_on(1, None), (fetches(7, 1), fetches(0, 0)), "it only drains");
        assert_eq!(go_on(2, None), (fetches(0, 0), fetches(7, 1)));
        assert_eq!(go_on(2, Some((1, 0))), (fetches(1, 0), fetches(7, 1)));
    }
}
