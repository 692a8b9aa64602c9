//! The files that a container would find, laid out in a folder.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;

use crate::object::{Object, Pod, entries, list, text};
use crate::overlay::Overlay;
use crate::references;

/// A container's folders below a temporary one, with all files that come from ConfigMaps and Secrets.
pub(crate) struct Container {
    root: TempDir,
    definition: Value,
}

impl Container {
    /// Lays out what this container of this workload mounts. In every file the places of mounts are those of the layout; what
    /// stands in Secrets is `secret`.
    pub(crate) fn lay_out(overlay: &Overlay, workload: &str, name: &str, secret: &str) -> Self {
        let root = tempfile::tempdir().expect("a temporary directory can be made");
        let owner = overlay.find(workload).unwrap_or_else(|| panic!("{} has no {workload}", overlay.name));
        let pod = owner.pod().expect("it makes pods");
        let all = pod.containers();
        let (_, definition) =
            all.iter().find(|(_, container)| container["name"] == name).expect("it is there");
        let container = Self { root, definition: (*definition).clone() };
        for mount in list(&definition["volumeMounts"]) {
            fs::create_dir_all(container.place(text(&mount["mountPath"]))).expect("it is writable");
        }
        for (path, key) in references::mounted(overlay, &pod, definition) {
            let content = from_config_map(overlay, &pod, definition, &path, &key);
            let content = content.map_or_else(|| secret.to_owned(), |content| container.moved(&content));
            fs::write(container.place(&path), content).expect("it is writable");
        }
        container
    }

    /// Where a path of the container is.
    pub(crate) fn place(&self, path: &str) -> PathBuf {
        self.root.path().join(path.trim_start_matches('/'))
    }

    /// The value of a variable that the container has, "" where it has none.
    pub(crate) fn variable(&self, name: &str) -> &str {
        let variable = list(&self.definition["env"]).iter().find(|variable| variable["name"] == name);
        variable.map(|variable| text(&variable["value"])).unwrap_or_default()
    }

    /// What a text of the container says when its folders are in the layout.
    fn moved(&self, said: &str) -> String {
        let mounts = list(&self.definition["volumeMounts"]).iter().map(|mount| text(&mount["mountPath"]));
        mounts.fold(said.to_owned(), |said, path| said.replace(path, &self.place(path).display().to_string()))
    }

    /// The files in a folder of the container, by name.
    pub(crate) fn files(&self, folder: &str) -> Vec<String> {
        let entries = fs::read_dir(self.place(folder)).expect("the folder is there");
        let names =
            entries.map(|entry| entry.expect("it can be read").file_name().into_string().expect("a name"));
        let mut names: Vec<_> = names.collect();
        names.sort();
        names
    }

    /// The text of a file of the container.
    pub(crate) fn read(&self, path: &str) -> String {
        let place = self.place(path);
        fs::read_to_string(&place).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// The folder that stands for the container's root.
    pub(crate) fn root(&self) -> &Path {
        self.root.path()
    }
}

/// What a ConfigMap puts at this path; `None` when it comes from elsewhere.
fn from_config_map(
    overlay: &Overlay,
    pod: &Pod<'_>,
    container: &Value,
    path: &str,
    key: &str,
) -> Option<String> {
    let mut mounts = list(&container["volumeMounts"]).iter();
    let mount = mounts.find(|mount| path.starts_with(text(&mount["mountPath"])))?;
    let volume = pod.list("spec.volumes").iter().find(|volume| volume["name"] == mount["name"])?;
    let map = overlay.find(&format!("ConfigMap/{}", text(&volume["configMap"]["name"])))?;
    data(map, key).map(str::to_owned)
}

/// What a ConfigMap has under this key.
pub(crate) fn data<'a>(map: &'a Object, key: &str) -> Option<&'a str> {
    entries(map.get("data")).find(|(known, _)| *known == key).map(|(_, value)| text(value))
}
