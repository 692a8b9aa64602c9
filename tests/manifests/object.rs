//! One Kubernetes object, and the places in it.

use serde_json::Value;

/// An object of a manifest.
#[derive(Clone)]
pub(crate) struct Object(pub(crate) Value);

/// Where a workload has its pods: the path of the pod template, and what is there.
pub(crate) struct Pod<'a> {
    /// The workload that makes it.
    pub(crate) owner: &'a Object,
    path: &'static str,
    template: &'a Value,
}

impl Object {
    /// All objects in a stream of YAML documents.
    pub(crate) fn parse_all(yaml: &str) -> Result<Vec<Self>, String> {
        Ok(parse_yaml(yaml)?.into_iter().filter(|value| !value.is_null()).map(Self).collect())
    }

    pub(crate) fn api_version(&self) -> &str {
        self.text("apiVersion")
    }

    pub(crate) fn kind(&self) -> &str {
        self.text("kind")
    }

    pub(crate) fn name(&self) -> &str {
        self.text("metadata.name")
    }

    /// What failures call it.
    pub(crate) fn id(&self) -> String {
        format!("{}/{}", self.kind(), self.name())
    }

    /// What is at `path`, see [`at`].
    pub(crate) fn get(&self, path: &str) -> &Value {
        at(&self.0, path)
    }

    /// The text at `path`, "" where there is none.
    pub(crate) fn text(&self, path: &str) -> &str {
        self.get(path).as_str().unwrap_or_default()
    }

    /// The list at `path`, empty where there is none.
    pub(crate) fn list(&self, path: &str) -> &[Value] {
        list(self.get(path))
    }

    /// The pods that it makes, if it makes any.
    pub(crate) fn pod(&self) -> Option<Pod<'_>> {
        let path = match self.kind() {
            "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet" | "Job" => "spec.template",
            "CronJob" => "spec.jobTemplate.spec.template",
            "Pod" => "",
            _ => return None,
        };
        Some(Pod { owner: self, path, template: self.get(path) })
    }

    /// How a test breaks it: puts `value` at `path`, where its parent has to be.
    pub(crate) fn set(&mut self, path: &str, value: Value) {
        let steps = steps(path);
        let (last, parents) = steps.split_last().expect("a path has a step");
        let mut place = &mut self.0;
        for step in parents {
            place = enter(place, step).unwrap_or_else(|| panic!("nothing at {step} of {path}"));
        }
        if let (Value::Object(map), Some(key)) = (&mut *place, last.get(1..)) {
            map.insert(key.to_owned(), value);
        } else {
            *enter(place, last).unwrap_or_else(|| panic!("nothing at {path}")) = value;
        }
    }
}

impl<'a> Pod<'a> {
    /// What is at `path` of the pod template.
    pub(crate) fn get(&self, path: &str) -> &'a Value {
        at(self.template, path)
    }

    /// The list at `path` of the pod template, empty where there is none.
    pub(crate) fn list(&self, path: &str) -> &'a [Value] {
        list(self.get(path))
    }

    /// The path, in the owner, of what has this path in the pod template.
    pub(crate) fn path(&self, path: &str) -> String {
        [self.path, path].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(".")
    }

    pub(crate) fn labels(&self) -> &'a Value {
        self.get("metadata.labels")
    }

    /// Each container of every kind, with its path in the owner.
    pub(crate) fn containers(&self) -> Vec<(String, &'a Value)> {
        let kinds = ["containers", "initContainers", "ephemeralContainers"];
        let each = kinds.into_iter().flat_map(|kind| {
            let path = self.path(&format!("spec.{kind}"));
            let named =
                move |container: &'a Value| (format!("{path}[{}]", text(&container["name"])), container);
            self.list(&format!("spec.{kind}")).iter().map(named)
        });
        each.collect()
    }
}

/// What is at `path` of `value`, null where there is nothing: keys after dots; in brackets a key that has dots itself, the
/// index in a list, or the `name` of one of its elements. `spec.containers[nats].ports[0]`
pub(crate) fn at<'a>(value: &'a Value, path: &str) -> &'a Value {
    steps(path).iter().fold(value, |value, step| look(value, step).unwrap_or(&Value::Null))
}

pub(crate) fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

pub(crate) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// The entries of a map, none where it is something else.
pub(crate) fn entries(value: &Value) -> impl Iterator<Item = (&str, &Value)> {
    value.as_object().into_iter().flatten().map(|(key, value)| (key.as_str(), value))
}

/// Each document of a YAML stream as kubectl understands it: a number that begins with 0 is octal, a key that comes twice is an
/// error.
pub(crate) fn parse_yaml(yaml: &str) -> Result<Vec<Value>, String> {
    let options = serde_saphyr::options! { legacy_octal_numbers: true };
    serde_saphyr::from_multiple_with_options(yaml, options).map_err(|error| error.to_string())
}

/// The steps of a path, each with the sign that it begins with.
fn steps(path: &str) -> Vec<String> {
    let mut steps: Vec<String> = Vec::new();
    let mut bracket = false;
    for sign in path.chars() {
        match sign {
            '.' if !bracket => steps.push('.'.into()),
            '[' => {
                bracket = true;
                steps.push('['.into());
            }
            ']' => bracket = false,
            other => match steps.last_mut() {
                Some(step) => step.push(other),
                None => steps.push(format!(".{other}")),
            },
        }
    }
    steps
}

fn position(list: &[Value], step: &str) -> Option<usize> {
    let name = step.get(1..)?;
    name.parse().ok().or_else(|| list.iter().position(|element| element["name"] == name))
}

fn look<'a>(value: &'a Value, step: &str) -> Option<&'a Value> {
    match value {
        Value::Array(list) => list.get(position(list, step)?),
        other => other.get(step.get(1..)?),
    }
}

fn enter<'a>(value: &'a mut Value, step: &str) -> Option<&'a mut Value> {
    match value {
        Value::Array(list) => {
            let position = position(list, step)?;
            list.get_mut(position)
        }
        other => other.get_mut(step.get(1..)?),
    }
}
