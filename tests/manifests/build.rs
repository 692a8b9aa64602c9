//! Building: what `kubectl kustomize` makes of the folders below `k8s/`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::object::Object;
use crate::overlay::Overlay;
use testkit::process;

/// What stands for a branch in the overlays of feature branches, and the branch that the checks put there.
pub(crate) const BRANCH: (&str, &str) = ("BRANCH_NAME", "ex-c4-e6");

/// The folder of all manifests.
pub(crate) fn k8s() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("k8s")
}

/// What this folder builds, as YAML.
pub(crate) fn kustomize(folder: &Path) -> Result<String, String> {
    let output = Command::new(process::tool("kubectl", "KUBECTL")).arg("kustomize").arg(folder).output();
    let output = output.map_err(|error| format!("kubectl: {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    // A warning is about what will not work one day: a field that is deprecated.
    if output.status.success() && said.is_empty() {
        String::from_utf8(output.stdout).map_err(|error| error.to_string())
    } else {
        Err(said.into_owned())
    }
}

/// The names of the folders in this folder of `k8s/` that can be built.
pub(crate) fn folders(below: &str) -> BTreeSet<String> {
    let entries = fs::read_dir(k8s().join(below)).unwrap_or_else(|error| panic!("k8s/{below}: {error}"));
    let paths = entries.map(|entry| entry.expect("k8s can be read").path());
    let built = paths.filter(|path| path.join("kustomization.yaml").is_file());
    built.filter_map(|path| path.file_name()?.to_str().map(str::to_owned)).collect()
}

/// Builds all of these at once, on as many threads as there are processors.
pub(crate) fn build_all(folders: &[(String, PathBuf)]) -> Vec<Overlay> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let share = folders.len().div_ceil(threads).max(1);
    std::thread::scope(|scope| {
        let start = |part: &'_ [(String, PathBuf)]| {
            let part = part.to_vec();
            scope.spawn(move || part.iter().map(|(name, folder)| build(name, folder)).collect::<Vec<_>>())
        };
        let parts: Vec<_> = folders.chunks(share).map(start).collect();
        parts.into_iter().flat_map(|part| part.join().expect("every folder builds")).collect()
    })
}

fn build(name: &str, folder: &Path) -> Overlay {
    let yaml = kustomize(folder).unwrap_or_else(|error| panic!("{name} does not build: {error}"));
    let yaml = yaml.replace(BRANCH.0, BRANCH.1);
    let objects = Object::parse_all(&yaml).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert!(!objects.is_empty(), "{name} is empty");
    Overlay { name: name.to_owned(), objects }
}

/// Every overlay, built once. Those of feature branches are for the branch that [`BRANCH`] names.
pub(crate) fn overlays() -> &'static [Overlay] {
    static OVERLAYS: OnceLock<Vec<Overlay>> = OnceLock::new();
    OVERLAYS.get_or_init(|| {
        let folders = folders("overlays");
        let folders: Vec<_> =
            folders.into_iter().map(|name| (name.clone(), k8s().join("overlays").join(name))).collect();
        build_all(&folders)
    })
}

/// The overlay with this name.
pub(crate) fn overlay(name: &str) -> &'static Overlay {
    let found = overlays().iter().find(|overlay| overlay.name == name);
    found.unwrap_or_else(|| panic!("there is no overlay {name}"))
}

/// A copy of `k8s/` that a test may change.
pub(crate) struct Copy {
    directory: tempfile::TempDir,
}

impl Copy {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        copy(&k8s(), directory.path());
        Self { directory }
    }

    /// A file or folder in the copy.
    pub(crate) fn path(&self, below: &str) -> PathBuf {
        self.directory.path().join(below)
    }

    /// Writes a new file, and its folder where that is missing.
    pub(crate) fn write(&self, below: &str, text: &str) {
        let path = self.path(below);
        fs::create_dir_all(path.parent().expect("it is below the copy")).expect("the copy is writable");
        fs::write(path, text).expect("the copy is writable");
    }

    /// What the folder builds after all changes.
    pub(crate) fn build(&self, name: &str, below: &str) -> Overlay {
        build(name, &self.path(below))
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("the copy is writable");
    for entry in fs::read_dir(from).expect("k8s can be read") {
        let path = entry.expect("k8s can be read").path();
        let target = to.join(path.file_name().expect("an entry has a name"));
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).expect("the copy is writable");
        }
    }
}
