//! Answers of webhooks: replied to who asked, published to who listens, and what they say to do with a message.

use std::time::Duration;

use async_nats::{HeaderMap, Message};
use testkit::{nats::NatsServer, stage::Stage, webhook::Webhook};

mod hostile;
mod publishing;
mod replies;
mod verdicts;

const SOON: Duration = Duration::from_secs(60);

/// A header of `message`; empty where it is not there.
fn header<'m>(message: &'m Message, name: &str) -> &'m str {
    let headers: Option<&HeaderMap> = message.headers.as_ref();
    headers.and_then(|headers| headers.get(name)).map_or("", async_nats::HeaderValue::as_str)
}

/// How many of `result` were published, as the daemon counts it.
async fn published(stage: &Stage, result: &str) -> f64 {
    stage.daemon.metrics().await.sum("broadcaster_answers_total", &[("result", result)])
}

/// What has come to `subscription`, which is to `subject`, or to all. Its daemon has stopped: nothing more is on its way.
async fn all_of(stage: &Stage, subscription: &mut async_nats::Subscriber, subject: &str) -> Vec<Message> {
    const END: &str = "the end";
    stage.client.publish(subject.to_owned(), END.into()).await.expect("the client takes it");
    let mut all = Vec::new();
    loop {
        let message = testkit::nats::next(subscription, SOON).await;
        if message.payload == END {
            return all;
        }
        all.push(message);
    }
}
