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
    use std::collections::{BTreeMap, BTreeSet};

    use serde_json::Value;

    use super::*;

    /// The parameters that the query of this operation may have.
    fn parameters(operation: &Value) -> BTreeSet<&str> {
        let parameters = operation["parameters"].as_array().into_iter().flatten();
        parameters.filter(|one| one["in"] == "query").filter_map(|one| one["name"].as_str()).collect()
    }

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
                described.insert((path.clone(), method.to_uppercase()), (access, parameters(operation)));
            }
        }
        let there: BTreeMap<_, _> = router.operations().collect();
        for (operation, (access, parameters)) in &there {
            let found = described.get(operation).map(|(access, _)| access);
            assert_eq!(found, Some(access), "{operation:?} in openapi.json");
            // What everybody may see is asked for by any parameters, of which the handler says what is wrong.
            let known = described.get(operation).map(|(_, parameters)| parameters.clone());
            let known = known.filter(|_| *access != Access::Open).unwrap_or_default();
            assert_eq!(known, parameters.iter().copied().collect(), "parameters of {operation:?}");
        }
        for operation in described.keys() {
            assert!(there.contains_key(operation), "openapi.json has {operation:?}, which is not there");
        }
    }
}
