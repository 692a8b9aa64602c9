//! What each kind of value accepts.

use std::{num::NonZeroUsize, time::Duration};

use super::{ROUTE, URL, given};
use crate::config::{
    Body, Concurrency, PublishSubject, QueueGroup, RouteName, Statuses, Subject, Threads, WebhookUrl,
};

#[test]
fn subjects_are_tokens_with_whole_wildcards() {
    for good in ["a", "a.b", "*", ">", "a.*.c", "a.>", "*.>", "$SYS.x", "todos.événements"] {
        assert!(good.parse::<Subject>().is_ok(), "{good:?} is a subject");
    }
    for bad in ["", ".", "a.", ".a", "a..b", "a b", "a\tb", "a.b*", "a.>.b", ">.a", "a>", "a\n", ">.>"] {
        assert!(bad.parse::<Subject>().is_err(), "{bad:?} is no subject");
    }
    for bad in ["a.*", ">", "a.>", "", "a b"] {
        assert!(bad.parse::<PublishSubject>().is_err(), "{bad:?} cannot be published to");
    }
}

#[test]
fn subjects_overlap_when_one_message_can_match_both() {
    let cases = [
        ("a.b", "a.b", true),
        ("a.b", "a.c", false),
        ("a.*", "a.c", true),
        ("*.b", "a.*", true),
        ("a.*", "a.b.c", false),
        ("a.>", "a.b.c", true),
        ("a.>", "a", false),
        (">", "a", true),
        ("a.>", "*.b", true),
        ("a.*.c", "a.>", true),
        ("a.*.c", "a.b.d", false),
    ];
    for (a, b, expected) in cases {
        let (left, right): (Subject, Subject) = (a.parse().unwrap(), b.parse().unwrap());
        assert_eq!((left.overlaps(&right), right.overlaps(&left)), (expected, expected), "{a} and {b}");
    }
}

#[test]
fn names_of_routes_fit_into_a_label_and_a_variable() {
    for good in ["a", "todos-2", "a_b", &"x".repeat(64)] {
        assert!(good.parse::<RouteName>().is_ok(), "{good:?} is a name");
    }
    for bad in ["", "A", "a b", "a.b", "a__b", "é", &"x".repeat(65)] {
        assert!(bad.parse::<RouteName>().is_err(), "{bad:?} is no name");
    }
    assert!("a b".parse::<QueueGroup>().is_err());
}

#[test]
fn webhook_urls_are_taken_apart() {
    let url: WebhookUrl = "HTTPS://Example.com/a%20b?c=d".parse().unwrap();
    assert!(url.server_name().is_some());
    assert_eq!((url.host().to_string().as_str(), url.port()), ("example.com", 443));
    assert_eq!((url.authority(), url.path_and_query()), ("example.com", "/a%20b?c=d"));
    let url: WebhookUrl = "http://[::1]:8080".parse().unwrap();
    assert!(url.server_name().is_none());
    assert_eq!((url.authority(), url.port(), url.path_and_query()), ("[::1]:8080", 8080, "/"));
}

#[test]
fn placeholders_stand_in_path_and_query_only() {
    let url: WebhookUrl =
        "https://a.example/t/{{ tokens[1] }}/x y?f[a]={{ headers['X-A/?#'] }}&b={{id}}".parse().unwrap();
    let template = url.template().unwrap();
    let text = "/t/{{ tokens[1] }}/x%20y?f%5Ba%5D={{ headers['X-A/?#'] }}&b={{id}}";
    assert_eq!((template.source.as_str(), template.ends_with_slash), (text, false));
    assert_eq!(url.to_string(), "https://a.example/…");
    assert!("https://a.example/{{ id }}/".parse::<WebhookUrl>().unwrap().template().unwrap().ends_with_slash);
    assert!("https://a.example/{%x%}".parse::<WebhookUrl>().unwrap().template().is_none());
    for (bad, why) in [
        ("https://{{ tokens[1] }}/x", "never a message's to say"),
        ("https://{{ tokens[1] }}.example/x", "never a message's to say"),
        ("https://a{{ '/' }}.example/x", "never a message's to say"),
        ("https://a.example:{{ tokens[1] }}/", "never a message's to say"),
        ("https://a.example{{ id }}", "never a message's to say"),
        ("{{ id }}://a.example/", "never a message's to say"),
        ("{{ id }}", "never a message's to say"),
        ("https://a:{{ id }}@b.example/", "never a message's to say"),
        ("https://a.example/{{ id", "one has no end"),
        ("https://a.example/{{ ids }}", "there is no variable ids"),
        ("https://a.example/{{ id | uper }}", "there is no filter uper"),
        ("https://a.example/{{ id }}/../b", "expected no //"),
        ("https://a.example/a//{{ id }}", "expected no //"),
        ("https://a.example/{% if id %}{{ id }}{% endif %}", "expected no //"),
        ("https://a.example/{{ id }}#x", "expected no # in the URL"),
    ] {
        let error = bad.parse::<WebhookUrl>().unwrap_err().to_string();
        assert!(error.contains(why), "{bad}: {error}");
    }
}

