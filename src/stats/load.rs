//! What is in hand at the moment: shown by the pipelines, read by whoever looks.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::Gauge;

/// What one pipeline has in hand at the moment.
#[derive(Debug, Default)]
pub struct Load {
    /// Attempts under way.
    pub in_flight: Gauge,
    /// Messages in the queue.
    pub queue_messages: Gauge,
    /// The memory that those take, in bytes.
    pub queue_bytes: Gauge,
    /// Messages in the retry queue.
    pub retry_messages: Gauge,
    /// The memory that those take, in bytes.
    pub retry_bytes: Gauge,
}

impl Load {
    fn read(&self) -> InHand {
        InHand {
            in_flight: self.in_flight.get(),
            queue_messages: self.queue_messages.get(),
            queue_bytes: self.queue_bytes.get(),
            retry_messages: self.retry_messages.get(),
            retry_bytes: self.retry_bytes.get(),
        }
    }
}

/// What was in hand at one moment: [`Load`], read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InHand {
    /// Attempts under way.
    pub in_flight: usize,
    /// Messages in the queue.
    pub queue_messages: usize,
    /// The memory that those take, in bytes.
    pub queue_bytes: usize,
    /// Messages in the retry queue.
    pub retry_messages: usize,
    /// The memory that those take, in bytes.
    pub retry_bytes: usize,
}

impl InHand {
    /// Both together.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self {
            in_flight: self.in_flight + other.in_flight,
            queue_messages: self.queue_messages + other.queue_messages,
            queue_bytes: self.queue_bytes + other.queue_bytes,
            retry_messages: self.retry_messages + other.retry_messages,
            retry_bytes: self.retry_bytes + other.retry_bytes,
        }
    }
}

/// The loads of the pipelines of one route on one lane: one, and while a changed route goes over from its former
/// settings to its new ones, two. A load leaves with its pipeline.
#[derive(Debug, Default)]
pub struct Loads(Mutex<Vec<Weak<Load>>>);

impl Loads {
    /// The load of one more pipeline. It counts for as long as the pipeline keeps it.
    pub fn add(&self) -> Arc<Load> {
        let load = Arc::default();
        let mut loads = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        loads.retain(|load| load.strong_count() > 0);
        loads.push(Arc::downgrade(&load));
        load
    }

    /// All figures of all pipelines together, looked at once.
    pub fn in_hand(&self) -> InHand {
        let loads = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        loads.iter().filter_map(Weak::upgrade).map(|load| load.read()).fold(InHand::default(), InHand::and)
    }

    /// One figure of all pipelines together.
    pub fn sum(&self, figure: impl Fn(&Load) -> &Gauge) -> usize {
        let loads = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        loads.iter().filter_map(Weak::upgrade).map(|load| figure(&load).get()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_load_counts_for_as_long_as_its_pipeline_is_there() {
        let loads = Loads::default();
        let (former, present) = (loads.add(), loads.add());
        former.in_flight.set(3);
        present.in_flight.set(4);
        assert_eq!((loads.sum(|load| &load.in_flight), loads.in_hand().in_flight), (7, 7));
        drop(former);
        assert_eq!(loads.sum(|load| &load.in_flight), 4);
    }
}
