//! The replicas: what they have in hand, and what they deliver.

use crate::{autoscaler::float, pod::Pod};

/// From the decision to the first message, in seconds: a place on a node, the image at hand, the first good probe.
const STARTING: u32 = 10;
/// From the start until metrics-server has a figure of a pod, in seconds.
const FIRST_FIGURE: u32 = 30;
/// Over how many seconds metrics-server takes its averages.
const WINDOW: usize = 15;
/// The default bound of the queue, in messages.
const QUEUE: f64 = 65_536.0;

/// A pod at work.
#[derive(Clone, Debug)]
struct Replica {
    started: u32,
    backlog: f64,
    /// What it used in each of the last seconds.
    used: Vec<f64>,
}

/// All pods.
#[derive(Clone, Debug)]
pub(crate) struct Fleet<'a> {
    pod: &'a Pod,
    replicas: Vec<Replica>,
    /// What waits in the stream; in durable mode only.
    stream: Option<f64>,
    capacity: f64,
}

/// What became of a second.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Second {
    /// Messages that wait, in the pods or in the stream.
    pub(crate) lag: f64,
    /// How long the last of them will wait, in seconds.
    pub(crate) delay: f64,
    /// Messages that found no room in a queue: dead letters, or dropped and counted.
    pub(crate) turned_away: f64,
    /// The average use of the quota.
    pub(crate) utilization: f64,
}

impl<'a> Fleet<'a> {
    pub(crate) fn new(pod: &'a Pod, replicas: usize, durable: bool) -> Self {
        let replica = Replica { started: 0, backlog: 0.0, used: vec![0.0; WINDOW] };
        Self {
            pod,
            replicas: vec![replica; replicas],
            stream: durable.then_some(0.0),
            capacity: if durable { pod.durable_capacity } else { pod.capacity },
        }
    }

    pub(crate) const fn len(&self) -> usize {
        self.replicas.len()
    }

    /// Starts replicas, or stops the youngest: they hand their messages over.
    pub(crate) fn scale(&mut self, to: usize, now: u32) {
        while self.replicas.len() < to {
            self.replicas.push(Replica { started: now + STARTING, backlog: 0.0, used: Vec::new() });
        }
        let handed_over: f64 = self.replicas.drain(to..).map(|replica| replica.backlog).sum();
        let each = handed_over / float(self.replicas.len());
        self.replicas.iter_mut().for_each(|replica| replica.backlog += each);
    }

    /// What metrics-server says of each.
    pub(crate) fn figures(&self, now: u32) -> Vec<Option<f64>> {
        let figure = |replica: &Replica| {
            let window = &replica.used[replica.used.len().saturating_sub(WINDOW)..];
            let known = replica.started == 0 || now >= replica.started + FIRST_FIGURE;
            (known && !window.is_empty()).then(|| window.iter().sum::<f64>() / float(window.len()))
        };
        self.replicas.iter().map(figure).collect()
    }

    /// A second in which so many messages are published.
    pub(crate) fn second(&mut self, now: u32, published: f64) -> Second {
        let (pod, capacity) = (self.pod, self.capacity);
        let ready: Vec<_> = self.replicas.iter_mut().filter(|replica| now >= replica.started).collect();
        let count = float(ready.len());
        let mut second = Second::default();
        // Each takes its part of the stream, or of the queue group: what it can't deliver at once stays with it then.
        let each = (self.stream.unwrap_or(0.0) + published) / count;
        let mut delivered = 0.0;
        for replica in ready {
            let at_hand = replica.backlog + each;
            let done = at_hand.min(capacity);
            replica.used.push(if at_hand > capacity { 1.0 } else { pod.utilization(done) });
            delivered += done;
            if self.stream.is_none() {
                let left = at_hand - done;
                replica.backlog = left.min(QUEUE);
                second.turned_away += left - replica.backlog;
                second.lag += replica.backlog;
                second.delay = second.delay.max(replica.backlog / capacity);
            }
            second.utilization += replica.used.last().copied().unwrap_or(0.0) / count;
        }
        if let Some(stream) = &mut self.stream {
            *stream = (*stream + published - delivered).max(0.0);
            (second.lag, second.delay) = (*stream, *stream / (count * capacity));
        }
        second
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_pod_cannot_deliver_waits_with_it_and_what_finds_no_room_is_turned_away() {
        let pod = Pod { points: Vec::new(), capacity: 1_000.0, durable_capacity: 1_000.0 };
        let mut core = Fleet::new(&pod, 2, false);
        assert_eq!(core.second(0, 3_000.0).lag, 1_000.0);
        core.scale(3, 1);
        assert_eq!(core.second(1, 0.0).lag, 0.0, "the third starts, and has nothing");
        assert_eq!(core.second(2, 400_000.0).turned_away, 400_000.0 - 2.0 * (1_000.0 + QUEUE));
        core.scale(1, 3);
        assert_eq!(core.second(3, 0.0).turned_away, QUEUE - 1_000.0, "the others' messages find no room");

        let mut durable = Fleet::new(&pod, 2, true);
        let second = durable.second(0, 402_000.0);
        assert_eq!((second.lag, second.turned_away, second.delay), (400_000.0, 0.0, 200.0));
    }
}
