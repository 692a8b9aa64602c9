//! Routes that would take what NATS and broadcaster send for themselves.

use super::{Given, ROUTE, given};

fn with(subject: &str) -> Given {
    given(&format!("{ROUTE}[routes.todos]\nsubject = {subject:?}\n"))
}

#[test]
fn what_is_kept_for_something_is_no_subject_of_a_route() {
    for (subject, kept) in [
        ("_INBOX.>", "\"_INBOX.>\", kept for answers to clients"),
        ("_INBOX.a.*", "\"_INBOX.>\", kept for answers to clients"),
        ("$JS.>", "\"$JS.>\", kept for JetStream"),
        ("$JS.ACK.TODOS.>", "\"$JS.ACK.>\", kept for acks to JetStream"),
        ("$SYS.REQ.*.PING", "\"$SYS.REQ.>\", kept for requests to servers"),
        ("broadcaster.handover.x", "\"broadcaster.handover.>\", kept for messages that replicas hand over"),
        ("broadcaster.handover.>", "\"broadcaster.handover.>\", kept for messages that replicas hand over"),
    ] {
        let error = format!(
            "routes.todos.subject: expected a subject of your own: \"{subject}\" is among {kept} (in DIR/config.toml:4)"
        );
        assert_eq!(with(subject).error(), error);
    }
    for subject in ["_INBOX.x", "$JS.API.x", "broadcaster.handover.broadcaster-workers"] {
        let error = given(&format!("{ROUTE}[routes.todos]\ndead_letter.subject = {subject:?}\n")).error();
        assert!(
            error.starts_with("routes.todos.dead_letter.subject: expected a subject of your own"),
            "{error}"
        );
    }
}

#[test]
fn inboxes_of_ones_own_are_kept_too() {
    let with = |subject: &str| with(subject).flag("nats.inbox_prefix", "own.inboxes", "--set");
    let error = with("own.inboxes.*").error();
    assert!(error.contains("is among \"own.inboxes.>\", kept for answers to clients"), "{error}");
    let warnings = with("own.>").warnings();
    assert!(warnings[0].contains("also receives own.inboxes.> (answers to clients): take"), "{warnings:?}");
    assert!(with("_INBOX.a").error().contains("is among \"_INBOX.>\""));
    assert_eq!(with("own.todos").warnings(), Vec::<String>::new());
    let within = given(ROUTE).flag("nats.inbox_prefix", "_INBOX.own", "--set");
    assert_eq!(within.warnings(), Vec::<String>::new());
    for wrong in ["own.*", "own.", "a b", ">"] {
        let error = given(ROUTE).flag("nats.inbox_prefix", wrong, "--set").error();
        assert!(error.starts_with("nats.inbox_prefix: expected a NATS subject such as"), "{error}");
    }
}

#[test]
fn what_covers_it_among_other_things_is_said() {
    for (subject, covered) in [
        (">", "_INBOX.> (answers to clients), $JS.API.> (requests to JetStream), $JS.ACK.>"),
        ("*.*.*", "_INBOX.> (answers to clients), $JS.API.> (requests to JetStream), broadcaster.handover.>"),
        (
            "broadcaster.>",
            "broadcaster.handover.> (messages that replicas hand over), broadcaster.replay.> (claims of those who replay dead letters): take a narrower one",
        ),
        ("$SYS.>", "$SYS.REQ.> (requests to servers): take a narrower one"),
    ] {
        let warnings = with(subject).warnings();
        let [warning] = &warnings[..] else { panic!("{subject}: {warnings:#?}") };
        let expected = format!("routes.todos.subject: {subject:?} also receives {covered}");
        assert!(warning.starts_with(&expected), "{warning}");
    }
    for subject in
        ["todos.>", "*.created", "$SYS.ACCOUNT.*.CONNECT", "$JS.EVENT.ADVISORY.>", "$KV.a.>", "_INBOX"]
    {
        assert_eq!(with(subject).warnings(), Vec::<String>::new(), "{subject}");
    }
    let stream = given(&format!("{ROUTE}[routes.todos]\nsubject = \">\"\njetstream.stream = \"A\"\n"));
    assert_eq!(stream.warnings(), Vec::<String>::new());
}

#[test]
fn a_subject_that_covers_the_dead_letters_of_any_route_is_a_loop() {
    for subject in [">", "*.>", "broadcaster.>", "broadcaster.dead.*", "*.dead.*"] {
        let file = format!("{ROUTE}[routes.todos]\nsubject = {subject:?}\n[routes.todos.dead_letter]\n");
        let error = given(&file).error();
        assert!(
            error.starts_with("routes.todos.dead_letter.subject: expected a subject that no route receives"),
            "{error}"
        );
    }
}
