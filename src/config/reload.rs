//! `[reload]`: when the configuration is read again.

use super::{
    parse,
    reader::{Reported, Section},
};

/// `[reload]`: when the configuration is read again, beside being asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reload {
    /// `reload.watch`: whether it is read again when the file, or one that it takes settings from, has changed. Default
    /// true: a volume that Kubernetes brings up to date is meant to count, and a wrong one changes nothing.
    pub watch: bool,
}

pub(super) fn read(at: &Section<'_>) -> Result<Reload, Reported> {
    Ok(Reload { watch: at.or("watch", true, parse::switch)? })
}
