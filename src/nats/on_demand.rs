//! The connection of the process beside those of its lanes, opened by the first who needs it: a process whose routes keep
//! no letters and hand nothing over has none.

use std::{cell::OnceCell, sync::Arc};

use super::{Connection, Connections};
use crate::{base::clock::Clock, config::Nats};

/// A connection that is opened when it is first needed.
pub struct OnDemand {
    nats: Nats,
    name: &'static str,
    connections: Arc<Connections>,
    clock: Clock,
    connection: OnceCell<Connection>,
}

impl OnDemand {
    /// None yet. It will be one of `connections`.
    pub fn new(nats: &Nats, name: &'static str, connections: &Arc<Connections>, clock: Clock) -> Self {
        let connections = Arc::clone(connections);
        Self { nats: nats.clone(), name, connections, clock, connection: OnceCell::new() }
    }

    /// The connection. Needs a runtime that takes local tasks.
    pub fn get(&self) -> Connection {
        let open = || {
            let connection = Connection::open(&self.nats, self.name, self.clock);
            self.connections.add(Arc::clone(connection.state()));
            connection
        };
        self.connection.get_or_init(open).clone()
    }
}
