//! Tenants that share a bucket, each with users that may do what docs/endpoints.md says, and no more.

use std::path::Path;

use async_nats::ConnectOptions;
use testkit::nats::next;

use super::*;

/// How long a client waits for what it may not get.
const SHORT: Duration = Duration::from_millis(500);

/// The users of `tenant`, as the document has them for acme.
fn users_of(tenant: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/endpoints.md");
    let text = std::fs::read_to_string(path).expect("the document is there");
    let (_, users) = text.split_once("authorization { users: [").expect("there are users");
    let (users, _) = users.split_once("] }\n```").expect("they end");
    users.replace("password: …", "password: hunter2").replace("acme", tenant)
}

async fn server() -> NatsServer {
    let (acme, globex) = (users_of("acme"), users_of("globex"));
    let users = format!(
        "authorization {{ users: [{acme}\n{globex}\n{{ user: test, password: test }}] }}\nno_auth_user: test"
    );
    NatsServer::builder().config(&users).start().await
}

/// A client of one of the people of `tenant`.
async fn person(nats: &NatsServer, tenant: &str) -> async_nats::Client {
    let options = ConnectOptions::with_user_and_password(tenant.to_owned(), "hunter2".to_owned());
    let options = options.custom_inbox_prefix(format!("_INBOX_{tenant}")).request_timeout(Some(SHORT));
    nats.client_with(options).await
}

/// Writes a key, and says whether the bucket has taken it.
async fn put(client: &async_nats::Client, key: &str, value: &Value) -> bool {
    let subject = format!("$KV.broadcaster.{key}");
    let answer = client.request(subject, value.to_string().into()).await;
    answer.is_ok_and(|answer| {
        serde_json::from_slice::<Value>(&answer.payload).is_ok_and(|ack| ack["seq"].is_u64())
    })
}

/// Reads a key; none where the client may not.
async fn get(client: &async_nats::Client, key: &str) -> Option<Value> {
    let subject = format!("$JS.API.DIRECT.GET.KV_broadcaster.$KV.broadcaster.{key}");
    let answer = client.request(subject, "".into()).await.ok()?;
    serde_json::from_slice(&answer.payload).ok()
}

async fn wait_told(client: &async_nats::Client, key: &str, state: &str) -> Value {
    let ask = async || get(client, key).await.unwrap_or_default();
    testkit::wait_for(SOON, ask, |told| told["state"] == state).await
}

/// A replica of the fleet of `tenant`, without anything that is another tenant's.
fn fleet(nats: &NatsServer, tenant: &str) -> Daemon {
    let url = nats.url().replace("nats://", &format!("nats://{tenant}_fleet:hunter2@"));
    let settings = [
        "endpoints.bucket=broadcaster".to_owned(),
        format!("endpoints.prefix={tenant}"),
        format!("nats.inbox_prefix=_INBOX_{tenant}_fleet"),
        "shutdown.hand_over=false".to_owned(),
        format!("endpoints.limits.subjects={tenant}.>"),
        "endpoints.limits.bytes=1MiB".to_owned(),
    ];
    let daemon = Daemon::new().env("NATS_URL", url);
    settings.iter().fold(daemon, |daemon, setting| daemon.arg("--set").arg(setting))
}

fn of(tenant: &str, hook: &Webhook) -> Value {
    json!({ "subject": format!("{tenant}.events"), "webhook": { "url": hook.url() } })
}

#[tokio::test]
async fn a_tenant_writes_and_reads_its_own_and_nothing_else() {
    let nats = server().await;
    let _bucket = Bucket::make(&nats).await;
    let (acme, globex) = (person(&nats, "acme").await, person(&nats, "globex").await);
    let (hook, other) = (Webhook::start(), Webhook::start());
    assert!(put(&acme, "acme.routes.todos", &of("acme", &hook)).await);
    assert!(put(&globex, "globex.routes.todos", &of("globex", &other)).await);
    let daemon = fleet(&nats, "acme").start_ready().await;
    let revision = wait_told(&acme, "acme.status.todos", "active").await["revision"].clone();

    for key in ["acme.routes.todos", "acme.state.todos", "acme.status.todos", "routes.todos"] {
        assert!(!put(&globex, key, &json!({})).await, "globex writes {key}");
        assert_eq!(get(&globex, key).await, None, "globex reads {key}");
    }
    assert!(
        !put(&acme, "acme.status.todos", &json!({})).await,
        "what came of a value is not the tenant's to say"
    );
    assert_eq!(get(&acme, "acme.status.todos").await.expect("it is there")["revision"], revision);

    Publisher::new(nats.client().await, "acme.events").burst(10).await;
    Publisher::new(nats.client().await, "globex.events").burst(10).await;
    wait_taken(&hook, 10).await;
    assert_eq!((endpoints(&daemon, "active").await, other.received()), (1.0, 0), "it runs what is another's");

    // What the operator has limited is told to whoever has written it, and so is what would be another's.
    let mut greedy = of("acme", &hook);
    greedy["queue"] = json!({ "bytes": "1GiB" });
    assert!(put(&acme, "acme.routes.todos", &greedy).await);
    let told = wait_told(&acme, "acme.status.todos", "refused").await;
    assert_eq!(told["former_runs"], true);
    assert!(
        told["problems"][0].as_str().is_some_and(|text| text.contains("endpoints.limits.bytes")),
        "{told}"
    );
    assert!(put(&acme, "acme.routes.spy", &of("globex", &hook)).await);
    let told = wait_told(&acme, "acme.status.spy", "refused").await;
    assert!(
        told["problems"][0].as_str().is_some_and(|text| text.contains("endpoints.limits.subjects")),
        "{told}"
    );

    assert!(
        put(&acme, "acme.state.todos", &json!({"held": {"by": "ada", "since": "2026-11-28T12:04:00Z"}}))
            .await
    );
    let held = [("route", "todos"), ("trouble", "held")];
    daemon.wait_metrics(|metrics| metrics.value("broadcaster_webhook_trouble", &held) == 1.0, SOON).await;
}

