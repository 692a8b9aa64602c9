//! `[routes.NAME.webhook]` as TOML, with all that is below it.

use super::TomlWriter;
use crate::config::{
    Body, BodyTemplate, CloudEvents, Concurrency, MASK, Oauth2, Proxying, Scheme, Signing, Webhook,
    WebhookAuth, WebhookTls, parse::Choice,
};

impl TomlWriter {
    pub(super) fn webhook(&mut self, route: &str, webhook: &Webhook) {
        self.section(&format!("{route}.webhook"));
        self.text("url", &webhook.url);
        self.text("method", webhook.method.as_str());
        self.text("http", webhook.http.as_str());
        self.list("forward", webhook.forward.patterns());
        self.body(&webhook.body);
        self.duration("timeout", webhook.timeout);
        self.duration("connect_timeout", webhook.connect_timeout);
        self.duration("idle_timeout", webhook.idle_timeout);
        self.duration("max_connection_age", webhook.max_connection_age);
        self.bare("concurrency", webhook.concurrency);
        if let Concurrency::Adaptive { min, max } = webhook.concurrency {
            self.bare("min_concurrency", min);
            self.bare("max_concurrency", max);
        }
        if !webhook.headers.is_empty() {
            self.section(&format!("{route}.webhook.headers"));
        }
        for name in webhook.headers.keys() {
            // Quoted, since not every header's name is a bare key; none has a quote or a backslash in it.
            self.text(&format!("\"{name}\""), MASK);
        }
        if !webhook.header_templates.is_empty() {
            self.section(&format!("{route}.webhook.header_templates"));
        }
        for (name, _) in &webhook.header_templates {
            self.text(&format!("\"{name}\""), MASK);
        }
        if let Body::CloudEvents(CloudEvents { mode, attributes }) = &webhook.body {
            self.section(&format!("{route}.webhook.cloudevents"));
            self.text("mode", mode.word());
            for (attribute, source) in attributes {
                self.text(attribute.name(), source.as_str());
            }
        }
        if let Some(compression) = &webhook.compression {
            self.section(&format!("{route}.webhook.compression"));
            self.text("encoding", compression.encoding.word());
            self.bare("min", compression.min);
        }
        let secrets = webhook.secrets.names();
        if !secrets.is_empty() {
            self.section(&format!("{route}.webhook.secrets"));
        }
        for name in secrets {
            self.text(&name, MASK);
        }
        self.egress(route, webhook);
        self.tls(&format!("{route}.webhook.tls"), &webhook.tls);
        if let Some(auth) = &webhook.auth {
            self.auth(&format!("{route}.webhook.auth"), auth);
        }
        if let Some(signing) = &webhook.signing {
            self.signing(&format!("{route}.webhook.signing"), signing);
        }
    }

    fn egress(&mut self, route: &str, webhook: &Webhook) {
        let egress = &webhook.egress;
        self.section(&format!("{route}.webhook.egress"));
        self.bare("deny_private", egress.deny_private);
        if !egress.allow.is_empty() {
            let networks: Vec<_> = egress.allow.iter().map(ToString::to_string).collect();
            self.bare("allow", toml::Value::from(networks));
        }
        self.bare("https_only", egress.https_only);
        if !egress.ports.is_empty() {
            let ports: Vec<_> = egress.ports.iter().map(|port| i64::from(*port)).collect();
            self.bare("ports", toml::Value::from(ports));
        }
        match egress.proxy(&webhook.url) {
            Some(proxy) => self.text("proxy", proxy),
            None if egress.proxy == Proxying::Direct => self.text("proxy", "none"),
            None => {}
        }
    }

    fn body(&mut self, body: &Body) {
        self.text("format", body.word());
        if let Body::Template(BodyTemplate { source, file, content_type }) = body {
            match file {
                Some(file) => self.path("template_file", Some(file)),
                None => self.text("template", source.as_str()),
            }
            self.text("content_type", content_type.to_str().unwrap_or_default());
        }
    }

    fn signing(&mut self, section: &str, signing: &Signing) {
        self.section(section);
        self.text("scheme", signing.scheme.word());
        if signing.scheme == Scheme::Custom {
            let convention = &signing.convention;
            self.text("header", &convention.header);
            self.text("signed", &convention.signed);
            self.text("algorithm", convention.algorithm.word());
            self.text("encoding", convention.encoding.word());
            // An empty one is no text that could be read again.
            let texts = [
                ("timestamp_header", convention.timestamp_header.as_deref().unwrap_or_default()),
                ("lead", &convention.lead.to_string()),
                ("prefix", &convention.prefix),
                ("separator", convention.separator.as_deref().unwrap_or_default()),
            ];
            texts
                .into_iter()
                .filter(|(_, text)| !text.is_empty())
                .for_each(|(key, text)| self.text(key, text));
        }
        for key in &signing.keys {
            self.section(&format!("{section}.keys.{}", key.name));
            match &key.file {
                Some(file) => self.path("secret_file", Some(file)),
                None => self.text("secret", MASK),
            }
            if let Some(until) = key.until {
                self.text("until", humantime::format_rfc3339(until));
            }
        }
    }

    pub(super) fn tls(&mut self, section: &str, tls: &WebhookTls) {
        let WebhookTls { ca, system_roots, client, accept_any } = tls;
        self.section(section);
        self.path("ca_file", ca.as_ref().map(|ca| ca.file.as_path()));
        self.bare("system_roots", system_roots);
        self.path("cert_file", client.as_ref().map(|client| client.cert_file.as_path()));
        self.path("key_file", client.as_ref().map(|client| client.key_file.as_path()));
        self.bare("dangerously_accept_any_certificate", accept_any);
    }

    fn auth(&mut self, section: &str, auth: &WebhookAuth) {
        match auth {
            WebhookAuth::Basic(basic) => {
                self.section(&format!("{section}.basic"));
                self.text("user", &basic.user);
                self.text("password", MASK);
            }
            WebhookAuth::Bearer(_) => {
                self.section(&format!("{section}.bearer"));
                self.text("token", MASK);
            }
            WebhookAuth::Aws(aws) => {
                self.section(&format!("{section}.aws"));
                self.text("region", &aws.region);
                self.text("service", &aws.service);
                self.text("access_key_id", MASK);
                self.text("secret_access_key", MASK);
                if aws.session_token.is_some() {
                    self.text("session_token", MASK);
                }
            }
            WebhookAuth::Oauth2(oauth2) => self.oauth2(&format!("{section}.oauth2"), oauth2),
        }
    }

    fn oauth2(&mut self, section: &str, oauth2: &Oauth2) {
        self.section(section);
        self.text("token_url", &oauth2.token_url);
        self.text("client_id", &oauth2.client_id);
        if oauth2.client_secret.is_some() {
            self.text("client_secret", MASK);
        }
        self.text("client_auth", oauth2.client_auth.word());
        for (key, value) in [("scope", &oauth2.scope), ("audience", &oauth2.audience)] {
            if let Some(value) = value {
                self.text(key, value);
            }
        }
        if !oauth2.parameters.is_empty() {
            self.section(&format!("{section}.parameters"));
        }
        for name in oauth2.parameters.keys() {
            self.text(&toml::Value::from(name.as_str()).to_string(), MASK);
        }
        self.tls(&format!("{section}.tls"), &oauth2.tls);
    }
}
