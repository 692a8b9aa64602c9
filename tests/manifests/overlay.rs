//! What one overlay makes of the manifests, and how checks talk about it.

use std::fmt::Display;

use serde_json::Value;

use crate::object::{Object, Pod};

/// All objects of one build, and the name that failures call it by.
#[derive(Clone)]
pub(crate) struct Overlay {
    pub(crate) name: String,
    pub(crate) objects: Vec<Object>,
}

/// What a check found wrong: each line names the overlay, the object and the path.
pub(crate) type Findings = Vec<String>;

impl Overlay {
    /// The overlay that it is, whatever components were chosen with it.
    pub(crate) fn base(&self) -> &str {
        self.name.split('+').next().unwrap_or_default()
    }

    pub(crate) fn of_kind<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Object> {
        self.objects.iter().filter(move |object| object.kind() == kind)
    }

    /// The object with this id: `Deployment/broadcaster`.
    pub(crate) fn find(&self, id: &str) -> Option<&Object> {
        self.objects.iter().find(|object| object.id() == id)
    }

    /// The same to be changed; a panic where there is none.
    pub(crate) fn object_mut(&mut self, id: &str) -> &mut Object {
        let found = self.objects.iter_mut().find(|object| object.id() == id);
        found.unwrap_or_else(|| panic!("{} has no {id}", self.name))
    }

    pub(crate) fn pods(&self) -> impl Iterator<Item = Pod<'_>> {
        self.objects.iter().filter_map(Object::pod)
    }

    pub(crate) fn finding(&self, object: &Object, path: &str, what: impl Display) -> String {
        format!("{}: {}: {path}: {what}", self.name, object.id())
    }

    /// Whether an object is there with this at this path.
    pub(crate) fn expect(&self, id: &str, path: &str, expected: &Value, findings: &mut Findings) {
        match self.find(id) {
            None => findings.push(format!("{}: {id}: is not there", self.name)),
            Some(object) => {
                let found = object.get(path);
                if found != expected {
                    findings.push(self.finding(object, path, format_args!("{found}, not {expected}")));
                }
            }
        }
    }
}

/// A panic with all findings, if there are any.
pub(crate) fn none(findings: &Findings) {
    assert!(findings.is_empty(), "{} findings:\n{}", findings.len(), findings.join("\n"));
}

/// A panic unless `check` is content with the overlay as it is, and finds exactly this after `damage` was done to it.
pub(crate) fn broken(
    overlay: &Overlay,
    damage: impl FnOnce(&mut Overlay),
    check: impl Fn(&Overlay) -> Findings,
    expected: &str,
) {
    let before = check(overlay);
    assert!(before.is_empty(), "before anything was broken: {}", before.join("\n"));
    let mut overlay = overlay.clone();
    damage(&mut overlay);
    assert_eq!(check(&overlay), [format!("{}: {expected}", overlay.name)]);
}

/// [`broken`] by one wrong value, at this path of this object.
pub(crate) fn broken_at(
    overlay: &Overlay,
    (id, path, wrong): (&str, &str, Value),
    check: impl Fn(&Overlay) -> Findings,
    expected: &str,
) {
    broken(overlay, |overlay| overlay.object_mut(id).set(path, wrong), check, expected);
}
