//! `[server]` as TOML.

use super::TomlWriter;
use crate::config::{MASK, Server};

impl TomlWriter {
    pub(super) fn server(&mut self, server: &Server) {
        self.section("server");
        self.text("api", server.api);
        self.text("metrics", server.metrics);
        self.bare("page", server.page);
        for token in &server.tokens {
            self.section(&format!("server.tokens.{}", token.name));
            self.text("token", MASK);
            self.text("role", token.role.word());
        }
        if let Some(identity) = &server.tls {
            self.section("server.tls");
            self.path("cert_file", Some(&identity.cert_file));
            self.path("key_file", Some(&identity.key_file));
        }
    }
}
