//! The hold of a route by an operator: who has it held, why, and which half of its work it stops. That a paused route begins
//! no attempt is decided by `schedule/hold.rs`; that a drained one takes nothing is seen to by its lanes.

use std::{collections::BTreeMap, fmt, rc::Rc, time::SystemTime};

use serde::{Deserialize, Serialize};
use tracing::info;

use super::{
    pipeline::Pipeline,
    trouble::{DRAINED, HELD, REFILLED, RELEASED},
};
use crate::{base::clock::timestamp, config::RouteName, deliver::Deliver};

/// Which half of its work a route leaves undone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HoldAct {
    /// It begins no attempts, and goes on taking messages, which wait.
    #[default]
    Pause,
    /// It takes no messages, and delivers those that it has.
    Drain,
}

/// An operator has a route do half of its work only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hold {
    /// Which half. A pause where that is not said.
    #[serde(default)]
    pub act: HoldAct,
    /// What for, in the operator's words, where there are any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// Who has it held.
    pub by: String,
    /// Since when, in RFC 3339.
    #[serde(with = "rfc3339")]
    pub since: SystemTime,
}

/// Times as RFC 3339 has them, in JSON.
pub mod rfc3339 {
    use std::time::SystemTime;

    use serde::{Deserialize, Deserializer, Serializer, de::Error as _};

    use crate::base::clock;

    /// Writes one.
    pub fn serialize<S: Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&clock::rfc3339(*time))
    }

    /// Reads one.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SystemTime, D::Error> {
        let text = String::deserialize(deserializer)?;
        humantime::parse_rfc3339(&text).map_err(D::Error::custom)
    }
}

impl fmt::Display for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { why, by, since, .. } = self;
        write!(f, "by {by} since {}", timestamp(*since))?;
        why.as_ref().map_or(Ok(()), |why| write!(f, ": {why}"))
    }
}

/// What operators hold, by the names of routes: a hold need not have its route, and outlives all its settings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holds {
    by_name: BTreeMap<RouteName, Hold>,
    /// Whether it is not known yet what is held.
    pub(super) are_awaited: bool,
}

impl Holds {
    /// None, of which more are to be heard or not.
    pub(super) fn awaited(are_awaited: bool) -> Self {
        Self { are_awaited, ..Self::default() }
    }

    /// Who holds the route of this name, where somebody does.
    pub fn of(&self, name: &RouteName) -> Option<&Hold> {
        self.by_name.get(name)
    }

    /// Whether the route of this name begins attempts.
    pub fn attempts(&self, name: &RouteName) -> bool {
        self.of(name).is_none_or(|hold| hold.act != HoldAct::Pause)
    }

    /// Whether the route of this name takes messages from NATS. None does before it is known what is held.
    pub fn takes(&self, name: &RouteName) -> bool {
        !self.are_awaited && !self.has_drained(name)
    }

    /// Whether somebody has drained the route of this name.
    pub fn has_drained(&self, name: &RouteName) -> bool {
        self.of(name).is_some_and(|hold| hold.act == HoldAct::Drain)
    }

    /// Holds the route of this name, or lets it go on.
    pub(super) fn set(&mut self, name: RouteName, hold: Option<Hold>) {
        match hold {
            Some(hold) => drop(self.by_name.insert(name, hold)),
            None => drop(self.by_name.remove(&name)),
        }
    }

    /// Says what an operator has decided since these were the `former` ones. That somebody else holds a route now, or for
    /// another reason, is no news.
    pub(super) fn announce(&self, former: &Self) {
        for (name, hold) in &self.by_name {
            if former.of(name).is_none_or(|before| before.act != hold.act) {
                let what = if hold.act == HoldAct::Pause { HELD } else { DRAINED };
                info!(route = name.as_str(), by = hold.by, why = hold.why, "{what}");
            }
        }
        for (name, hold) in former.by_name.iter().filter(|(name, _)| self.of(name).is_none()) {
            let what = if hold.act == HoldAct::Pause { RELEASED } else { REFILLED };
            info!(route = name.as_str(), was = %hold, "{what}");
        }
    }
}

impl<D: Deliver + 'static> Pipeline<D> {
    /// Begins no attempt any more while it `is_held`, and goes on at once when it is not. What is under way ends as usual.
    pub fn hold(self: &Rc<Self>, is_held: bool) {
        let is_news = self.schedule.borrow_mut().hold(is_held);
        if is_news && !is_held {
            // A stream was not asked for more meanwhile.
            self.low_water.observe(self.schedule.borrow().queue().len());
            self.wake_workers();
        }
    }
}
