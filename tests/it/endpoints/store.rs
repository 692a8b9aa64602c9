//! The bucket read and written by the library, as commands and the API do it.

use std::sync::Arc;
use std::time::SystemTime;

use broadcaster::base::clock::Clock;
use broadcaster::config::{Config, RouteName, Sources, load};
use broadcaster::endpoints::{Fleet, Reach, Status, Store, StoreError};
use broadcaster::nats::Connection;
use broadcaster::route::hold::{Hold, HoldAct};
use broadcaster::route::registry::Registry;
use tokio::task::LocalSet;

use super::*;

fn config(nats: &NatsServer) -> Config {
    let flag = |(key, value): (&str, String)| (key.to_owned(), value, "--set".to_owned());
    let flags = [("nats.url", nats.url()), ("endpoints.bucket", "broadcaster".to_owned())];
    let loaded = load(Sources { flags: flags.map(flag).into(), ..Sources::default() });
    loaded.map_err(|errors| errors.to_string()).expect("a right configuration")
}

async fn store(nats: &NatsServer) -> Store {
    let config = config(nats);
    let connection = Connection::open(&config.nats, "test", Clock::start());
    connection.state().connected().await;
    Store::over(&connection, &config.endpoints.expect("it has a bucket"))
}

fn name(text: &str) -> RouteName {
    text.parse().expect("it is a name")
}

#[tokio::test]
async fn what_is_put_is_checked_listed_and_removed() {
    LocalSet::new()
        .run_until(async {
            let nats = NatsServer::start().await;
            let hook = Webhook::start();
            let todos = name("todos");
            let value = route("todos", &hook).to_string();
            let store = store(&nats).await;
            let missing = store.put(&todos, value.as_bytes(), None).await;
            assert!(matches!(missing, Err(StoreError::Watch(_))), "{missing:?}");
            let bucket = Bucket::make(&nats).await;
            let daemon = follower(&nats).start_ready().await;

            let revision = store.put(&todos, value.as_bytes(), Some(0)).await.expect("it is new");
            let again = store.put(&todos, value.as_bytes(), Some(0)).await;
            assert!(matches!(again, Err(StoreError::Changed)), "{again:?}");
            let bad = store.put(&todos, b"{\"webhook\": {}}", None).await;
            let Err(StoreError::Mistakes(mistakes)) = bad else { panic!("{bad:?}") };
            assert!(mistakes.to_string().contains("routes.todos for bucket broadcaster"), "{mistakes}");
            bucket.put("state.todos", &json!({})).await;
            let odd = bucket.put_text("routes.odd", "{").await;
            let listed = store.list().await.expect("it can be read");
            let listed: Vec<_> =
                listed.iter().map(|stored| (stored.name.as_str(), stored.revision)).collect();
            assert_eq!(listed, [("odd", odd), ("todos", revision)]);
            let stored = store.get(&todos).await.expect("it can be read").expect("it is there");
            assert_eq!(stored.value, value);
            wait_applied(&daemon, revision).await;
            assert_eq!(endpoints(&daemon, "active").await, 1.0);

            let revision = store.remove(&todos).await.expect("it can be removed");
            assert_eq!(store.get(&todos).await.expect("it can be read"), None);
            wait_applied(&daemon, revision).await;
            assert_eq!(endpoints(&daemon, "active").await, 0.0);
        })
        .await;
}

#[tokio::test]
async fn a_hold_is_the_fleets_where_there_is_a_bucket() {
    LocalSet::new()
        .run_until(async {
            let nats = NatsServer::start().await;
            let hook = Webhook::start();
            let bucket = Bucket::make(&nats).await;
            let revision = bucket.route("todos", &hook).await;
            let daemon = follower(&nats).start_ready().await;
            wait_applied(&daemon, revision).await;
            let (registry, todos) = (Arc::new(Registry::new(1)), name("todos"));
            let (act, why, by) = (HoldAct::Pause, Some("moving".to_owned()), "ada".to_owned());
            let hold = Hold { act, why, by, since: SystemTime::now() };
            let status = Arc::<Status>::default();
            let fleet = Fleet::new(Arc::clone(&registry), Some((store(&nats).await, Arc::clone(&status))));
            let reach = fleet.hold(&todos, hold.clone()).await.expect("the bucket takes it");
            assert_eq!((reach, registry.held(&todos).is_some()), (Reach::Fleet, true));
            let held = [("route", "todos"), ("trouble", "held")];
            daemon
                .wait_metrics(|metrics| metrics.value("broadcaster_webhook_trouble", &held) == 1.0, SOON)
                .await;
            fleet.release(&todos).await.expect("the bucket takes it");
            daemon
                .wait_metrics(|metrics| metrics.value("broadcaster_webhook_trouble", &held) == 0.0, SOON)
                .await;
            assert_eq!(registry.held(&todos), None);

            // Before it is told that its hold is written, it may have followed the bucket to where another replica releases it.
            let follows = async || status.hears(u64::MAX);
            let (reach, ()) = tokio::join!(fleet.hold(&todos, hold.clone()), follows());
            assert_eq!((reach.expect("the bucket takes it"), registry.held(&todos)), (Reach::Fleet, None));

            // A revision that was followed before it was written is that of a bucket that is there no more.
            fleet.hold(&todos, hold.clone()).await.expect("the bucket takes it");
            assert!(registry.held(&todos).is_some());

            let alone = Fleet::new(Arc::clone(&registry), None);
            assert_eq!(alone.hold(&todos, hold).await.expect("nobody is asked"), Reach::Process);
            assert!(registry.held(&todos).is_some());
        })
        .await;
}
