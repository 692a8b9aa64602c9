//! What a schedule decides where messages go together.

use super::*;
use crate::message::answer::{Content, EntryVerdict};

fn batches(max_messages: usize, max_wait: u64) -> Schedule {
    let number = |number| NonZeroUsize::new(number).unwrap();
    schedule(None).batching(Batching::from(&crate::config::Batch {
        max_messages: number(max_messages),
        max_bytes: number(1_000),
        max_wait: Duration::from_secs(max_wait),
        format: crate::config::BatchFormat::Json,
    }))
}

/// The numbers of the messages of the batch that is to be attempted now.
fn begin_together(schedule: &mut Schedule, now: Time) -> (Batch, Vec<String>) {
    match schedule.pick(now) {
        Pick::Attempt(batch) => {
            let names = batch.iter().map(|message| String::from_utf8_lossy(&message.payload).into_owned());
            let names = names.collect();
            (batch, names)
        }
        other => panic!("expected an attempt at {now:?}, got {other:?}"),
    }
}

#[test]
fn what_waits_already_goes_together() {
    let mut schedule = batches(3, 0);
    offer(&mut schedule, 0..7);
    assert_eq!(schedule.outlook(at(1)), Outlook::Work(3));
    let sizes: Vec<_> = (0..3).map(|_| begin_together(&mut schedule, at(1)).1.len()).collect();
    assert_eq!(sizes, [3, 3, 1]);
    assert!(matches!(schedule.pick(at(1)), Pick::Idle));
}

#[test]
fn no_batch_is_larger_than_it_may_be_but_one_of_a_single_message() {
    let mut schedule = batches(10, 60);
    let sized = |size: usize| Message { payload: vec![b'x'; size].into(), received: at(1), ..message(0) };
    for size in [400, 400, 400, 2_000, 10] {
        schedule.offer(sized(size), |_| panic!("there is room"));
    }
    // 3,210 bytes are more than a batch.
    assert_eq!(schedule.outlook(at(1)), Outlook::Work(3));
    let sizes: Vec<_> = (0..3).map(|_| begin_together(&mut schedule, at(1)).1.len()).collect();
    assert_eq!(sizes, [2, 1, 1]);
    assert!(matches!(schedule.pick(at(1)), Pick::Wait(until) if until == at(61)));
}

#[test]
fn a_batch_waits_for_more_no_longer_than_it_may() {
    let mut schedule = batches(3, 10);
    let received = |number: usize, seconds| Message { received: at(seconds), ..message(number) };
    schedule.offer(received(0, 1), |_| panic!("there is room"));
    schedule.offer(received(1, 5), |_| panic!("there is room"));
    assert!(matches!(schedule.pick(at(10)), Pick::Wait(until) if until == at(11)));
    assert_eq!(schedule.outlook(at(10)), Outlook::Look(Some(at(11))));
    assert_eq!(begin_together(&mut schedule, at(11)).1, ["0", "1"]);
    (2..5).for_each(|number| schedule.offer(received(number, 12), |_| panic!("there is room")));
    assert_eq!(begin_together(&mut schedule, at(12)).1, ["2", "3", "4"]);
    schedule.offer(received(5, 13), |_| panic!("there is room"));
    schedule.expedite(at(14), Duration::from_secs(4));
    assert_eq!(schedule.outlook(at(14)), Outlook::Work(1), "at a stop nobody waits for more");
    assert_eq!(begin_together(&mut schedule, at(14)).1, ["5"]);
}

#[test]
fn a_retry_goes_on_time_and_with_retries_alone() {
    let mut schedule = batches(3, 10);
    offer(&mut schedule, 0..3);
    let (batch, _) = begin_together(&mut schedule, at(20));
    schedule.resolve(batch, &status(503), at(20), at(20), |_| {});
    let due = at(20) + Duration::from_millis(500);
    schedule.offer(Message { received: due, ..message(9) }, |_| panic!("there is room"));
    let (again, names) = begin_together(&mut schedule, due);
    assert_eq!(names, ["0", "1"], "those that found room among retries");
    assert_eq!(again.iter().map(|message| message.attempts).collect::<Vec<_>>(), [1, 1], "nobody has paid");
    assert!(matches!(schedule.pick(due), Pick::Wait(until) if until == at(30) + Duration::from_millis(500)));
}

