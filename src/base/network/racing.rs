//! Connects to whichever of several answers first, addresses of a host or servers of a cluster: RFC 8305 section 5.
//!
//! Each gets a head start before the next one, and goes on while the others are tried: one that does not answer //! a moment, and one that is far away has all the time there is.

use std::{future::Future, time::Duration};

use tokio::{
    task::JoinSet,
    time::{Instant, sleep_until},
};

/// How long one is alone before the next one is tried too: what RFC 8305 recommends.
const HEAD_START: Duration = Duration::from_millis(250);
/// No head start is shorter than this, however many there are.
const LEAST: Duration = Duration::from_millis(10);

/// What came of a race.
#[derive(Debug)]
pub struct Finish<P, T, E> {
    /// The first that was connected, where one was.
    pub winner: Option<(P, T)>,
    /// Those that had a head start, and had not answered when the race was over.
    pub silent: Vec<P>,
    /// Those that failed.
    pub failed: Vec<(P, E)>,
}

/// Tries `places` in this order until one is connected, or `deadline`. Needs a runtime that takes local tasks.
pub async fn race<P, T, E, C>(places: &[P], deadline: Instant, connect: impl Fn(P) -> C) -> Finish<P, T, E>
where
    P: Clone + PartialEq + 'static,
    T: 'static,
    E: 'static,
    C: Future<Output = Result<T, E>> + 'static,
{
    let head_start = head_start(deadline.saturating_duration_since(Instant::now()), places.len());
    let mut untried = places.iter().cloned();
    let mut attempts = JoinSet::new();
    let mut pending: Vec<(P, Instant)> = Vec::new();
    let mut failed = Vec::new();
    let mut next = Instant::now();
    loop {
        if Instant::now() >= next {
            if let Some(place) = untried.next() {
                let attempt = connect(place.clone());
                pending.push((place.clone(), Instant::now()));
                attempts.spawn_local(async move { (place, attempt.await) });
                next = Instant::now() + head_start;
            } else if pending.is_empty() {
                return Finish { winner: None, silent: Vec::new(), failed };
            }
        }
        let turn = if untried.len() == 0 { deadline } else { next.min(deadline) };
        tokio::select! {
            biased;
            Some(Ok((place, connected))) = attempts.join_next() => {
                pending.retain(|(pending, _)| *pending != place);
                match connected {
                    Ok(connected) => {
                        let silent = silent(&pending, head_start);
                        return Finish { winner: Some((place, connected)), silent, failed };
                    }
                    Err(error) => failed.push((place, error)),
                }
                // There is nothing to wait for: the next one at once.
                next = Instant::now();
            }
            () = sleep_until(turn) => {
                if Instant::now() >= deadline {
                    let silent = pending.into_iter().map(|(place, _)| place).collect();
                    return Finish { winner: None, silent, failed };
                }
            }
        }
    }
}

/// The head start of each of `count`: all of them are to be tried within the first half of `time`.
fn head_start(time: Duration, count: usize) -> Duration {
    let share = time / u32::try_from(count).unwrap_or(u32::MAX).saturating_mul(2).max(1);
    share.clamp(LEAST, HEAD_START)
}

