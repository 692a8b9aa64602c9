//! What a user of NATS may do, as the server itself tells it (`$SYS.REQ.USER.INFO`), and whether that is enough.

use serde::Deserialize;

/// What the server says of the user of a connection.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) struct User {
    #[serde(default)]
    pub(super) user: String,
    #[serde(default)]
    pub(super) account: String,
    /// None where everything is permitted.
    permissions: Option<Permissions>,
    /// For how many nanoseconds its login is still good, where that ends.
    expires: Option<u64>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
struct Permissions {
    #[serde(default)]
    publish: Lists,
    #[serde(default)]
    subscribe: Lists,
}

/// Without a list nothing is said: an `allow` that is empty allows everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
struct Lists {
    #[serde(default)]
    allow: Vec<String>,
    #[serde(default)]
    deny: Vec<String>,
}

/// What is done with a subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Publish,
    Subscribe,
}

impl User {
    /// Reads the server's answer to `$SYS.REQ.USER.INFO`.
    pub(super) fn read(answer: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Answer {
            data: User,
        }
        serde_json::from_slice(answer).ok().map(|Answer { data }| data)
    }

    /// For how many seconds its login is still good, where that ends.
    pub(super) fn seconds_left(&self) -> Option<u64> {
        self.expires.map(|nanoseconds| nanoseconds / 1_000_000_000)
    }

    /// Whether it may do this with `subject`, in this queue group where there is one: as the server decides it.
    pub(super) fn may(&self, action: Action, subject: &str, queue_group: Option<&str>) -> bool {
        let Some(permissions) = &self.permissions else { return true };
        let lists = match action {
            Action::Publish => &permissions.publish,
            Action::Subscribe => &permissions.subscribe,
        };
        let allowed = lists.allow.is_empty() || Matches::of(&lists.allow, subject).decide(queue_group);
        allowed && (lists.deny.is_empty() || !Matches::of(&lists.deny, subject).decide(queue_group))
    }
}

/// The entries of a list that stand for a subject: without a queue group, or only with one that these patterns name.
struct Matches<'l> {
    plain: bool,
    groups: Vec<&'l str>,
}

impl<'l> Matches<'l> {
    fn of(list: &'l [String], subject: &str) -> Self {
        let mut matches = Self { plain: false, groups: Vec::new() };
        for entry in list {
            let mut words = entry.split_whitespace();
            let (Some(pattern), group) = (words.next(), words.next()) else { continue };
            if stands_for(pattern, subject) {
                matches.plain |= group.is_none();
                matches.groups.extend(group);
            }
        }
        matches
    }

    /// Where a list names groups for a subject, it is these that count for whoever joins one.
    fn decide(&self, queue_group: Option<&str>) -> bool {
        match queue_group {
            Some(group) if !self.groups.is_empty() => {
                self.groups.iter().any(|pattern| stands_for(pattern, group))
            }
            _ => self.plain,
        }
    }
}

/// Whether `pattern` stands for `subject`. One with wildcards is taken as it is written, token by token, which is what the
/// server does.
fn stands_for(pattern: &str, subject: &str) -> bool {
    let mut tokens = subject.split('.');
    for part in pattern.split('.') {
        match (part, tokens.next()) {
            (">", Some(_)) => return true,
            ("*", Some(_)) => {}
            (part, Some(token)) if part == token => {}
            _ => return false,
        }
    }
    tokens.next().is_none()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{
        Action::{Publish, Subscribe},
        *,
    };

    fn user(permissions: &serde_json::Value) -> User {
        let answer =
            json!({ "server": {}, "data": { "user": "a", "account": "$G", "permissions": permissions } });
        User::read(answer.to_string().as_bytes()).expect("it is an answer")
    }

    #[test]
    fn a_user_without_limits_may_everything() {
        let user =
            User::read(br#"{"server":{},"data":{"user":"c","account":"$G","expires":90000000000}}"#).unwrap();
        assert!(user.may(Publish, "a", None) && user.may(Subscribe, "a.>", Some("q")));
        assert_eq!(user.seconds_left(), Some(90));
        assert_eq!(User::read(b"{\"error\":{}}"), None);
        assert_eq!(User::read(b"no JSON"), None);
    }

    /// As a nats-server 2.15 was seen to decide.
    #[test]
    fn lists_are_read_as_the_server_reads_them() {
        let user = user(&json!({
            "publish": { "allow": ["$SYS.REQ.USER.INFO", "x.*"], "deny": ["x.d"] },
            "subscribe": { "allow": ["todos.events q1", "todos.*", "_INBOX.>"], "deny": ["z"] },
        }));
        for (subject, may) in
            [("$SYS.REQ.USER.INFO", true), ("x.a", true), ("x.d", false), ("x", false), ("x.a.b", false)]
        {
            assert_eq!(user.may(Publish, subject, None), may, "{subject}");
        }
        for (subject, group, may) in [
            ("todos.events", Some("q1"), true),
            ("todos.events", Some("q2"), false),
            ("todos.events", None, true),
            ("todos.>", Some("q1"), true),
            ("todos.*", None, true),
            ("z", None, false),
            ("nope", None, false),
            ("_INBOX.a.*", None, true),
            ("_INBOX", None, false),
        ] {
            assert_eq!(user.may(Subscribe, subject, group), may, "{subject} {group:?}");
        }
    }

    #[test]
    fn an_empty_list_says_nothing_and_groups_may_have_wildcards() {
        let user =
            user(&json!({ "publish": {}, "subscribe": { "allow": ["a broadcaster.>"], "deny": ["b q.*"] } }));
        assert!(user.may(Publish, "anything", None));
        assert!(user.may(Subscribe, "a", Some("broadcaster.one")));
        assert!(!user.may(Subscribe, "a", Some("other")) && !user.may(Subscribe, "a", None));
    }
}
