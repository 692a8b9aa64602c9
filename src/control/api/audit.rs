//! A line in the log for each act: who has done what, from where, and what came of it.

use tracing::{field::display, info};

use super::guard::Caller;
use crate::control::server::{Answer, Head, Reply};

/// The target of those lines.
pub(super) const TARGET: &str = module_path!();

struct Act {
    by: Caller,
    peer: Option<std::net::SocketAddr>,
    what: String,
}

/// The same reply, with a line in the log when it is done.
pub(super) fn audited(reply: Reply, head: &Head, by: Caller) -> Reply {
    let act = Act { by, peer: head.peer(), what: format!("{} {}", head.method(), head.path()) };
    match reply {
        Reply::Now(answer) => Reply::Now(act.said(answer)),
        Reply::Later(work) => Reply::Later(Box::pin(async move { act.said(work.await) })),
        Reply::Awaited(work) => Reply::Awaited(Box::pin(async move { act.said(work.await) })),
        Reply::WithBody(work) => Reply::WithBody(Box::new(move |body| {
            let work = work(body);
            Box::pin(async move { act.said(work.await) })
        })),
    }
}

impl Act {
    fn said(&self, answer: Answer) -> Answer {
        let (by, peer) = (&self.by, self.peer.map(display));
        let (what, status) = (&self.what, answer.status().as_u16());
        info!(%by, peer, what, status, "act");
        answer
    }
}
