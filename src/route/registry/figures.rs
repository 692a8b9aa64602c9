//! The figures of the routes by name, and of those that are gone.

use std::{collections::BTreeMap, sync::Arc};

use super::{LaneStats, Routes};
use crate::{
    config::RouteName,
    stats::{Counts, Tally},
};

/// The figures of all routes that there ever were, taken at one moment.
#[derive(Debug)]
pub struct AllFigures {
    /// Those of every route that runs, or whose last messages are still on their way, sorted by name.
    pub present: Vec<RouteFigures>,
    /// What the others have counted.
    pub gone: Counts,
}

/// The figures of one route.
#[derive(Clone, Debug)]
pub struct RouteFigures {
    /// No other figures ever have this number, nor do those of a later route of the same name.
    pub number: u64,
    /// What the route is called.
    pub name: RouteName,
    /// By lane.
    pub lanes: LaneStats,
}

/// Keeps them.
#[derive(Debug, Default)]
pub(super) struct Figures {
    by_name: BTreeMap<RouteName, RouteFigures>,
    /// The latest number.
    number: u64,
    /// The sum of routes that are gone, with all their messages. The tally of the process must still add up at its end.
    gone: Counts,
}

impl Figures {
    /// Those of the route of this name, which are `new` where it is.
    pub(super) fn of(&mut self, name: &RouteName, new: impl FnOnce() -> LaneStats) -> LaneStats {
        if let Some(figures) = self.by_name.get(name) {
            return Arc::clone(&figures.lanes);
        }
        self.number += 1;
        let figures = RouteFigures { number: self.number, name: name.clone(), lanes: new() };
        let lanes = Arc::clone(&figures.lanes);
        self.by_name.insert(name.clone(), figures);
        lanes
    }

    /// All of them, as they are now.
    pub(super) fn all(&self) -> AllFigures {
        AllFigures { present: self.by_name.values().cloned().collect(), gone: self.gone.clone() }
    }

    /// What became of all messages since the start.
    pub(super) fn tally(&self) -> Tally {
        let lanes = self.by_name.values().flat_map(|figures| figures.lanes.iter());
        self.gone.tally() + lanes.map(|lane| lane.tally()).sum()
    }

    /// Lets go of the figures of routes that don't run, and that nobody can count for any more: pipelines and dead
    /// letters on their way hold on to the figures they count in.
    pub(super) fn prune(&mut self, routes: &Routes) {
        let Self { by_name, gone, .. } = self;
        by_name.retain(|name, RouteFigures { lanes, .. }| {
            let in_use =
                Arc::strong_count(lanes) > 1 || lanes.iter().any(|stats| Arc::strong_count(stats) > 1);
            let stays = in_use || routes.get(name).is_some();
            if !stays {
                gone.add(&Counts::of(lanes.iter().map(|stats| &**stats)));
            }
            stays
        });
    }
}
