//! The receivers that everybody is held against.

use std::time::Duration;

use super::{
    Run, Traffic, World,
    peers::{Push, Vector},
    receiver::{Receiver, Refusal, Spread},
    seconds,
    senders::{Route, Sender, Windowed},
};

/// One receiver, and one sender that always has something to send.
pub(super) struct Case {
    pub(super) title: &'static str,
    pub(super) receiver: Receiver,
    pub(super) seconds: u64,
}

/// Who sends.
#[derive(Clone, Copy, Debug)]
pub(super) enum Who {
    Adaptive,
    Fixed,
    Vector,
    Push,
}

impl Who {
    pub(super) const ALL: [Self; 4] = [Self::Adaptive, Self::Fixed, Self::Vector, Self::Push];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Adaptive => "adaptive",
            Self::Fixed => "64",
            Self::Vector => "Vector",
            Self::Push => "Pub/Sub push",
        }
    }

    fn sender(self) -> Box<dyn Sender> {
        match self {
            Self::Adaptive => Box::new(Route::adaptive(Duration::ZERO)),
            Self::Fixed => Box::new(Route::fixed(64)),
            Self::Vector => Box::new(Windowed::new(Vector::new())),
            Self::Push => Box::new(Windowed::new(Push::new())),
        }
    }
}

impl Case {
    pub(super) fn run(&self, who: Who, seed: u64) -> Run {
        let sender = (who.sender(), Traffic::from(0));
        World::new(seed, self.receiver.clone(), vec![sender], self.seconds).run()
    }

    pub(super) fn all() -> Vec<Self> {
        let case = |title, receiver, seconds| Self { title, receiver, seconds };
        vec![
            case("64 servers, 50 ms", Receiver::new(64, ms(50)), 45),
            case("64 servers, always exactly 50 ms", Receiver::new(64, ms(50)).spread(Spread::Steady), 45),
            case(
                "64 servers, 50 ms, heavy-tailed",
                Receiver::new(64, ms(50)).spread(Spread::HeavyTailed),
                60,
            ),
            case("8 servers, 50 ms, heavy-tailed", Receiver::new(8, ms(50)).spread(Spread::HeavyTailed), 45),
            case("one server, 20 ms", Receiver::new(1, ms(20)), 45),
            case("250 servers, 50 ms", Receiver::new(250, ms(50)), 30),
            fast(),
            slow(),
            case(
                "32 servers, 50 ms, cold for 20 s",
                Receiver::new(32, ms(50)).cold(Duration::from_secs(20)),
                60,
            ),
            steps(),
            becomes_slower(),
            case("refuses more than 10 at a time (429)", beyond(10, 429), 90),
            refuses_more_than_50(),
            case("refuses more than 30 at a time (503)", beyond(30, 503), 90),
            case("refuses more than 100 a second (429)", faster_than(100.0), 90),
        ]
    }
}

pub(super) fn fast() -> Case {
    let receiver = Receiver::new(8, ms(1)).network(Duration::from_micros(100));
    Case { title: "8 servers, 1 ms", receiver, seconds: 20 }
}

pub(super) fn slow() -> Case {
    Case { title: "32 servers, 10 s", receiver: Receiver::new(32, ms(10_000)), seconds: 600 }
}

pub(super) fn steps() -> Case {
    let receiver = Receiver::new(64, ms(50)).then(seconds(20), 32, ms(50)).then(seconds(40), 128, ms(50));
    Case { title: "64 servers, 50 ms; then 32; then 128", receiver, seconds: 60 }
}

pub(super) fn becomes_slower() -> Case {
    let receiver = Receiver::new(64, ms(50)).then(seconds(30), 64, ms(150)).then(seconds(60), 64, ms(50));
    Case { title: "64 servers, 50 ms; then 150 ms; then 50 ms", receiver, seconds: 90 }
}

pub(super) fn refuses_more_than_50() -> Case {
    Case { title: "refuses more than 50 at a time (429)", receiver: beyond(50, 429), seconds: 90 }
}

fn beyond(most: usize, status: u16) -> Receiver {
    Receiver::new(1_000, ms(50)).refusing(Refusal::Beyond(most, status))
}

fn faster_than(rate: f64) -> Receiver {
    Receiver::new(1_000, ms(50)).refusing(Refusal::Faster(rate, 20.0))
}

/// So many replicas at the same receiver, each of which begins so many seconds after the last, and whose clock is off
/// from that of the last by so much.
pub(super) fn replicas(
    receiver: Receiver,
    count: u64,
    apart: u64,
    clocks: Duration,
    end: u64,
    seed: u64,
) -> Run {
    let sender = |number: u64| -> (Box<dyn Sender>, Traffic) {
        let fast = clocks * u32::try_from(number).unwrap();
        (Box::new(Route::adaptive(fast)), Traffic::from(apart * number))
    };
    World::new(seed, receiver, (0..count).map(sender).collect(), end).run()
}

pub(super) const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}
