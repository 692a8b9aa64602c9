//! A secret from the settings, or what its file holds now.

use std::sync::Arc;

use crate::{
    base::watched_file::{Watched, WatchedFiles},
    config::{Secret, SecretFile, SecretText},
};

/// A secret that may stand in a file, which is read again when it changes.
#[derive(Debug)]
pub(super) enum KeptSecret {
    Inline(Arc<Secret>),
    InFile(Watched<Secret>),
}

impl KeptSecret {
    pub(super) fn new(text: &SecretText, files: &WatchedFiles) -> Self {
        match text {
            SecretText::Inline(secret) => Self::Inline(Arc::new(secret.clone())),
            SecretText::InFile(file) => {
                Self::InFile(files.watch(&file.path, file.contents.clone(), SecretFile::read))
            }
        }
    }

    pub(super) fn current(&self) -> Arc<Secret> {
        match self {
            Self::Inline(secret) => Arc::clone(secret),
            Self::InFile(file) => file.current(),
        }
    }
}
