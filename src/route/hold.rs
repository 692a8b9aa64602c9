//! The hold of a route by an operator: who has it held, and why. What it keeps from happening is decided by
//! `schedule/hold.rs`.

use std::{fmt, rc::Rc, time::SystemTime};

use super::pipeline::Pipeline;
use crate::deliver::Deliver;

/// An operator has the messages of a route wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// What for, in the operator's words, where there are any.
    pub why: Option<String>,
    /// Who has it held.
    pub by: String,
    /// Since when.
    pub since: SystemTime,
}

impl fmt::Display for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { why, by, since } = self;
        write!(f, "by {by} since {}", humantime::format_rfc3339_seconds(*since))?;
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
