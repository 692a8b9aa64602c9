//! What goes together with batches and with compression, and what does not.

use super::{ROUTE, URL, given};

#[test]
fn what_is_compressed_has_no_other_encoding() {
    let compressed = |more: &str| given(&format!("{ROUTE}compression.encoding = \"zstd\"\n{more}\n"));
    compressed("compression.min = 0").load();
    let error = compressed("headers.Content-Encoding = \"br\"").error();
    assert!(
        error.starts_with("routes.todos.webhook.compression: expected no header content-encoding"),
        "{error}"
    );
    let error = compressed("compression.min = \"2GiB\"").error();
    assert!(
        error.starts_with("routes.todos.webhook.compression.min: expected a size from 0 to 1GiB"),
        "{error}"
    );
    let error = given(&format!("{ROUTE}compression.min = 1\n")).error();
    assert!(error.starts_with("routes.todos.webhook.compression.encoding is missing"), "{error}");
}

#[test]
fn a_batch_has_nothing_that_only_one_message_has() {
    let set = |lines: &str| lines.lines().map(|line| format!("routes.todos.{line}\n")).collect::<String>();
    let batched = |more: &str| given(&format!("{URL}{}{}", set("batch.max_messages = 10"), set(more)));
    for (more, key, problem) in [
        ("answer.reply = true", "answer.reply", "expected false beside batch.max_messages"),
        ("answer.publish = \"x\"", "answer.publish", "expected none beside batch.max_messages"),
        ("webhook.forward = [\"x-a\"]", "webhook.forward", "expected [] beside batch.max_messages"),
        ("webhook.header_templates.x-a = \"{{ id }}\"", "webhook.header_templates.x-a", "expected none"),
        ("webhook.format = \"cloudevents\"", "webhook.cloudevents.mode", "expected \"structured\""),
        ("batch.format = \"cloudevents\"", "batch.format", "expected webhook.format = \"cloudevents\""),
        (
            "webhook.format = \"template\"\nwebhook.template = \"x\"\nwebhook.content_type = \"text/plain\"",
            "webhook.content_type",
            "expected a type of JSON",
        ),
        ("batch.template = \"{{ messages }}\"", "batch.template", "expected format = \"template\" with it"),
        (
            "batch.format = \"template\"\nbatch.template = '{{ message }}'",
            "batch.template",
            "there is no variable message: expected one of messages, count, in line 1",
        ),
        (
            "jetstream = { stream = \"A\", max_ack_pending = 9 }",
            "batch.max_messages",
            "expected no more than jetstream.max_ack_pending, which is 9",
        ),
    ] {
        let error = batched(more).error();
        assert!(error.starts_with(&format!("routes.todos.{key}: {problem}")), "{error}");
        assert!(
            error.contains("in DIR/config.toml") || key == "webhook.cloudevents.mode",
            "no place: {error}"
        );
    }
    let address = "routes.todos.webhook.url = \"https://a/{{ id }}\"\nroutes.todos.batch.max_messages = 2\n";
    assert!(given(address).error().starts_with("routes.todos.webhook.url: expected no {{ }}"));
    batched("webhook.forward = []\nanswer.verdict = true").load();
    let alone = "batch.max_messages = 1\nanswer.reply = true\nwebhook.forward = [\"x-a\"]";
    given(&format!("{URL}{}", set(alone))).load();
    for wait in ["61s", "-1s", "1"] {
        let error = given(&format!("{URL}routes.todos.batch.max_wait = \"{wait}\"\n")).error();
        assert!(error.contains("expected a duration from 0s to 1m"), "{error}");
    }
}
