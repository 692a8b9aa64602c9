//! The controller against receivers that take so many requests in so long, in time that is only reckoned.

use super::*;

/// A receiver that takes `burst` at once and one more each `interval`.
struct Receiver {
    interval: Duration,
    burst: u32,
    /// Whether it says when to come back, in whole seconds as the header has it.
    says: bool,
    tokens: f64,
    seen: Time,
}

const fn ms(ms: u64) -> Time {
    Time::from_start(Duration::from_millis(ms))
}

impl Receiver {
    fn new(interval_ms: u64, burst: u32, says: bool) -> Self {
        let interval = Duration::from_millis(interval_ms);
        Self { interval, burst, says, tokens: f64::from(burst), seen: ms(0) }
    }

    /// None where it takes a request, else how long it wants us to wait, where it says so.
    fn answer(&mut self, now: Time) -> Option<Option<Duration>> {
        let refill = now.since(self.seen).as_secs_f64() / self.interval.as_secs_f64();
        self.tokens = (self.tokens + refill).min(f64::from(self.burst));
        self.seen = now;
        if self.tokens >= 1.0 {
            self.tokens -= 1.0;
            return None;
        }
        let wait = (1.0 - self.tokens) * self.interval.as_secs_f64();
        Some(self.says.then(|| Duration::from_secs_f64(wait.ceil())))
    }
}

/// Delivers `messages` over `workers` that each wait 5 ms for an answer. How many requests it took, and how long.
fn run(receiver: &mut Receiver, messages: u32, workers: usize) -> (u32, Duration) {
    let mut controller = Controller::default();
    let mut under_way: std::collections::VecDeque<(Time, Option<Option<Duration>>)> = Default::default();
    let (mut requests, mut delivered) = (0, 0);
    let mut window = 8;
    let mut paused = ms(0);
    for now in (0..).map(ms) {
        while let Some((began, _)) = under_way.front()
            && now.since(*began) >= Duration::from_millis(5)
        {
            let Some((began, answer)) = under_way.pop_front() else { break };
            match answer {
                None => {
                    delivered += 1;
                    window += 1;
                    controller.delivered(began, now);
                }
                Some(asked) => {
                    if let Some(wait) = controller.throttled(began, now, asked) {
                        paused = paused.max(now + wait);
                    }
                }
            }
        }
        if delivered == messages {
            return (requests, now.since(ms(0)));
        }
        while under_way.len() < workers.min(window)
            && u32::try_from(under_way.len()).unwrap() + delivered < messages
            && paused <= now
            && controller.admit(now).is_ok()
        {
            requests += 1;
            under_way.push_back((now, receiver.answer(now)));
        }
        assert!(now < ms(3_600_000), "{delivered} of {messages} in an hour: {controller:?}");
    }
    unreachable!("time has no end")
}

#[test]
fn one_a_second_with_a_time_to_come_back() {
    let (requests, took) = run(&mut Receiver::new(1000, 1, true), 100, 64);
    assert!(requests <= 120, "{requests} requests for 100 messages");
    assert!(took < Duration::from_secs(120), "{took:?}");
}

#[test]
fn one_a_second_without() {
    let (requests, took) = run(&mut Receiver::new(1000, 1, false), 100, 64);
    assert!(requests <= 150, "{requests} requests for 100 messages");
    assert!(took < Duration::from_secs(150), "{took:?}");
}

#[test]
fn other_rates_and_bursts() {
    for (interval, burst, messages, most, slowest) in [
        (100, 10, 1_000, 1.2, 1.5),
        (10, 100, 10_000, 1.2, 1.5),
        (10_000, 1, 30, 2.0, 2.0),
        (2_000, 30, 100, 1.6, 1.7),
        (100, 1, 500, 1.2, 1.6),
    ] {
        for says in [true, false] {
            let (requests, took) = run(&mut Receiver::new(interval, burst, says), messages, 64);
            let each = f64::from(requests) / f64::from(messages);
            let ideal = (messages - burst) as f64 * interval as f64 / 1000.0;
            let slower = took.as_secs_f64() / ideal;
            assert!(
                each <= most && slower <= slowest,
                "one in {interval} ms, {burst} at once, says {says}: {each:.2} requests a message, {slower:.2} times \
                 as long as it has to take ({took:?})"
            );
        }
    }
}

#[test]
fn a_pause_for_maintenance_is_over_when_it_is_over() {
    let mut controller = Controller::default();
    let asked = Some(Duration::from_secs(30));
    assert_eq!(controller.throttled(ms(0), ms(5), asked), asked);
    assert_eq!(controller.throttled(ms(1), ms(6), asked), asked, "one from before");
    assert_eq!(controller.admit(ms(30_000)), Err(ms(30_005)));
    assert_eq!(controller.admit(ms(30_005)), Ok(()));
    assert!(controller.admit(ms(30_006)).is_err(), "one finds out");
    controller.delivered(ms(30_005), ms(30_010));
    let mut now = 30_010;
    while controller.is_active() {
        if controller.admit(ms(now)).is_ok() {
            controller.delivered(ms(now), ms(now));
        }
        now += 1;
    }
    assert!(now < 40_000, "no limit any more after {} ms", now - 30_010);
}

#[test]
fn a_probe_that_tells_nothing_is_followed_by_another() {
    let mut controller = Controller::default();
    controller.throttled(ms(0), ms(0), None);
    controller.admit(ms(100)).unwrap();
    assert!(controller.admit(ms(200)).is_err());
    controller.told_nothing(ms(100));
    assert_eq!(controller.admit(ms(200)), Ok(()));
}

#[test]
fn what_is_said_to_some_messages_only_slows_nobody() {
    let mut controller = Controller::default();
    controller.throttled(ms(0), ms(0), None);
    controller.is_selective(ms(1));
    assert!(!controller.is_active());
    assert_eq!(controller.throttled(ms(2), ms(3), None), None);
    assert!(controller.throttled(ms(70_000), ms(70_001), None).is_some(), "not for ever");
}
