//! The documents that are shipped beside the daemon, in the layout that users get them in.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::repository;

/// Where the Debian package has its documents.
const DOCUMENTS: &str = "usr/share/doc/broadcaster";

/// Puts the documents of the Debian package below `root`, as Cargo.toml tells cargo-deb to.
pub(super) fn lay_out_package(root: &Path) {
    let manifest = fs::read_to_string(repository("Cargo.toml")).expect("there is a manifest");
    let manifest: toml::Table = manifest.parse().expect("the manifest is TOML");
    let assets = manifest["package"]["metadata"]["deb"]["assets"].as_array().expect("a list");
    for asset in assets {
        let [source, target] = [&asset[0], &asset[1]].map(|path| path.as_str().expect("a path is text"));
        let Some(folder) = target.strip_prefix(DOCUMENTS) else { continue };
        let folder = root.join(folder.trim_start_matches('/'));
        for file in matching(source) {
            if target.ends_with('/') {
                let name = file.file_name().expect("a file has a name");
                copy(&file, &folder.join(name));
            } else {
                copy(&file, &folder);
            }
        }
    }
}

/// Unpacks the archive of a release below `root`, with stand-ins for what is built.
pub(super) fn lay_out_archive(root: &Path) {
    let built = tempfile::tempdir().expect("a temporary directory can be made");
    let built = built.path();
    for file in ["broadcaster", "broadcaster.1", "broadcaster.bash", "_broadcaster", "broadcaster.fish"] {
        fs::write(built.join(file), "").expect("it is writable");
    }
    let archive = built.join("broadcaster.tar.gz");
    let mut pack = Command::new(repository("packaging/archive.sh"));
    run(pack.arg(built.join("broadcaster")).arg(built).arg(&archive));
    run(Command::new("tar").arg("--extract").arg("--file").arg(archive).arg("--directory").arg(root));
}

fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// The files of the repository that an asset means: one, or those that fit a `*` in its name.
fn matching(source: &str) -> Vec<PathBuf> {
    let path = repository(source);
    let name = path.file_name().and_then(|name| name.to_str()).expect("a file has a name");
    let Some((before, after)) = name.split_once('*') else { return vec![path] };
    let folder = path.parent().expect("a file is in a folder").read_dir().expect("it can be read");
    let files = folder.map(|file| file.expect("it can be read").path());
    let fits = |file: &PathBuf| {
        let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name.starts_with(before) && name.ends_with(after)
    };
    let files: Vec<_> = files.filter(fits).collect();
    assert!(!files.is_empty(), "{source} means no file");
    files
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to.parent().expect("a file is in a folder")).expect("it is writable");
    fs::copy(from, to).unwrap_or_else(|error| panic!("{}: {error}", from.display()));
}
