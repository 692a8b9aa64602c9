//! The routes of the bucket of endpoints, for commands that go by the configuration: as a daemon has them that is started now.

use std::{sync::Arc, time::Duration};

use tokio::time::timeout;

use crate::{
    base::clock::Clock,
    config::{ConfigErrors, Endpoints, Nats, PublishSubject, Route, RouteName},
    endpoints::{Catalogue, Changes, Store, StoreError, Stored},
    nats::Connection,
};

/// How long NATS may take to be there: somebody waits for it.
const CONNECTING: Duration = Duration::from_secs(10);

/// What stands in a bucket.
#[derive(Debug, Default)]
pub(super) struct Bucket {
    /// The routes of it that run beside those of the file.
    pub(super) routes: Vec<Route>,
    /// The names of the others. They may run where the daemons are: the files that they name may be there alone.
    pub(super) others: Vec<RouteName>,
}

impl Bucket {
    /// Reads the bucket of `endpoints` over `connection`. The file has the routes `beside` it.
    pub(super) async fn read(
        connection: &Connection,
        endpoints: &Endpoints,
        beside: &[Route],
    ) -> Result<Self, StoreError> {
        let stored = Store::over(connection, endpoints).list().await?;
        let mut others: Vec<_> = stored.iter().map(|stored| stored.name.clone()).collect();
        let value = |Stored { name, revision, value }: Stored| {
            let read = endpoints.route(&name, &value, name.as_str(), revision).map(Arc::new);
            let problems = |errors: ConfigErrors| errors.iter().map(ToString::to_string).collect();
            (name, revision, Some(read.map_err(problems)))
        };
        let mut catalogue = Catalogue::new(endpoints.max_routes);
        let values = stored.into_iter().map(value).collect();
        catalogue.take(Changes { values, is_all: true, revision: 0 });
        let beside: Vec<_> = beside.iter().cloned().map(Arc::new).collect();
        let routes = catalogue.resolve(&beside).routes.into_iter();
        let routes: Vec<_> = routes.map(Arc::unwrap_or_clone).collect();
        // Both are sorted.
        others.retain(|name| routes.binary_search_by(|route| route.name.cmp(name)).is_err());
        Ok(Self { routes, others })
    }
}

/// Where the dead letters go of the routes of a bucket, also of those that don't run.
pub(super) async fn letters(
    connection: &Connection,
    endpoints: &Endpoints,
) -> Result<Vec<PublishSubject>, StoreError> {
    let stored = Store::over(connection, endpoints).list().await?;
    Ok(stored.iter().filter_map(|stored| endpoints.letters(&stored.name, &stored.value)).collect())
}

/// A connection to NATS of our own, once there is one; else why there is none. Anybody may write what comes over it, whatever bytes
/// that consists of, and the client library ends the process over some.
pub(super) async fn connected(nats: &Nats, what_for: &str, clock: Clock) -> Result<Connection, String> {
    let connection = Connection::open(nats, what_for, clock);
    if timeout(CONNECTING, connection.state().connected()).await.is_err() {
        return Err(connection.state().trouble().unwrap_or_else(|| "no answer".to_owned()));
    }
    Ok(connection)
}
