//! Ids for messages whose publisher gave none.

use std::{
    cell::Cell,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use uuid::{Builder, Uuid};

use super::Id;
use crate::base::clock::Time;

/// Makes UUIDs of version 7 (RFC 9562, section 5.7), which sort by time.
///
/// Chance and the wall clock are asked once for all messages of one read: those of it differ by a counter in the last 62
/// bits, as the RFC allows (section 6.2, method 2). Two readers that read at the same time differ by 74 bits of chance.
#[derive(Debug, Default)]
pub struct FreshIds {
    /// When what follows was found out.
    read: Cell<Option<Time>>,
    millis: Cell<u64>,
    chance: Cell<u16>,
    counter: Cell<u64>,
}

impl FreshIds {
    /// The id of the next message of those that were read at `now`.
    pub fn next(&self, now: Time) -> Id {
        if self.read.get() != Some(now) {
            self.begin(now);
        }
        let counter = self.counter.get().wrapping_add(1);
        self.counter.set(counter);
        let mut tail = [0; 10];
        tail[..2].copy_from_slice(&self.chance.get().to_be_bytes());
        tail[2..].copy_from_slice(&counter.to_be_bytes());
        Id::Made(Builder::from_unix_timestamp_millis(self.millis.get(), &tail).into_uuid())
    }

    fn begin(&self, now: Time) {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let (high, low) = Uuid::new_v4().as_u64_pair();
        self.read.set(Some(now));
        self.millis.set(u64::try_from(since.as_millis()).unwrap_or_default());
        let [first, second, ..] = high.to_be_bytes();
        self.chance.set(u16::from_be_bytes([first, second]));
        // Room to count up in the 62 bits that a UUID has here.
        self.counter.set(low >> 3);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::route::schedule::testing::at;

    #[test]
    fn each_is_another_one_of_version_7_and_those_of_a_read_ascend() {
        let (one, other) = (FreshIds::default(), FreshIds::default());
        let mut ids = Vec::new();
        for second in 0..100 {
            let of_a_read: Vec<_> = (0..100).map(|_| one.next(at(second)).to_string()).collect();
            assert!(of_a_read.is_sorted(), "{of_a_read:#?}");
            ids.extend(of_a_read);
            ids.extend((0..100).map(|_| other.next(at(second)).to_string()));
        }
        for id in &ids {
            let id = Uuid::parse_str(id).unwrap();
            assert_eq!((id.get_version_num(), id.get_variant()), (7, uuid::Variant::RFC4122));
        }
        assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len());
    }
}
