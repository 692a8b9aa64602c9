//! The publisher. A message's body is its number, the time of its publication, and blanks; or JSON with its number.

use std::{
    iter, thread,
    time::{Duration, Instant},
};

use async_nats::Client;
use indicatif::ProgressBar;
use tokio::time::sleep;

/// How fast messages are published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// As fast as they are delivered, with so many under way: enough to keep everything busy, too few to overflow a
    /// queue.
    Window(usize),
    /// So many a second.
    Steady(usize),
    /// At once.
    Flood,
}

pub(crate) struct Publisher {
    pub(crate) client: Client,
    pub(crate) subjects: Vec<String>,
    pub(crate) size: usize,
    /// Since when the time of a publication is counted; none where messages are JSON, which can stand in an array.
    pub(crate) start: Option<Instant>,
}

impl Publisher {
    /// Publishes the messages with these numbers, to the subjects by turns. `arrived` tells how many are done with.
    pub(crate) async fn publish(
        &self,
        numbers: std::ops::Range<usize>,
        pace: Pace,
        arrived: impl AsyncFn() -> usize,
        progress: &ProgressBar,
    ) {
        const LOOK_EVERY: usize = 256;
        let (first, began) = (numbers.start, Instant::now());
        for number in numbers {
            match pace {
                Pace::Steady(rate) => {
                    let due = Duration::from_secs(1) * u32::try_from(number - first).expect("few messages")
                        / u32::try_from(rate).expect("a moderate rate");
                    await_time(began + due).await;
                    progress.set_position(number as u64);
                }
                Pace::Window(outstanding) if number % LOOK_EVERY == 0 => {
                    let mut done = arrived().await;
                    while number >= done + outstanding {
                        sleep(Duration::from_millis(2)).await;
                        done = arrived().await;
                    }
                    progress.set_position(done as u64);
                }
                Pace::Window(_) | Pace::Flood => {}
            }
            let subject = self.subjects[number % self.subjects.len()].clone();
            let body = match self.start {
                Some(start) => padded(format!("{number} {} ", start.elapsed().as_nanos()), ' ', self.size),
                None => padded(format!("{{\"n\":{number},\"title\":\""), 'x', self.size - 2) + "\"}",
            };
            self.client.publish(subject, body.into()).await.expect("NATS takes it");
            if let Pace::Steady(_) = pace {
                self.client.flush().await.expect("NATS is there");
            }
        }
        self.client.flush().await.expect("NATS is there");
    }
}

/// `text` with as many of `filler` behind it as make it so many bytes.
fn padded(mut text: String, filler: char, size: usize) -> String {
    text.extend(iter::repeat_n(filler, size.saturating_sub(text.len())));
    text
}

/// The runtime's timers are good for milliseconds only.
async fn await_time(time: Instant) {
    const FINE: Duration = Duration::from_millis(2);
    let now = Instant::now();
    if time > now + FINE {
        sleep(time - now - FINE).await;
    }
    thread::sleep(time.saturating_duration_since(Instant::now()));
}
