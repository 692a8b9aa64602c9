//! Streams and consumers, as a test makes them and looks at them.

use std::fmt::Display;
use std::time::{Duration, Instant};

use async_nats::Client;
use async_nats::jetstream::{self, Context, consumer, stream};

use super::NatsServer;

/// How long a stream may be without a leader, or its server away.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often something is tried again that failed.
const AGAIN: Duration = Duration::from_millis(50);

/// A stream, by its name: what is asked of it is asked again while its server is away or its leader is being elected.
pub struct Stream {
    context: Context,
    name: String,
}

impl NatsServer {
    /// Makes a stream of these subjects, in the server's directory.
    pub async fn stream(&self, name: &str, subjects: &[&str]) -> Stream {
        Stream::make(self.client().await, name, subjects, 1).await
    }
}

impl Stream {
    pub(super) async fn make(client: Client, name: &str, subjects: &[&str], replicas: usize) -> Self {
        let mut context = jetstream::new(client);
        // What is lost with a server is asked again soon.
        context.set_timeout(Duration::from_secs(2));
        let config = stream::Config {
            name: name.to_owned(),
            subjects: subjects.iter().copied().map(str::to_owned).collect(),
            storage: stream::StorageType::File,
            num_replicas: replicas,
            ..stream::Config::default()
        };
        patiently("the stream can't be made", || context.create_stream(config.clone())).await;
        Self { context, name: name.to_owned() }
    }

    /// What the server says about it.
    pub async fn info(&self) -> stream::Info {
        let stream = patiently("no stream", || self.context.get_stream(&self.name)).await;
        stream.cached_info().clone()
    }

    /// How many messages it holds.
    pub async fn messages(&self) -> u64 {
        self.info().await.state.messages
    }

    /// Makes a durable consumer of this name with what else `config` says, or has it as it is.
    pub async fn make_consumer(&self, name: &str, config: consumer::pull::Config) {
        let config = consumer::pull::Config { durable_name: Some(name.to_owned()), ..config };
        let make = || self.context.create_consumer_on_stream(config.clone(), &self.name);
        patiently("the consumer can't be made", make).await;
    }

    /// Deletes a consumer, which has to be there.
    pub async fn delete_consumer(&self, name: &str) {
        let deleted = self.context.delete_consumer_from_stream(name, &self.name).await;
        deleted.unwrap_or_else(|error| panic!("the consumer {name} can't be deleted: {error}"));
    }

    /// What the server says about a consumer, or `None` where there is none: how many messages are pending, wait for an
    /// ack, were delivered again.
    pub async fn find_consumer(&self, name: &str) -> Option<consumer::Info> {
        use jetstream::context::ConsumerInfoErrorKind::NotFound;
        let stream = patiently("no stream", || self.context.get_stream_no_info(&self.name)).await;
        let info = || async {
            match stream.consumer_info(name).await {
                Err(error) if error.kind() == NotFound => Ok(None),
                info => info.map(Some),
            }
        };
        patiently("no consumer", info).await
    }

    /// The same of a consumer that is there.
    pub async fn consumer(&self, name: &str) -> consumer::Info {
        self.find_consumer(name).await.unwrap_or_else(|| panic!("{} has no consumer {name}", self.name))
    }

    /// Waits until a consumer fulfils `condition`; a panic with what it is when it takes longer than `deadline`.
    pub async fn wait_consumer(
        &self,
        name: &str,
        condition: impl Fn(&consumer::Info) -> bool,
        deadline: Duration,
    ) {
        let end = Instant::now() + deadline;
        loop {
            let info = self.find_consumer(name).await;
            if info.as_ref().is_some_and(&condition) {
                return;
            }
            assert!(Instant::now() < end, "consumer {name} is not as expected after {deadline:?}: {info:?}");
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// Waits until all messages of the stream are delivered by a consumer and acknowledged.
    pub async fn wait_acknowledged(&self, consumer: &str, deadline: Duration) {
        let all = |info: &consumer::Info| info.num_pending == 0 && info.num_ack_pending == 0;
        self.wait_consumer(consumer, all, deadline).await;
    }

    /// The name of the server that leads the stream, once there is one.
    pub async fn leader(&self) -> String {
        patiently("no leader", || async {
            let leader = self.info().await.cluster.and_then(|cluster| cluster.leader);
            leader.ok_or("the stream has none")
        })
        .await
    }

    /// The name of the server that leads a consumer, once there is one.
    pub async fn consumer_leader(&self, name: &str) -> String {
        patiently("no leader", || async {
            let leader = self.consumer(name).await.cluster.and_then(|cluster| cluster.leader);
            leader.ok_or("the consumer has none")
        })
        .await
    }
}

/// What `call` gives, once it gives something; a panic with the last error when that takes too long.
async fn patiently<T, E: Display>(trouble: &str, mut call: impl AsyncFnMut() -> Result<T, E>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        match call().await {
            Ok(value) => return value,
            Err(error) => assert!(Instant::now() < end, "{trouble} within {PATIENCE:?}: {error}"),
        }
        tokio::time::sleep(AGAIN).await;
    }
}
