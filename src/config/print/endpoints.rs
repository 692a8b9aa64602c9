//! `[endpoints]` as TOML.

use super::TomlWriter;
use crate::config::Endpoints;

impl TomlWriter {
    pub(super) fn endpoints(&mut self, endpoints: &Endpoints) {
        self.section("endpoints");
        self.text("bucket", endpoints.bucket.as_str());
        if let Some(prefix) = &endpoints.prefix {
            self.text("prefix", prefix);
        }
        self.bare("create", endpoints.create);
        self.path("secrets_dir", endpoints.secrets_dir.as_deref());
        self.bare("max_routes", endpoints.max_routes);
    }
}
