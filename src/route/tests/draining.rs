//! How a pipeline ends, and what becomes of what it has in hand.

use super::*;

#[tokio::test(start_paused = true)]
async fn waiting_ends_early_when_nothing_can_be_tried_in_time() {
    on_a_lane(async {
        let set = setting(1, bounds(10, 1 << 20));
        set.hook.failures.set(100);
        set.offer(0..1);
        let began = set.clock.now();
        set.pipeline.drained(began + Duration::from_millis(1400)).await;
        let waited = set.clock.now().since(began);
        assert!(waited < Duration::from_millis(600), "waited {waited:?} for a retry that is due later");
        assert_eq!(set.in_hand(), 1);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_abort_accounts_for_everything() {
    on_a_lane(async {
        let set = setting(4, bounds(1000, 1 << 20));
        set.hook.failures.set(4);
        set.offer(0..20);
        // Four wait for a retry, four are under way, twelve were never tried.
        sleep(LATENCY + LATENCY / 2).await;
        assert_eq!((set.load(|load| &load.retry_messages), set.load(|load| &load.in_flight)), (4, 4));
        set.pipeline.abort().await;
        assert_eq!(set.in_hand(), 20);
        set.pipeline.give_up(set.clock.now()).await;
        assert_eq!((set.count(Outcome::Dropped), set.in_hand()), (20, 0));
        assert_eq!((set.load(|load| &load.queue_messages), set.load(|load| &load.in_flight)), (0, 0));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_is_left_after_an_abort_can_be_handed_over_or_put_back() {
    on_a_lane(async {
        let set = setting(4, bounds(1000, 1 << 20));
        set.hook.failures.set(4);
        set.offer(0..20);
        sleep(LATENCY + LATENCY / 2).await;
        set.pipeline.abort().await;
        let left: Vec<_> = std::iter::from_fn(|| set.pipeline.take_left()).collect();
        // Four failed, four were broken off in the middle: all of these were tried once.
        assert_eq!((left.len(), left.iter().filter(|message| message.attempts == 1).count()), (20, 8));
        assert!(set.pipeline.is_empty());
        for (n, message) in left.into_iter().enumerate() {
            if n % 2 == 0 { set.pipeline.handed_over(message) } else { set.pipeline.put_back(message) }
        }
        set.pipeline.give_up(set.clock.now()).await;
        let ends = (set.count(Outcome::HandedOver), set.count(Outcome::Dropped));
        assert_eq!((ends, set.in_hand()), ((10, 10), 0));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn takes_over_what_there_is_room_for_and_nothing_after_the_abort() {
    on_a_lane(async {
        let set = setting(1, bounds(3, 1 << 20));
        let taken = (0..5).filter(|n| set.pipeline.take_over(message(*n)).is_ok()).count();
        assert_eq!((taken, set.stats.received.get(), set.count(Outcome::Dropped)), (3, 3, 0));
        set.pipeline.drained(set.clock.now() + Duration::from_secs(60)).await;
        assert_eq!(set.delivered().len(), 3);
        set.pipeline.abort().await;
        assert!(set.pipeline.take_over(message(9)).is_err());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn towards_the_end_nothing_is_begun_that_would_be_broken_off() {
    on_a_lane(async {
        let set = setting(4, bounds(1000, 1 << 20));
        set.offer(0..8);
        sleep(3 * LATENCY).await;
        set.offer(8..100);
        let deadline = set.clock.now() + 10 * LATENCY;
        set.pipeline.close(deadline);
        set.pipeline.drained(deadline).await;
        assert!(set.clock.now() < deadline);
        assert_eq!((set.load(|load| &load.in_flight), set.hook.under_way.get()), (0, 0));
        assert!((24..=40).contains(&set.delivered().len()), "{}", set.delivered().len());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_successor_takes_over_what_waits_and_what_fails_meanwhile() {
    on_a_lane(async {
        let set = setting(4, bounds(1000, 1 << 20));
        let successor = Pipeline::start(set.parts_of_a_successor(bounds(1000, 1 << 20)));
        set.hook.failures.set(8);
        set.offer(0..20);
        // Four have failed and wait, four are under way and will fail, twelve were never tried.
        sleep(LATENCY + LATENCY / 2).await;
        set.pipeline.retire();
        set.pipeline.move_to(&successor);
        let deadline = set.clock.now() + Duration::from_secs(60);
        set.pipeline.drained(deadline).await;
        set.pipeline.move_to(&successor);
        assert!(set.pipeline.is_empty());
        set.pipeline.abort().await;
        successor.drained(deadline).await;
        assert_eq!((set.delivered().len(), set.count(Outcome::Delivered), set.in_hand()), (20, 20, 0));
        assert_eq!(set.stats.received.get(), 20, "nothing was received anew");
        assert_eq!(set.hook.most_under_way.get(), 4 + 4, "the successor began at once");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_a_successor_has_no_room_for_stays_and_is_delivered() {
    on_a_lane(async {
        let set = setting(2, bounds(1000, 1 << 20));
        let successor = Pipeline::start(set.parts_of_a_successor(bounds(5, 1 << 20)));
        set.offer(0..20);
        set.pipeline.retire();
        set.pipeline.move_to(&successor);
        assert!(!set.pipeline.is_empty());
        let deadline = set.clock.now() + Duration::from_secs(60);
        set.pipeline.close(deadline);
        set.pipeline.drained(deadline).await;
        successor.drained(deadline).await;
        assert_eq!((set.delivered().len(), set.in_hand()), (20, 0));
    })
    .await;
}