fn silent<P: Clone>(pending: &[(P, Instant)], head_start: Duration) -> Vec<P> {
    let had_it = |began: &Instant| began.elapsed() >= head_start;
    pending.iter().filter(|(_, began)| had_it(began)).map(|(place, _)| place.clone()).collect()
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, collections::BTreeMap, io, net::SocketAddr, rc::Rc};

    use tokio::{
        task::LocalSet,
        time::{sleep, timeout},
    };

    use super::*;

    /// Addresses by their last byte: after how many milliseconds they answer, and whether well.
    type Network = &'static [(u8, u64, bool)];

    fn address(byte: u8) -> SocketAddr {
        ([10, 0, 0, byte], 443).into()
    }

    /// Races by a network where nobody else answers. Gives how it ended, and when each was tried, in milliseconds.
    fn race_in(network: Network, limit: u64) -> (Finish<SocketAddr, (), io::Error>, u64, BTreeMap<u8, u64>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        LocalSet::new().block_on(&runtime.unwrap(), async {
            let begin = Instant::now();
            let tried = Rc::new(RefCell::new(BTreeMap::new()));
            let millis = move || u64::try_from(begin.elapsed().as_millis()).unwrap();
            let connect = {
                let tried = Rc::clone(&tried);
                move |address: SocketAddr| {
                    let SocketAddr::V4(v4) = address else { unreachable!("all are IPv4") };
                    let byte = v4.ip().octets()[3];
                    tried.borrow_mut().insert(byte, millis());
                    async move {
                        let Some((_, after, well)) = network.iter().find(|(known, ..)| *known == byte) else {
                            return std::future::pending().await;
                        };
                        sleep(Duration::from_millis(*after)).await;
                        if *well { Ok(()) } else { Err(io::ErrorKind::ConnectionRefused.into()) }
                    }
                }
            };
            let addresses: Vec<_> = (1..=16).map(address).collect();
            let deadline = begin + Duration::from_millis(limit);
            let finish = timeout(
                Duration::from_secs(3600),
                race(&addresses[..network.len().max(2)], deadline, connect),
            );
            let finish = finish.await.unwrap();
            (finish, millis(), tried.take())
        })
    }

    fn winner(finish: &Finish<SocketAddr, (), io::Error>) -> Option<SocketAddr> {
        finish.winner.map(|(address, ())| address)
    }

    #[test]
    fn one_that_answers_in_time_is_alone() {
        let (finish, took, tried) = race_in(&[(1, 200, true), (2, 1, true)], 5_000);
        assert_eq!((winner(&finish), took), (Some(address(1)), 200));
        assert!(finish.silent.is_empty() && tried.len() == 1, "{finish:?} {tried:?}");
    }

    #[test]
    fn one_that_does_not_answer_costs_its_head_start_and_is_known_then() {
        let (finish, took, _) = race_in(&[(9, 0, true), (2, 20, true)], 5_000);
        assert_eq!((winner(&finish), took), (Some(address(2)), 270));
        assert_eq!(finish.silent, [address(1)]);
    }

    #[test]
    fn one_that_fails_costs_nothing() {
        let (finish, took, _) = race_in(&[(1, 3, false), (2, 20, true)], 5_000);
        assert_eq!((winner(&finish), took, finish.failed.len()), (Some(address(2)), 23, 1));
        assert!(finish.silent.is_empty());
    }

    #[test]
    fn all_far_away_are_reached() {
        const FAR: Network = &[
            (1, 330, true),
            (2, 330, true),
            (3, 330, true),
            (4, 330, true),
            (5, 330, true),
            (6, 330, true),
            (7, 330, true),
            (8, 330, true),
            (9, 330, true),
            (10, 330, true),
            (11, 330, true),
            (12, 330, true),
            (13, 330, true),
            (14, 330, true),
            (15, 330, true),
            (16, 330, true),
        ];
        for limit in [1_000, 5_000] {
            let (finish, took, _) = race_in(FAR, limit);
            assert_eq!((winner(&finish), took), (Some(address(1)), 330));
        }
    }

    #[test]
    fn the_last_of_many_has_half_of_the_time() {
        const LAST: Network =
            &[(20, 0, true), (20, 0, true), (20, 0, true), (20, 0, true), (20, 0, true), (6, 90, true)];
        let (finish, took, tried) = race_in(LAST, 200);
        assert_eq!(winner(&finish), Some(address(6)), "{finish:?} after {took} ms, {tried:?}");
        assert_eq!(finish.silent.len(), 5);
    }

    #[test]
    fn the_deadline_ends_it() {
        let (finish, took, tried) = race_in(&[(9, 0, true)], 1_000);
        assert_eq!((winner(&finish), took, finish.silent.len(), tried.len()), (None, 1_000, 2, 2));
        let (finish, took, _) = race_in(&[(1, 5, false), (2, 5, false)], 1_000);
        assert_eq!((winner(&finish), took, finish.failed.len()), (None, 10, 2));
    }
}
