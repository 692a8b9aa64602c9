//! `[endpoints]` as TOML.

use super::{TomlWriter, size};
use crate::config::{Endpoints, Limits, Subject};

impl TomlWriter {
    pub(super) fn endpoints(&mut self, endpoints: &Endpoints) {
        self.section("endpoints");
        self.text("bucket", endpoints.bucket.as_str());
        if let Some(prefix) = &endpoints.prefix {
            self.text("prefix", prefix);
        }
        self.bare("create", endpoints.create);
        self.path("secrets_dir", endpoints.secrets_dir.as_deref());
        self.path("identity_file", endpoints.identity.as_ref().map(|(path, _)| path.as_path()));
        self.bare("max_routes", endpoints.max_routes);
        let Limits { deny_private, subjects, concurrency, messages, bytes } = &endpoints.limits;
        self.section("endpoints.limits");
        self.bare("deny_private", deny_private);
        self.list("subjects", subjects.iter().map(Subject::as_str));
        for (key, number) in [("concurrency", concurrency), ("messages", messages)] {
            number.iter().for_each(|number| self.bare(key, number));
        }
        bytes.iter().for_each(|bytes| self.text("bytes", size(*bytes)));
    }
}