#[test]
fn statuses_are_a_set_of_single_ones_and_classes_without_exceptions() {
    let statuses = Statuses::default();
    let expected = |status| matches!(status, 408 | 425 | 429 | 500 | 502..=599);
    for status in 0..=u16::MAX {
        assert_eq!(statuses.contains(status), expected(status), "{status}");
    }
    assert_eq!(statuses.to_string(), "408, 425, 429, 5xx, !501");
    let left_out_first: Statuses = "!4xx,404,500".parse().unwrap();
    assert!(left_out_first.contains(500) && !left_out_first.contains(404));
    for bad in ["2xx", "200", "1xx", "199", "1000", "5x", "5XX", "+429", "", "!", "!!501", "abc", "0xx"] {
        assert!(bad.parse::<Statuses>().is_err(), "{bad:?} is no status to retry");
    }
}

#[test]
fn statuses_are_written_as_a_list_or_with_commas() {
    let file = format!("{ROUTE}[routes.todos.retry]\nstatuses = [\"408\", 425, \"5xx\"]\n");
    assert_eq!(given(&file).load().routes[0].retry.statuses.to_string(), "408, 425, 5xx");
    let config = given(&file).var("BROADCASTER__ROUTES__TODOS__RETRY__STATUSES", "429, !501,5xx").load();
    assert_eq!(config.routes[0].retry.statuses.to_string(), "429, !501, 5xx");
    let none = given(&file.replace("\"408\", 425, \"5xx\"", "")).load();
    assert!((0..1000).all(|status| !none.routes[0].retry.statuses.contains(status)));
    assert_eq!(
        given(&file.replace("425", "204")).error(),
        "routes.todos.retry.statuses: expected statuses from 300 to 999 such as \"429\", \"5xx\" or \"!501\", not \
         \"204\" (in DIR/config.toml:4)"
    );
}

/// Each line is a value for a key of the route and whether it is right.
#[test]
fn ranges_are_kept() {
    let cases = [
        ("webhook.timeout", "\"1ms\"", true),
        ("webhook.timeout", "\"0s\"", false),
        ("webhook.timeout", "\"25h\"", false),
        ("webhook.timeout", "10", false),
        ("webhook.idle_timeout", "\"0s\"", false),
        ("webhook.max_connection_age", "\"0s\"", false),
        ("webhook.concurrency", "0", false),
        ("webhook.concurrency", "10000", true),
        ("webhook.concurrency", "10001", false),
        ("webhook.concurrency", "1.5", false),
        ("webhook.concurrency", "\"64\"", true),
        ("webhook.concurrency", "\"adaptive\"", true),
        ("webhook.concurrency", "\"auto\"", false),
        ("queue.messages", "1", true),
        ("queue.bytes", "65536", true),
        ("queue.bytes", "\"64KiB\"", true),
        ("queue.bytes", "\"64KB\"", false),
        ("queue.bytes", "-1", false),
        ("queue.bytes", "\"2TiB\"", false),
        ("queue.bytes", "\"much\"", false),
        ("queue.overflow", "\"drop_oldest\"", true),
        ("queue.overflow", "\"explode\"", false),
        ("retry.attempts", "1", true),
        ("retry.attempts", "0", false),
        ("retry.attempts", "4294967297", false),
        ("retry.initial", "\"0s\"", false),
        ("retry.multiplier", "1", true),
        ("retry.multiplier", "0.5", false),
        ("retry.multiplier", "nan", false),
        ("retry.multiplier", "inf", false),
        ("retry.jitter", "\"none\"", true),
        ("retry.jitter", "true", false),
        ("rate_limit.per_second", "1", true),
        ("rate_limit.per_second", "0", false),
        ("subject", "\"a.b*\"", false),
        ("subject", "[\"a\"]", false),
        ("queue_group", "\"a b\"", false),
        ("dead_letter.subject", "\"a.*\"", false),
    ];
    for (key, value, good) in cases {
        let given = given(&format!("routes.todos.{key} = {value}\n{URL}"));
        let result = crate::config::load(given.sources);
        assert_eq!(
            result.is_ok(),
            good,
            "{key} = {value}: {:?}",
            result.err().map(|errors| errors.to_string())
        );
    }
}

#[test]
fn threads_are_auto_or_a_number() {
    let threads = |value: &str| given(&format!("runtime.threads = {value}\n{URL}"));
    assert_eq!(threads("\"auto\"").load().runtime.threads, Threads::Auto);
    assert_eq!(threads("4").load().runtime.threads, Threads::Fixed(4.try_into().unwrap()));
    assert_eq!(
        threads("65").error(),
        "runtime.threads: expected \"auto\" or a whole number from 1 to 64, not 65 (in DIR/config.toml:1)"
    );
}

