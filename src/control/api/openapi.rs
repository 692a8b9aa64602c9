//! `GET /api/v1/openapi.json`: all that can be asked for, as `OpenAPI` 3.1 has it. It is written by hand; tests hold it
//! against what is there, and against what is answered.

use http::{Method, StatusCode};

use super::{Access, Router};
use crate::control::server::{self, Reply};

const DOCUMENT: &str = include_str!("openapi.json");

/// Adds it to `router`.
pub(super) fn add(router: &mut Router) {
    router.add(Method::GET, "/api/v1/openapi.json", Access::Open, |_| {
        Reply::Now(server::answer(StatusCode::OK, "application/json", DOCUMENT))
    });
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeMap;

    use serde_json::Value;

    use super::*;

    /// What the document has, and what `router` has, each with who may ask for it.
    pub(in crate::control::api) fn compare(router: &Router) {
        let document: Value = serde_json::from_str(DOCUMENT).expect("the document is JSON");
        let mut described = BTreeMap::new();
        for (path, methods) in document["paths"].as_object().expect("it has paths") {
            for (method, operation) in methods.as_object().expect("a path has methods") {
                let needed = operation["description"].as_str().unwrap_or_default();
                let access = match () {
                    () if operation["security"] == Value::Array(Vec::new()) => Access::Open,
                    () if needed.contains("`act`") => Access::Act,
                    () if needed.contains("`read`") => Access::Read,
                    () => panic!("{method} {path} does not say who may ask for it"),
                };
                described.insert((path.clone(), method.to_uppercase()), access);
            }
        }
        let there: BTreeMap<_, _> = router.operations().collect();
        for (operation, access) in &there {
            assert_eq!(described.get(operation), Some(access), "{operation:?} in openapi.json");
        }
        for operation in described.keys() {
            assert!(there.contains_key(operation), "openapi.json has {operation:?}, which is not there");
        }
    }
}
