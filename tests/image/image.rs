//! What is in the image, made without a container engine, by the script that the Dockerfile runs.

use std::collections::BTreeMap;
use std::env;
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/rootfs.sh");

/// A root filesystem.
pub(crate) struct Image {
    directory: TempDir,
}

/// A file or a folder of it.
#[derive(PartialEq, Eq)]
pub(crate) struct Entry {
    /// Type and permissions.
    pub(crate) mode: u32,
    /// Who owns it: user and group.
    pub(crate) owner: (u32, u32),
    /// When it was changed, in seconds since 1970.
    pub(crate) changed: i64,
    /// What is in it; nothing in a folder.
    pub(crate) content: Vec<u8>,
}

impl Image {
    /// With the binary that `BROADCASTER` names.
    pub(crate) fn build() -> Self {
        let binary = env::var_os("BROADCASTER").expect("BROADCASTER names the release build: use `make`");
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        let built = Command::new(SCRIPT).arg(binary).arg(directory.path().join("rootfs")).output();
        let built = built.expect("the script can be started");
        assert!(built.status.success(), "{SCRIPT}: {}", String::from_utf8_lossy(&built.stderr));
        Self { directory }
    }

    /// Where its `rootfs` lies, and nothing else.
    pub(crate) fn folder(&self) -> &Path {
        self.directory.path()
    }

    fn root(&self) -> PathBuf {
        self.folder().join("rootfs")
    }

    /// All that is in it, by its path below the root.
    pub(crate) fn entries(&self) -> BTreeMap<PathBuf, Entry> {
        let mut entries = BTreeMap::new();
        collect(&self.root(), &self.root(), &mut entries);
        entries
    }
}

fn collect(root: &Path, folder: &Path, entries: &mut BTreeMap<PathBuf, Entry>) {
    for entry in fs::read_dir(folder).expect("a folder of the image can be read") {
        let path = entry.expect("a folder of the image can be read").path();
        let metadata = fs::symlink_metadata(&path).expect("it is there");
        if metadata.is_dir() {
            collect(root, &path, entries);
        }
        let below = path.strip_prefix(root).expect("it is below the root").to_owned();
        entries.insert(below, Entry::new(&path, &metadata));
    }
}

impl Entry {
    fn new(path: &Path, metadata: &Metadata) -> Self {
        let content = if metadata.is_file() { fs::read(path).expect("it can be read") } else { Vec::new() };
        let owner = (metadata.uid(), metadata.gid());
        Self { mode: metadata.mode(), owner, changed: metadata.mtime(), content }
    }
}
