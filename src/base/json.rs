//! JSON objects in which each key stands once. The library takes the last one of several without a word: a setting that stands twice
//! would be another one than whoever has written it thinks.

use std::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// An object, in which no key stands twice, nor in any object within it. What is told of one that does names the key, with those around
/// it, and no value.
#[derive(Debug)]
pub struct Object(pub Map<String, Value>);

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        match Within("").deserialize(from)? {
            Value::Object(members) => Ok(Self(members)),
            _ => Err(D::Error::custom("expected a JSON object")),
        }
    }
}

/// Reads what stands within the keys of this path.
struct Within<'a>(&'a str);

impl<'de> DeserializeSeed<'de> for Within<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Within<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<Value, A::Error> {
        let mut members = Map::new();
        while let Some(key) = from.next_key::<String>()? {
            let path = if self.0.is_empty() { key.clone() } else { format!("{}.{key}", self.0) };
            if members.contains_key(&key) {
                return Err(A::Error::custom(format_args!(
                    "expected each key once, {path:?} is there twice"
                )));
            }
            members.insert(key, from.next_value_seed(Within(&path))?);
        }
        Ok(Value::Object(members))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = from.next_element_seed(Within(self.0))? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_bool<E: Error>(self, flag: bool) -> Result<Value, E> {
        Ok(flag.into())
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_once_is_read_as_it_is() {
        let text = r#"{"a": [1, -1, 1.5, "x", "é\n", true, null, {"b": {}}], "b": 18446744073709551615}"#;
        let Object(read) = serde_json::from_str(text).unwrap();
        assert_eq!(Value::Object(read), serde_json::from_str::<Value>(text).unwrap());
    }

    #[test]
    fn a_key_that_stands_twice_is_named_and_no_value_is() {
        for (text, told) in [
            (r#"{"a": "s3cret", "a": 1}"#, "\"a\" is there twice"),
            (r#"{"a": {"b": "s3cret", "c": 2, "b": null}}"#, "\"a.b\" is there twice"),
            (r#"{"l": [{"b": "s3cret", "\u0062": 1}]}"#, "\"l.b\" is there twice"),
            (r#"["s3cret"]"#, "expected a JSON object"),
            ("7", "expected a JSON object"),
        ] {
            let error = serde_json::from_str::<Object>(text).unwrap_err();
            let shown = error.to_string();
            assert!(error.is_data() && shown.contains(told) && !shown.contains("s3cret"), "{shown}");
        }
        let deep = "[".repeat(100_000);
        for text in ["{", "", "{}x", "{\"a\": nul}", &deep] {
            assert!(!serde_json::from_str::<Object>(text).unwrap_err().is_data(), "{text:.9}");
        }
    }
}
