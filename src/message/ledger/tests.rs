use super::*;
use crate::route::schedule::testing::at;

const ACK_WAIT: Duration = Duration::from_secs(30);
const LIFE: Life = Life { stream: 1, consumer: 1, last_sequence: 1_000, continues: true };

/// The reply subject of a delivery of a message that was published at the second of its sequence.
fn reply(sequence: u64, delivered: u64) -> String {
    reply_of(sequence, delivered, sequence * 1_000_000_000)
}

fn reply_of(sequence: u64, delivered: u64, published: u64) -> String {
    format!("$JS.ACK.TODOS.worker.{delivered}.{sequence}.9.{published}.0")
}

fn take(ledger: &Ledger, reply: &str, now: Time) -> Option<AckHandle> {
    Some(ledger.arrived(&Origin::parse(reply)?, reply, now)?.0)
}

/// A message that comes for the first time.
fn fresh(ledger: &Ledger, sequence: u64) -> AckHandle {
    take(ledger, &reply(sequence, 1), at(0)).expect("it is new")
}

/// What is said as batch `number`: subject, kind, and whether it asks for an answer.
fn say(ledger: &Ledger, number: u64, now: Time) -> Vec<(String, AckKind, bool)> {
    let mut said = Vec::new();
    ledger.say(number, 100, now, |saying| {
        said.push((saying.subject.to_owned(), saying.kind, saying.is_last));
        true
    });
    said
}

fn sequences(said: &[(String, AckKind, bool)]) -> Vec<u64> {
    said.iter().filter_map(|(subject, ..)| Some(Origin::parse(subject)?.sequence)).collect()
}

fn beats(ledger: &Ledger, now: Time) -> usize {
    let mut count = 0;
    ledger.beat(now, |saying| {
        assert_eq!(saying.kind, AckKind::Progress);
        count += 1;
        true
    });
    count
}

#[test]
fn an_end_is_said_once_and_forgotten_when_it_is_confirmed() {
    let ledger = Ledgers::default().open("TODOS", ACK_WAIT);
    for sequence in 1..=3 {
        fresh(&ledger, sequence).settle(AckKind::Ack);
    }
    let said = say(&ledger, 1, at(1));
    assert_eq!(sequences(&said), [1, 2, 3]);
    assert_eq!(said.iter().map(|(.., is_last)| *is_last).collect::<Vec<_>>(), [false, false, true]);
    assert_eq!((ledger.unconfirmed(), ledger.has_news()), (3, false));
    ledger.confirm(1);
    assert_eq!((ledger.unconfirmed(), ledger.unanswered()), (0, 0));
    assert!(ledger.expire(at(100)).is_empty(), "said again though it is confirmed");
}

#[test]
fn an_end_that_is_not_confirmed_is_said_again_and_at_longer_intervals() {
    let ledger = Ledgers::default().open("TODOS", ACK_WAIT);
    fresh(&ledger, 1).settle(AckKind::Ack);
    let mut times = Vec::new();
    for second in 0..100 {
        ledger.expire(at(second));
        if !say(&ledger, second + 1, at(second)).is_empty() {
            times.push(second);
        }
    }
    assert_eq!(times, [0, 1, 3, 7, 15, 31, 61, 91]);
    ledger.confirm(times[7] + 1);
    assert_eq!(ledger.unconfirmed(), 0);
}

#[test]
fn what_went_over_a_connection_that_is_gone_is_said_again_at_once() {
    let ledger = Ledgers::default().open("TODOS", ACK_WAIT);
    let _in_hand = fresh(&ledger, 1);
    fresh(&ledger, 2).settle(AckKind::Ack);
    fresh(&ledger, 3).settle(AckKind::Term);
    assert_eq!(say(&ledger, 1, at(0)).len(), 2);
    fresh(&ledger, 4).settle(AckKind::Ack);
    ledger.disconnected(at(0));
    ledger.confirm(1);
    assert_eq!(ledger.unconfirmed(), 3, "an answer to what was given up counts for nothing");
    let mut again = sequences(&say(&ledger, 2, at(0)));
    again.sort_unstable();
    assert_eq!(again, [2, 3, 4]);
}

