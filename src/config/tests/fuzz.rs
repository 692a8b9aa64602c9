//! Every key with values that nobody should write: a mistake or a setting, and never anything else.

use super::{ROUTE, URL, every_key, given};
use crate::config::{Sources, load};

/// As a variable or an option has them.
const TEXTS: [&str; 40] = [
    "",
    " ",
    "0",
    "-1",
    "+1",
    "1",
    "1.5",
    "1e3",
    "1e999",
    "-0",
    "nan",
    "inf",
    "-inf",
    "0x10",
    "1_000",
    "٣",
    "18446744073709551616",
    "340282366920938463463374607431768211456",
    "99999999999999999999999h",
    "1y",
    "0s",
    "1ns",
    "1ms 1ms",
    "1e400GiB",
    "0GiB",
    "99999999999999GiB",
    "true",
    "TRUE",
    "null",
    "auto",
    "*",
    ">",
    "a..b",
    "a b",
    "\u{202e}",
    "é",
    "[::]:99999",
    "0.0.0.0:0",
    "http://[::1",
    "[1, [2]]",
];

/// As a file has them.
const VALUES: [&str; 18] = [
    "\"\"",
    "0",
    "-1",
    "9223372036854775807",
    "-9223372036854775808",
    "1e308",
    "-0.0",
    "nan",
    "-inf",
    "true",
    "[]",
    "[[]]",
    "[1, \"a\", 2.5, {}]",
    "{}",
    "{ a = 1 }",
    "1979-05-27T07:32:00Z",
    "07:32:00",
    "'''\na\nb'''",
];

/// A mistake is about the key that was set, or about another one of its table that it does not go with.
fn is_about(found: &str, key: &str) -> bool {
    let table = key.rsplit_once('.').map_or("", |(table, _)| table);
    // What stands below it does not go without it.
    let table = table.split_inclusive(".oauth2").next().unwrap_or(table);
    let whole = ["tracing", "endpoints"].into_iter().find(|section| table.starts_with(section));
    let table = whole.unwrap_or(table);
    found.starts_with(table) || found == "runtime.threads"
}

fn keys() -> Vec<String> {
    let with_a_header = |key: String| {
        if key.contains(".webhook.header") || key.contains("tracing.header") {
            vec![format!("{key}.x-a"), key]
        } else {
            vec![key]
        }
    };
    every_key().into_iter().flat_map(with_a_header).collect()
}

#[test]
fn no_text_for_any_key_ends_in_anything_but_a_mistake_that_names_it() {
    let long = "x".repeat(100_000);
    let given = given(ROUTE);
    for key in keys() {
        for text in TEXTS.into_iter().chain([long.as_str()]) {
            let mut sources = given.sources.clone();
            sources.flags.push((key.clone(), text.to_owned(), "--set".to_owned()));
            let Err(errors) = load(sources) else { continue };
            assert!(errors.iter().all(|error| is_about(&error.key, &key)), "{key} = {text:?}: {errors}");
            assert!(errors.to_string().len() < 4096, "{key}: an error repeats {} bytes", text.len());
        }
    }
}

#[test]
fn no_value_for_any_key_ends_in_anything_but_a_mistake_that_names_it() {
    let given = given("");
    for key in keys() {
        for value in VALUES {
            let url = if key.contains("webhook") { "" } else { URL };
            let file = given.beside("config.toml", format!("{key} = {value}\n{url}"));
            let Err(errors) = load(Sources { file: Some(file), ..Sources::default() }) else { continue };
            let other = |key: &str| key.ends_with("webhook.url");
            assert!(
                errors.iter().all(|error| is_about(&error.key, &key) || other(&error.key)),
                "{key} = {value}: {errors}"
            );
        }
    }
}

#[test]
fn a_key_of_any_depth_is_a_mistake_and_no_more() {
    for depth in [17, 1_000, 100_000] {
        let deep = vec!["a"; depth].join(".");
        let expected = format!("expected a key of at most 16 parts, not {depth}");
        assert_eq!(given(ROUTE).flag(&deep, "1", "--set").error(), format!("{expected} (in flag --set)"));
        let name = format!("BROADCASTER__{}", deep.to_uppercase().replace('.', "__"));
        let error = given(ROUTE).var(&name, "1").error();
        assert!(error.starts_with(&expected) && error.len() < 300, "{error}");
        for file in [
            format!("{deep} = 1\n"),
            format!("[{deep}]\n"),
            format!("a = {}1{}\n", "[".repeat(depth), "]".repeat(depth)),
            format!("a = {}1{}\n", "{a = ".repeat(depth), "}".repeat(depth)),
        ] {
            let error = &given(&file).errors()[0];
            assert!(error.contains("recursion limit exceeded") || depth < 80, "{error}");
        }
    }
}

#[test]
fn a_thousand_settings_are_read_in_a_moment() {
    let given = (0..1_000).fold(given(ROUTE), |given, number| {
        given.flag(&format!("routes.r{number}.queue_group"), "g", "--set")
    });
    assert!(given.errors().len() >= 1_000);
}
