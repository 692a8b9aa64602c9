//! The hold of a route by an operator: who has it held, and why. What it keeps from happening is decided by
//! `schedule/hold.rs`.

use std::{fmt, rc::Rc, time::SystemTime};

use serde::{Deserialize, Serialize};

use super::pipeline::Pipeline;
use crate::{base::clock::timestamp, deliver::Deliver};

/// An operator has the messages of a route wait.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// What for, in the operator's words, where there are any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// Who has it held.
    pub by: String,
    /// Since when, in RFC 3339.
    #[serde(with = "time")]
    pub since: SystemTime,
}

/// Times as RFC 3339 has them.
mod time {
    use std::time::SystemTime;

    use serde::{Deserialize, Deserializer, Serializer, de::Error as _};

    use crate::base::clock::rfc3339;

    pub(super) fn serialize<S: Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&rfc3339(*time))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SystemTime, D::Error> {
        let text = String::deserialize(deserializer)?;
        humantime::parse_rfc3339(&text).map_err(D::Error::custom)
    }
}

impl fmt::Display for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { why, by, since } = self;
        write!(f, "by {by} since {}", timestamp(*since))?;
        why.as_ref().map_or(Ok(()), |why| write!(f, ": {why}"))
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