#[test]
fn a_short_limit_shortens_what_is_below_it_by_default() {
    let config = given(&format!("{ROUTE}timeout = \"2s\"\n[routes.todos.retry]\nmax = \"100ms\"\n")).load();
    assert_eq!(config.routes[0].webhook.connect_timeout, Duration::from_secs(2));
    assert_eq!(config.routes[0].retry.initial, Duration::from_millis(100));
}

#[test]
fn a_grace_of_zero_is_allowed() {
    assert_eq!(given(&format!("{ROUTE}[shutdown]\ngrace = \"0s\"")).load().shutdown.grace, Duration::ZERO);
}

#[test]
fn burst_is_as_per_second_by_default() {
    let config = given(&format!("{ROUTE}[routes.todos.rate_limit]\nper_second = 7\n")).load();
    assert_eq!(config.routes[0].rate_limit.as_ref().unwrap().burst.get(), 7);
}

#[test]
fn an_adaptive_concurrency_has_bounds() {
    let concurrency = |keys: &str| given(&format!("{ROUTE}{keys}")).load().routes[0].webhook.concurrency;
    let bounds = |min, max| {
        let number = |n| NonZeroUsize::new(n).unwrap();
        Concurrency::Adaptive { min: number(min), max: number(max) }
    };
    let adaptive = "concurrency = \"adaptive\"\n";
    assert_eq!(concurrency(adaptive), bounds(1, 500));
    assert_eq!(concurrency(&format!("{adaptive}min_concurrency = 9\nmax_concurrency = 9")), bounds(9, 9));
    let key = "routes.todos.webhook";
    for (keys, expected) in [
        ("min_concurrency = 5", "min_concurrency: expected concurrency = \"adaptive\" with it"),
        (
            "concurrency = 5\nmax_concurrency = 5",
            "max_concurrency: expected concurrency = \"adaptive\" with it",
        ),
        (
            "concurrency = \"adaptive\"\nmin_concurrency = 501",
            "min_concurrency: expected min_concurrency up to max_concurrency: 501 is more than 500",
        ),
        (
            "concurrency = \"adaptive\"\nmax_concurrency = 10001",
            "max_concurrency: expected a whole number from 1 to 10000",
        ),
    ] {
        let error = given(&format!("{ROUTE}{keys}")).error();
        assert!(error.starts_with(&format!("{key}.{expected}")), "{keys}: {error}");
    }
    let printed = given(&format!("{ROUTE}{adaptive}")).load().to_toml();
    assert!(
        printed.contains("concurrency = \"adaptive\"\nmin_concurrency = 1\nmax_concurrency = 500\n"),
        "{printed}"
    );
}

#[test]
fn a_template_is_checked_when_it_is_loaded() {
    let webhook = |more: &str| given(&format!("{ROUTE}{more}"));
    let key = "routes.todos.webhook";
    for (more, expected) in [
        ("format = \"json\"", "format: expected \"raw\" or \"envelope\" or \"template\""),
        ("format = \"template\"", "template is missing"),
        ("template = \"{{ id }}\"", "template: expected format = \"template\" with it"),
        ("content_type = \"text/plain\"", "content_type: expected format = \"template\" with it"),
        (
            "format = \"template\"\ntemplate = \"\"\"\n{\n{{ titel }}}\"\"\"",
            "template: there is no variable titel: expected",
        ),
        (
            "format = \"template\"\ntemplate = \"{{ id | uper }}\"",
            "template: there is no filter uper, in line 1",
        ),
        (
            "format = \"template\"\ntemplate = \"{{ secrets.kye }}\"\nsecrets.key = \"x\"",
            "template: there is no secret kye, in line 1",
        ),
        ("secrets.A-B = \"x\"", "secrets: expected names such as routing_key"),
        (
            "secrets.key = \"x\"\nsecrets_file.key = \"/x\"",
            "secrets_file.key: expected only one of secrets_file and secrets: routes.todos.webhook.secrets.key is set too",
        ),
        ("format = \"template\"\ntemplate = \"{{ id\"", "template: unexpected end of input"),
        (
            "format = \"template\"\ntemplate = \"x\"\ncontent_type = \"html\"",
            "content_type: expected a content type",
        ),
        (
            "format = \"template\"\ntemplate = \"x\"\ncontent_type = \"text/html\"\nheaders.content-type = \"text/plain\"",
            "content_type: expected only one of content_type and headers.content-type",
        ),
    ] {
        let error = webhook(more).error();
        assert!(error.starts_with(&format!("{key}.{expected}")), "{more}: {error}");
    }
}

#[test]
fn a_template_may_stand_in_a_file() {
    let given = given(&format!("{ROUTE}format = \"template\"\n"));
    let path = given.beside("body.json", "{\n  \"text\": \"{{ data.title }}\"\n}\n");
    let key = "routes.todos.webhook.template_file";
    let config = given.flag(key, path.to_str().unwrap(), "--set").load();
    let Body::Template(template) = &config.routes[0].webhook.body else { panic!("a template expected") };
    assert_eq!(template.source.as_str(), "{\n  \"text\": \"{{ data.title }}\"\n}");
}