#[test]
fn what_could_not_be_published_is_kept() {
    let ledger = Ledgers::default().open("TODOS", ACK_WAIT);
    for sequence in 1..=3 {
        fresh(&ledger, sequence).settle(AckKind::Ack);
    }
    let mut room = 2;
    let is_complete = ledger.say(1, 100, at(0), |_| {
        room -= 1;
        room >= 0
    });
    assert!(!is_complete);
    assert_eq!(say(&ledger, 2, at(0)).len(), 3);
}

#[test]
fn a_repeat_of_what_is_in_hand_only_renews_its_reply_subject() {
    let ledgers = Ledgers::default();
    let (lane, other) = (ledgers.open("TODOS", ACK_WAIT), ledgers.open("TODOS", ACK_WAIT));
    let message = fresh(&lane, 1);
    assert!(take(&lane, &reply(1, 2), at(40)).is_none());
    assert!(take(&other, &reply(1, 3), at(80)).is_none(), "another lane of the process has it");
    message.settle(AckKind::Ack);
    assert_eq!(say(&lane, 1, at(81)), [(reply(1, 3), AckKind::Ack, true)]);
    assert!(say(&other, 1, at(81)).is_empty());
}

#[test]
fn a_repeat_of_what_is_done_with_is_acknowledged_again() {
    let ledgers = Ledgers::default();
    let (lane, other) = (ledgers.open("TODOS", ACK_WAIT), ledgers.open("TODOS", ACK_WAIT));
    fresh(&lane, 1).settle(AckKind::Ack);
    say(&lane, 1, at(0));
    assert!(take(&other, &reply(1, 2), at(1)).is_none());
    assert_eq!(say(&lane, 2, at(1)), [(reply(1, 2), AckKind::Ack, true)]);
    ledgers.0.each(|ledger| lock(&ledger.book).confirm(2));
    // A server that was killed has forgotten what it had confirmed.
    assert!(take(&other, &reply(1, 3), at(2)).is_none());
    assert_eq!(say(&lane, 3, at(2)), [(reply(1, 3), AckKind::Ack, true)]);
    assert!(take(&other, &reply(1, 1), at(3)).is_some(), "somebody wants all of it once more");
}

#[test]
fn what_was_given_back_may_come_again() {
    let ledger = Ledgers::default().open("TODOS", ACK_WAIT);
    fresh(&ledger, 1).give_back(Duration::from_secs(2), 3);
    let said = say(&ledger, 1, at(0));
    assert_eq!(said[0].1, AckKind::Nak(Duration::from_secs(2)));
    assert_eq!(ledger.take_returned().len(), 1);
    let (again, attempts) =
        ledger.arrived(&Origin::parse(&reply(1, 2)).unwrap(), &reply(1, 2), at(2)).unwrap();
    assert_eq!((attempts, ledger.in_hand()), (3, 1));
    // The answer to the former end is late.
    ledger.confirm(1);
    again.settle(AckKind::Ack);
    assert_eq!(say(&ledger, 2, at(2)), [(reply(1, 2), AckKind::Ack, true)]);
}

#[test]
fn nothing_is_given_back_twice_when_another_may_have_it_by_then() {
    let ledger = Ledgers::default().open("TODOS", ACK_WAIT);
    fresh(&ledger, 1).give_back(Duration::ZERO, 0);
    fresh(&ledger, 2).give_back(Duration::from_secs(10), 0);
    assert_eq!(say(&ledger, 1, at(0)).len(), 2);
    ledger.disconnected(at(4));
    assert_eq!(say(&ledger, 2, at(4)), [(reply(2, 1), AckKind::Nak(Duration::from_secs(6)), true)]);
    ledger.disconnected(at(8));
    assert_eq!((say(&ledger, 3, at(8)).len(), ledger.unconfirmed()), (0, 0));
}

#[test]
fn the_one_that_is_to_be_answered_was_not_given_back() {
    let ledger = Ledgers::default().open("TODOS", ACK_WAIT);
    fresh(&ledger, 1).settle(AckKind::Ack);
    fresh(&ledger, 2).give_back(Duration::ZERO, 0);
    let said = say(&ledger, 1, at(0));
    assert_eq!((sequences(&said), said[1].1), (vec![2, 1], AckKind::Ack));
}

