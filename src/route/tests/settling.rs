//! What others are told of the end of a message.

use super::*;
use crate::{
    config::{Sources, load},
    dead_letter,
    message::{
        HeaderBlock, acknowledgement::Origin, answer::Content, header_names::nats as names, ledger::Ledgers,
        outcome::Publication,
    },
    route::answers::{Answers, Publish},
};

/// The ids of the messages whose answers were published.
#[derive(Default)]
struct Told(RefCell<Vec<String>>);

impl Publish for Told {
    fn publish(&self, _subject: &str, headers: &HeaderBlock, _body: &[u8]) -> Publication {
        let lines = String::from_utf8(headers.lines().to_vec()).unwrap();
        let id = lines.lines().find_map(|line| line.strip_prefix(&format!("{}: ", names::ID))).unwrap();
        self.0.borrow_mut().push(id.to_owned());
        Publication::Sent
    }
}

/// A refusal of a message, as a route sees it that publishes answers.
fn refusal() -> Attempt {
    let content = Content {
        status: 422,
        content_type: None,
        body: b"no".to_vec(),
        left_out: None,
        verdicts: Vec::new(),
    };
    let Attempt::Failed { failure, retry_after, excerpt, cause, .. } = Attempt::failed(Failure::Status(422))
    else {
        unreachable!("a failure is one")
    };
    Attempt::Failed { failure, retry_after, excerpt, cause, content: Some(Box::new(content)) }
}

fn answers(stats: &Arc<RouteStats>, told: &Rc<Told>) -> Answers {
    let flags = [("webhook.url", "http://a/"), ("answer.publish", "answers")]
        .map(|(key, value)| (format!("routes.todos.{key}"), value.to_owned(), "--set".to_owned()));
    let config = load(Sources { flags: flags.to_vec(), ..Sources::default() }).unwrap();
    let route = config.routes.into_iter().next().unwrap();
    let out = Rc::clone(told) as Rc<dyn Publish>;
    Answers::new(route.name, route.answer.unwrap(), out, Arc::clone(stats))
}

#[tokio::test(start_paused = true)]
async fn nobody_is_told_of_a_death_for_whose_letter_there_is_no_room_and_that_is_none() {
    on_a_lane(async {
        let clock = Clock::start();
        let (hook, stats, told) =
            (Rc::<Hook>::default(), Arc::<RouteStats>::default(), Rc::<Told>::default());
        let (sender, _letters) = dead_letter::queue(clock);
        let mut parts = parts(Breaker::new(None), 1, bounds(10, 1 << 30), &hook, &stats, clock);
        let settle = Settle::new("todos".parse().unwrap(), Arc::clone(&stats), Some(sender), clock);
        parts.settle = settle.answering(Some(answers(&stats, &told)));
        hook.answer.replace(Some(refusal()));
        let pipeline = Pipeline::start(parts);

        let mut large = message(0);
        large.payload = vec![0; dead_letter::Sender::BOUNDS.bytes].into();
        let large_id = large.id.to_string();
        let ledger = Ledgers::default().open("TODOS", Duration::from_secs(30));
        let reply = "$JS.ACK.TODOS.worker.1.1.1.1.0";
        let mut of_a_stream = message(1);
        of_a_stream.ack =
            ledger.arrived(&Origin::parse(reply).unwrap(), reply, clock.now()).map(|(ack, _)| ack);
        for message in [large, of_a_stream] {
            pipeline.offer(message);
            pipeline.wake_workers();
            pipeline.drained(clock.now() + Duration::from_secs(60)).await;
        }

        let of = |outcome| stats.tally().of(outcome);
        assert_eq!((of(Outcome::Returned), stats.tally().in_hand()), (1, 1), "the letter of one waits");
        assert_eq!(*told.0.borrow(), [large_id], "the other has not come to its end");
    })
    .await;
}
