//! docs/permissions.md: each mode works with exactly the permissions that it lists, and each of them is needed. What it
//! lists is read from there.

#![expect(clippy::panic, reason = "a test fails by a panic that says what is wrong")]

mod commands;
mod letters;
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
        "trace: true\nauthorization {{ users: [\n  {{ user: {USER}, password: {PASSWORD}, permissions: {{ publish: {}, subscribe: {} }} }},\n  \
         {{ user: test, password: test }}\n] }}\nno_auth_user: test",
        list(Action::Publish),
        list(Action::Subscribe)
    )
}

/// A panic unless the user with the permissions has used each of `permissions`, by the server's trace of what it was told:
/// what is listed is needed, and no more.
fn assert_all_used(nats: &NatsServer, permissions: &[Permission]) {
    let log = nats.log();
    let told: Vec<_> = log
        .lines()
        .filter(|line| line.contains(&format!("user:{USER}\"")))
        .filter_map(|line| line.split_once("<<- [")?.1.strip_suffix(']'))
        .collect();
    let is_used = |permission: &&Permission| {
        let verbs: &[&str] = match permission.action {
            Action::Publish => &["PUB", "HPUB"],
            Action::Subscribe => &["SUB"],
        };
        told.iter().any(|command| {
            let mut words = command.split_whitespace();
            words.next().is_some_and(|verb| verbs.contains(&verb))
                && words.next().is_some_and(|subject| permission.stands_for(subject))
        })
    };
    let unused: Vec<_> = permissions.iter().filter(|permission| !is_used(permission)).collect();
    assert!(!told.is_empty() && unused.is_empty(), "not used: {unused:#?} of {told:#?}");
}

/// A panic where the server has refused anything.
fn assert_nothing_refused(nats: &NatsServer) {
    let log = nats.log();
    let refused: Vec<_> = log.lines().filter(|line| line.contains("Violation")).collect();
    assert!(refused.is_empty(), "the server has refused: {refused:#?}");
}