#[test]
fn what_belongs_to_a_stream_that_is_gone_settles_nothing() {
    let ledgers = Ledgers::default();
    let ledger = ledgers.open("TODOS", ACK_WAIT);
    assert_eq!(ledgers.observe(LIFE, Limits::default(), 0), Turn::First);
    let [one, two] = [1, 2].map(|sequence| fresh(&ledger, sequence));
    // The new stream is known by its first message already.
    let anew = take(&ledger, &reply_of(1, 1, 77), at(0)).expect("it is another message");
    one.settle(AckKind::Ack);
    assert!(say(&ledger, 1, at(0)).is_empty());
    anew.settle(AckKind::Ack);
    assert_eq!(say(&ledger, 1, at(0)), [(reply_of(1, 1, 77), AckKind::Ack, true)]);

    assert_eq!(ledgers.observe(Life { stream: 2, ..LIFE }, Limits::default(), 2), Turn::OtherStream);
    two.settle(AckKind::Ack);
    assert!(say(&ledger, 2, at(0)).is_empty());
    assert_eq!(ledger.unconfirmed() + ledger.in_hand(), 0);

    // One in memory keeps its age when its server loses what it had.
    let _message = fresh(&ledger, 900);
    let empty = Life { stream: 2, last_sequence: 3, ..LIFE };
    assert_eq!(ledgers.observe(empty, Limits::default(), ledgers.highest()), Turn::OtherStream);
}

#[test]
fn a_consumer_that_was_made_anew_brings_what_is_known() {
    let ledgers = Ledgers::default();
    let (lane, other) = (ledgers.open("TODOS", ACK_WAIT), ledgers.open("TODOS", ACK_WAIT));
    ledgers.observe(LIFE, Limits::default(), 0);
    fresh(&lane, 5).settle(AckKind::Ack);
    say(&lane, 1, at(0));
    lane.confirm(1);
    let _in_hand = fresh(&lane, 6);
    assert_eq!(ledgers.observe(Life { consumer: 2, ..LIFE }, Limits::default(), 6), Turn::OtherConsumer);
    for (sequence, is_new) in [(4, true), (5, false), (6, false), (7, true)] {
        let message = take(&other, &reply(sequence, 1), at(1));
        assert_eq!(message.is_some(), is_new, "{sequence}");
    }
    assert_eq!(sequences(&say(&lane, 2, at(1))), [5]);
    lane.confirm(2);

    // One that somebody else has made brings all of it once more, but for what is in hand.
    ledgers.observe(Life { consumer: 3, continues: false, ..LIFE }, Limits::default(), 7);
    for (sequence, is_new) in [(5, true), (6, false)] {
        let message = take(&other, &reply(sequence, 1), at(1));
        assert_eq!(message.is_some(), is_new, "{sequence}");
    }
}

#[test]
fn a_server_that_has_forgotten_its_deliveries_brings_what_is_known() {
    let ledgers = Ledgers::default();
    let (lane, other) = (ledgers.open("TODOS", ACK_WAIT), ledgers.open("TODOS", ACK_WAIT));
    fresh(&lane, 5).settle(AckKind::Ack);
    say(&lane, 1, at(0));
    lane.confirm(1);
    let _in_hand = fresh(&lane, 6);
    ledgers.known(3, 4, 6, at(1));
    for (sequence, is_new) in [(5, false), (6, false), (7, true)] {
        let message = take(&other, &reply(sequence, 1), at(1));
        assert_eq!(message.is_some(), is_new, "{sequence}");
    }
}

#[test]
fn what_a_ledger_has_known_that_has_ended_those_of_other_settings_know() {
    for is_open_before in [true, false] {
        let ledgers = Ledgers::default();
        let former = ledgers.open("TODOS", ACK_WAIT);
        let before = is_open_before.then(|| ledgers.open("TODOS", ACK_WAIT));
        fresh(&former, 500).settle(AckKind::Ack);
        fresh(&former, 5).settle(AckKind::Ack);
        say(&former, 1, at(0));
        former.confirm(1);
        drop(former);
        let lane = before.unwrap_or_else(|| ledgers.open("TODOS", ACK_WAIT));
        assert_eq!(ledgers.highest(), 500);
        // The server was killed before it has written down what it confirmed.
        ledgers.known(3, 4, ledgers.highest(), at(1));
        for (sequence, is_new) in [(5, false), (6, true), (500, false), (501, true)] {
            let message = take(&lane, &reply(sequence, 1), at(1));
            assert_eq!(message.is_some(), is_new, "{sequence}");
        }
        assert_eq!(sequences(&say(&lane, 2, at(1))), [5, 500]);
    }
}

