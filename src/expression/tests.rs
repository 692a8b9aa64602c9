use super::*;
use crate::{
    base::clock::Time,
    message::{Headers, Id},
};

fn message(payload: &str) -> Message {
    let headers = Headers::new([("X-Tenant", "acme"), ("odd", "a\r\nb")]);
    let subject = "orders.eu.created";
    Message::new(Id::given("7"), subject.into(), headers, payload.to_owned().into(), Time::START)
}

const PAID: &str = r#"{"status": "paid", "amount": 12.5, "user": {"tags": ["a", "b"]}, "none": null}"#;

fn holds(expression: &str, payload: &str) -> Result<bool, String> {
    let expression = Expression::parse(expression).unwrap_or_else(|error| panic!("{expression}: {error}"));
    expression.holds(&message(payload)).map_err(|unclear| unclear.to_string())
}

#[test]
fn an_expression_asks_for_any_part_of_a_message() {
    for yes in [
        "subject == 'orders.eu.created'",
        "tokens[1] == 'eu' and tokens|length == 3",
        "tokens[-1] in ['created', 'changed']",
        "headers['x-tenant'] == \"acme\" and headers.ODD == 'a  b'",
        "'X-TENANT' in headers and 'x-other' not in headers",
        "headers['x-other'] is undefined",
        "headers['x-other'] | default('none') == 'none'",
        "id == '7'",
        "data.status == 'paid' and data.amount > 10",
        "'b' in data.user.tags",
        "data.nobody.name is undefined",
        "data.none is none",
        "not data.refunded",
        "is_json and data.amount >= 12.5",
        "'paid' in text",
        "text[:3] == '{\"s' and subject[:6] == 'orders'",
        "subject is startingwith 'orders.'",
        "stream is undefined and sequence is undefined",
    ] {
        assert_eq!(holds(yes, PAID), Ok(true), "{yes}");
    }
    for no in ["subject == 'orders'", "data.nobody.name == 'x'", "data.amount > 100", "''", "0", "data.none"]
    {
        assert_eq!(holds(no, PAID), Ok(false), "{no}");
    }
}

#[test]
fn what_can_not_be_told_is_said() {
    for (expression, payload, why) in [
        ("data.a == 1", "{", "the payload is no JSON: EOF while parsing an object"),
        ("data.a == 1 or true", "{", "no JSON"),
        ("data.a + 1 > 2", "{}", "unsupported types"),
        ("'x' * 9999999 == text", "", "fuel"),
        ("data.a", &format!("{}{}", "[".repeat(5_000), "]".repeat(5_000)), "recursion limit"),
    ] {
        let unclear = holds(expression, payload).expect_err(expression);
        assert!(unclear.contains(why), "{expression}: {unclear}");
    }
    // It did not come to ask for the payload.
    assert_eq!(holds("is_json and data.a == 1", "{"), Ok(false));
    assert_eq!(holds("headers.x == '1' and data.a == 1", "{"), Ok(false));
}

#[test]
fn a_mistake_has_a_place_and_says_what_would_be_right() {
    for (text, said) in [
        ("data.amount > 1 and (data.status = 'paid')", "unexpected `=`, expected `)`, at column 34"),
        ("data.amount >", "expected expression, at column 13"),
        ("subject ==\n 'a' and sbject == 'b'", "there is no sbject, only subject, tokens, headers"),
        ("subject ==\n 'a' and sbject == 'b'", "at line 2, column 10"),
        ("subject | nosuchfilter", "filter nosuchfilter is unknown"),
        ("subject is nosuchtest", "test nosuchtest is unknown"),
        ("", "expected expression"),
        (&"(".repeat(10_000), "recursion"),
    ] {
        let error = Expression::parse(text).expect_err(text).to_string();
        assert!(error.contains(said), "{text:.40}: {error}");
    }
}

#[test]
fn whatever_a_message_holds_evaluating_ends_soon() {
    let large = format!("[{}1]", "1,".repeat(200_000));
    let began = std::time::Instant::now();
    for expression in
        ["data | sort | length", "data | join(',') | length > 5", "text | upper | reverse == ''"]
    {
        let _told = holds(expression, &large);
    }
    assert!(began.elapsed() < std::time::Duration::from_secs(5), "{:?}", began.elapsed());
}
