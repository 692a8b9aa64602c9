//! docs/permissions.md: each mode works with exactly the permissions that it lists, and each of them is needed. What it
//! lists is read from there.

#![expect(clippy::panic, reason = "a test fails by a panic that says what is wrong")]

mod commands;
mod modes;
mod needed;
mod table;

use testkit::nats::NatsServer;

use table::{Action, Permission};

const USER: &str = "daemon";
const PASSWORD: &str = "hunter2";

/// A server with a user that has exactly these permissions, and another, without a login, that may everything.
async fn server_with(permissions: &[Permission]) -> NatsServer {
    NatsServer::builder().config(&users(permissions)).start().await
}

/// The configuration of the users of such a server.
fn users(permissions: &[Permission]) -> String {
    let list = |wanted: Action| {
        let of_kind = permissions.iter().filter(|permission| permission.action == wanted);
        let patterns: Vec<_> = of_kind.map(|permission| format!("{:?}", permission.subject)).collect();
        // An empty list would permit everything.
        if patterns.is_empty() {
            "{ deny: \">\" }".to_owned()
        } else {
            format!("{{ allow: [{}] }}", patterns.join(", "))
        }
    };
    format!(
        "authorization {{ users: [\n  {{ user: {USER}, password: {PASSWORD}, permissions: {{ publish: {}, subscribe: {} }} }},\n  \
         {{ user: test, password: test }}\n] }}\nno_auth_user: test",
        list(Action::Publish),
        list(Action::Subscribe)
    )
}

/// A panic where the server has refused anything.
fn assert_nothing_refused(nats: &NatsServer) {
    let log = nats.log();
    let refused: Vec<_> = log.lines().filter(|line| line.contains("Violation")).collect();
    assert!(refused.is_empty(), "the server has refused: {refused:#?}");
}