#[test]
fn what_a_ledger_has_known_is_not_lost_to_one_that_opens_meanwhile() {
    for round in 0..20_000 {
        let ledgers = Ledgers::default();
        let former = ledgers.open("TODOS", ACK_WAIT);
        fresh(&former, 5).settle(AckKind::Ack);
        say(&former, 1, at(0));
        former.confirm(1);
        let lane = std::thread::scope(|scope| {
            let opened = scope.spawn(|| ledgers.open("TODOS", ACK_WAIT));
            drop(former);
            opened.join().expect("it is opened")
        });
        ledgers.known(3, 4, ledgers.highest(), at(1));
        assert!(take(&lane, &reply(5, 1), at(1)).is_none(), "forgotten in round {round}");
    }
}

#[test]
fn what_a_server_may_not_have_written_down_is_known_for_longer() {
    let ledgers = Ledgers::default();
    let ledger = ledgers.open("TODOS", ACK_WAIT);
    for sequence in 1..=200 {
        fresh(&ledger, sequence).settle(AckKind::Ack);
        say(&ledger, sequence, at(0));
        ledger.confirm(sequence);
    }
    ledgers.known(200, 200, 200, at(1));
    // It was killed, and knows of less than it did.
    ledgers.known(100, 150, 200, at(2));
    assert!((101..=200).all(|sequence| take(&ledger, &reply(sequence, 1), at(2)).is_none()));
    for second in [12, 22] {
        ledgers.known(200, 200, 200, at(second));
    }
    assert!(take(&ledger, &reply(50, 2), at(22)).is_some(), "it takes memory for ever");
}

#[test]
fn what_the_consumer_knows_or_never_delivered_needs_no_answer() {
    let ledgers = Ledgers::default();
    let ledger = ledgers.open("TODOS", ACK_WAIT);
    for sequence in [3, 7, 20] {
        fresh(&ledger, sequence).settle(AckKind::Ack);
    }
    say(&ledger, 1, at(0));
    ledgers.known(5, 10, 10, at(0));
    assert_eq!(ledger.unconfirmed(), 3, "it may not have heard of them when it was asked");
    ledgers.known(5, 10, 10, at(10));
    assert_eq!(ledger.unconfirmed(), 1);
    ledger.expire(at(10));
    assert_eq!(sequences(&say(&ledger, 2, at(10))), [7]);
}

#[test]
fn a_message_that_would_not_come_back_is_known() {
    let ledgers = Ledgers::default();
    let ledger = ledgers.open("TODOS", ACK_WAIT);
    let limits = Limits { max_age: Some(Duration::from_secs(60)), max_deliver: Some(2) };
    ledgers.observe(LIFE, limits, 0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let published = u64::try_from(now.as_nanos()).unwrap();
    let message = take(&ledger, &reply_of(1, 1, published), at(100)).unwrap();
    assert!(message.comes_back(at(150)) && !message.comes_back(at(170)));
    let last = take(&ledger, &reply_of(2, 2, published), at(100)).unwrap();
    assert!(!last.comes_back(at(100)));
}

#[test]
fn heartbeats_come_three_times_within_the_wait_and_end_with_the_message() {
    let ledgers = Ledgers::default();
    let ledger = ledgers.open("TODOS", ACK_WAIT);
    let message = fresh(&ledger, 1);
    // However long it is in hand: what is stuck here would be stuck elsewhere.
    let given: Vec<_> = (0..=10_000).filter(|second| beats(&ledger, at(*second)) > 0).collect();
    assert_eq!(given, (1..=1_000).map(|n| 10 * n).collect::<Vec<_>>());
    ledgers.adapt(Duration::from_secs(3), at(10_001));
    let given: Vec<_> = (10_001..10_005).filter(|second| beats(&ledger, at(*second)) > 0).collect();
    assert_eq!(given, [10_001, 10_002, 10_003, 10_004]);
    drop(message);
    assert!((10_005..10_100).all(|second| beats(&ledger, at(second)) == 0));
    assert_eq!((ledger.in_hand(), ledger.next_due()), (0, None));
}

#[test]
fn what_is_done_takes_no_memory_for_long() {
    let ledger = Ledgers::default().open("TODOS", ACK_WAIT);
    let _stuck = fresh(&ledger, 1);
    for sequence in 2..100_000 {
        drop(fresh(&ledger, sequence));
    }
    assert!(ledger.book().planned() <= 1024);
    assert_eq!(ledger.in_hand() + ledger.unconfirmed(), 1);
}