#[test]
fn of_several_messages_none_pays() {
    let mut schedule = batches(4, 0);
    let mut worn_out = message(1);
    worn_out.attempts = 8;
    let mut verdicts = Vec::new();
    let batch = Batch::new(message(0), vec![worn_out]);
    schedule.resolve(batch, &status(503), at(1), at(1), |verdict| verdicts.push(verdict));
    assert!(matches!(&verdicts[..], [Verdict::Retry(_), Verdict::Retry(_)]), "{verdicts:?}");

    let mut delivered = Vec::new();
    let outcome = Attempt::delivered(204);
    let batch = Batch::new(message(2), vec![message(3)]);
    schedule.resolve(batch, &outcome, at(2), at(2), |verdict| match verdict {
        Verdict::Delivered(message) => delivered.push(message),
        other => panic!("{other:?}"),
    });
    assert_eq!(names(&delivered), ["2", "3"]);
}

#[test]
fn halves_that_wait_are_not_forgotten() {
    let mut schedule = batches(4, 0);
    offer(&mut schedule, 0..4);
    let (batch, _) = begin_together(&mut schedule, at(1));
    let resolved = schedule.resolve(batch, &status(422), at(1), at(1), |verdict| panic!("{verdict:?}"));
    assert!(resolved.is_halved && !schedule.is_empty() && !schedule.is_idle());
    assert_eq!(schedule.outlook(at(1)), Outlook::Work(2));
    let left: Vec<_> = std::iter::from_fn(|| schedule.pop_any()).map(|waiting| waiting.message).collect();
    assert_eq!(names(&left), ["0", "1", "2", "3"]);
    assert!(left.iter().all(|message| message.attempts == 0 && message.charged.is_none()));
    assert_eq!((schedule.queue().bytes(), schedule.is_empty()), (0, true));
}

/// An answer to a batch that says this of each message.
fn each(status: u16, verdicts: Vec<Option<EntryVerdict>>) -> Attempt {
    let content = Some(Box::new(Content { status, verdicts, ..Content::default() }));
    match status {
        200..300 => Attempt::Delivered { status, odd: None, unwanted: false, content },
        _ => Attempt::Failed {
            failure: Failure::Status(status),
            retry_after: None,
            excerpt: None,
            cause: None,
            content,
        },
    }
}

fn failed(status: u16) -> Option<EntryVerdict> {
    Some(EntryVerdict::Failed { failure: Failure::Status(status), after: None, cause: Some("why".into()) })
}

#[test]
fn each_message_gets_what_the_receiver_says_of_it() {
    let mut schedule = batches(5, 0);
    offer(&mut schedule, 0..5);
    let (batch, _) = begin_together(&mut schedule, at(1));
    let verdicts = vec![Some(EntryVerdict::Taken), failed(422), failed(503), Some(EntryVerdict::Unwanted)];
    let mut ends = Vec::new();
    schedule.resolve(batch, &each(207, verdicts), at(1), at(1), |verdict| {
        ends.push(match verdict {
            Verdict::Delivered(message) => format!("{} delivered", names(&[message])[0]),
            Verdict::Unwanted(message) => format!("{} unwanted", names(&[message])[0]),
            Verdict::Dead(message, reason) => {
                let cause = message.failed_attempt.as_ref().unwrap().cause.clone().unwrap();
                format!("{} {} {cause}", names(&[message])[0], reason.label())
            }
            Verdict::Retry(_) => "again".to_owned(),
            Verdict::Return(..) => panic!("it came from no stream"),
        });
    });
    assert_eq!(ends, ["4 delivered", "0 delivered", "1 rejected why", "again", "3 unwanted"]);
    let again = schedule.pop_any().unwrap().message;
    assert_eq!((again.attempts, again.company()), (0, 1), "it pays nothing, and goes alone");
    assert_eq!((schedule.queue().bytes(), schedule.retries().bytes()), (0, 0));
}

#[test]
fn where_every_message_is_to_come_again_the_webhook_wants_less() {
    let mut schedule = batches(2, 0);
    offer(&mut schedule, 0..2);
    let (batch, _) = begin_together(&mut schedule, at(1));
    let resolved = schedule.resolve(batch, &each(207, vec![failed(429), failed(429)]), at(1), at(1), |_| {});
    assert!(resolved.wait.is_some() && schedule.paused_until(at(1)).is_some());
}

#[test]
fn what_is_said_of_the_only_message_is_said_of_the_request() {
    let mut schedule = batches(2, 0);
    for (verdict, expected) in
        [(failed(422), "rejected"), (Some(EntryVerdict::Unwanted), "unwanted"), (None, "delivered")]
    {
        offer(&mut schedule, 0..1);
        let (batch, _) = begin_together(&mut schedule, at(1));
        schedule.resolve(batch, &each(207, vec![verdict]), at(1), at(1), |verdict| {
            let end = match &verdict {
                Verdict::Dead(_, reason) => reason.label(),
                Verdict::Unwanted(_) => "unwanted",
                Verdict::Delivered(_) => "delivered",
                other => panic!("{other:?}"),
            };
            assert_eq!(end, expected);
        });
    }
    assert_eq!(schedule.queue().bytes(), 0);
}