#[tokio::test]
async fn the_user_of_a_fleet_follows_and_writes_its_own_and_nothing_else() {
    let nats = server().await;
    let bucket = Bucket::make(&nats).await;
    let options = ConnectOptions::with_user_and_password("acme_fleet".to_owned(), "hunter2".to_owned());
    let options = options.custom_inbox_prefix("_INBOX_acme_fleet").request_timeout(Some(SHORT));
    let client = nats.client_with(options).await;
    let follow = async |asked: &str, filter: &str| {
        let config =
            json!({ "name": "spy", "filter_subject": filter, "deliver_subject": "_INBOX_acme_fleet.x" });
        let question = json!({ "stream_name": "KV_broadcaster", "config": config }).to_string();
        let subject = format!("$JS.API.CONSUMER.CREATE.KV_broadcaster.spy{asked}");
        let answer = client.request(subject, question.into()).await.ok()?;
        let answer: Value = serde_json::from_slice(&answer.payload).expect("it is JSON");
        answer.get("error").is_none().then_some(())
    };
    bucket.put("globex.routes.todos", &json!({})).await;
    let (own, others) = ("$KV.broadcaster.acme.*.*", "$KV.broadcaster.globex.*.*");
    assert_eq!(follow("", others).await, None);
    assert_eq!(follow(&format!(".{others}"), others).await, None);
    assert_eq!(follow(&format!(".{own}"), others).await, None, "the server holds one against the other");
    assert_eq!(follow(&format!(".{own}"), own).await, Some(()));
    for key in ["globex.state.todos", "globex.status.todos", "globex.routes.todos", "acme.routes.todos"] {
        assert!(!put(&client, key, &json!({})).await, "the fleet of acme writes {key}");
    }
    assert!(put(&client, "acme.status.todos", &json!({})).await);
    let mut foreign = client.subscribe("globex.>").await.expect("the client asks");
    Publisher::new(nats.client().await, "globex.events").burst(1).await;
    let heard = tokio::time::timeout(SHORT, next(&mut foreign, SOON)).await;
    assert!(heard.is_err(), "the fleet of acme hears what is another's");
}

#[tokio::test]
async fn without_the_permission_to_tell_what_came_of_values_the_routes_run_and_that_is_said_once() {
    let users = "authorization { users: [{ user: fleet, password: hunter2, permissions: { publish: { deny: [\"$KV.>\"] } } }\n\
                 { user: test, password: test }] }\nno_auth_user: test";
    let nats = NatsServer::builder().config(users).start().await;
    let (bucket, hook) = (Bucket::make(&nats).await, Webhook::start());
    for name in ["a", "b", "c"] {
        bucket.route(name, &hook).await;
    }
    let url = nats.url().replace("nats://", "nats://fleet:hunter2@");
    let daemon = follower(&nats).env("NATS_URL", url).start_ready().await;
    publisher(&nats, "a").await.burst(10).await;
    wait_taken(&hook, 10).await;
    let said = "what comes of values is not written beside them";
    daemon.wait_log(said, SOON).await;
    let last = bucket.route("d", &hook).await;
    wait_applied(&daemon, last).await;
    publisher(&nats, "d").await.burst(10).await;
    hook.wait_for(|hook| hook.delivered() == 20, SOON).await;
    assert_eq!(daemon.logs_containing(said).len(), 1);
    assert_eq!(daemon.logs_containing("NATS refuses it").len(), 1, "it is tried once");
}
