//! Values that name files. What is in those changes without the value, as a secret does that is rotated; and one that is mounted
//! later than the value is written is missing at first. So these values are read again now and then.

use std::{collections::BTreeMap, future, io, time::Duration};

use bytes::Bytes;
use tokio::time::{Instant, sleep_until};

use super::catalogue::Value;
use crate::{base::blocking::BlockingThreads, config::RouteName};

/// How often they are read. What has come of one has to be the same twice before it counts: whoever writes the files is done
/// then, most likely.
const PERIOD: Duration = Duration::from_secs(2);
/// For how many times as long as reading them took they are left alone then, at least.
const PAUSES: u32 = 20;
/// What all keys have in them whose values are names of files.
const OF_FILES: &[u8] = b"_file";

/// Those values, as they were read last.
pub(super) struct NamedFiles {
    values: BTreeMap<RouteName, Known>,
    due: Instant,
}

#[derive(Clone)]
struct Known {
    revision: u64,
    text: Bytes,
    /// What came of it, and counts.
    read: Value,
    /// What came of it the last time, where that is something else.
    seen: Option<Value>,
}

impl NamedFiles {
    /// Takes note of no value yet, and looks for changes a period from now.
    pub(super) fn new() -> Self {
        Self { values: BTreeMap::new(), due: Instant::now() + PERIOD }
    }

    /// Takes note of the value that a route has now, as a text and as it was `read`; none where it has none.
    pub(super) fn take_note(&mut self, name: &RouteName, revision: u64, value: Option<(&[u8], &Value)>) {
        match value.filter(|(text, _)| text.windows(OF_FILES.len()).any(|part| part == OF_FILES)) {
            Some((text, read)) => {
                // A copy: it must not keep the block alive that it came in.
                let text = Bytes::copy_from_slice(text);
                let known = Known { revision, text, read: read.clone(), seen: None };
                self.values.insert(name.clone(), known);
            }
            None => drop(self.values.remove(name)),
        }
    }

    /// Returns when another look is due.
    pub(super) async fn due(&self) {
        if self.values.is_empty() {
            return future::pending().await;
        }
        sleep_until(self.due).await;
    }

    /// Reads all of them again by `read`, and returns those of which something else has come.
    pub(super) async fn changed(
        &mut self,
        threads: &BlockingThreads,
        read: impl Fn(&RouteName, u64, &[u8]) -> Value + Send + 'static,
    ) -> io::Result<Vec<(RouteName, u64, Option<Value>)>> {
        let (began, values) = (Instant::now(), self.values.clone());
        let look = move || -> Vec<_> {
            let again = |(name, known): (RouteName, Known)| {
                let value = read(&name, known.revision, &known.text);
                (name, Some(value).filter(|value| *value != known.read))
            };
            values.into_iter().map(again).collect()
        };
        let looked = threads.run(look).await?;
        self.due = Instant::now() + PERIOD.max(began.elapsed() * PAUSES);
        let mut changed = Vec::new();
        for (name, other) in looked {
            let Some(known) = self.values.get_mut(&name) else { continue };
            if let Some(value) = other.clone().filter(|_| known.seen == other) {
                known.read = value.clone();
                changed.push((name, known.revision, Some(value)));
            }
            known.seen = other;
        }
        Ok(changed)
    }
}
