//! Requests that are signed as those to AWS are: Signature Version 4
//! (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv.html>), by the signer of AWS's own SDK.

use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_sigv4::{
    http_request::{
        PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningError,
        SigningSettings, UriPathNormalizationMode, sign,
    },
    sign::v4::SigningParams,
};
use secrecy::ExposeSecret as _;

use super::secret::KeptSecret;
use crate::{
    base::watched_file::WatchedFiles,
    config::{Aws, WebhookUrl},
    deliver::fault::Fault,
    message::outcome::Failure,
};

/// Signs the requests to one webhook.
#[derive(Debug)]
pub struct Signer {
    region: String,
    service: String,
    access_key_id: KeptSecret,
    secret_access_key: KeptSecret,
    session_token: Option<KeptSecret>,
    settings: SigningSettings,
    /// Scheme and authority of the webhook.
    origin: String,
}

/// Name and value of a header that belongs to the signature.
pub type Header = (&'static str, String);

impl Signer {
    pub(super) fn new(aws: &Aws, url: &WebhookUrl, files: &WatchedFiles) -> Self {
        let scheme = if url.server_name().is_some() { "https" } else { "http" };
        let mut settings = SigningSettings::default();
        if aws.service == "s3" {
            // It takes a path as it is, and wants to be told what the body is.
            settings.percent_encoding_mode = PercentEncodingMode::Single;
            settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
            settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        }
        Self {
            region: aws.region.clone(),
            service: aws.service.clone(),
            access_key_id: KeptSecret::new(&aws.access_key_id, files),
            secret_access_key: KeptSecret::new(&aws.secret_access_key, files),
            session_token: aws.session_token.as_ref().map(|token| KeptSecret::new(token, files)),
            settings,
            origin: format!("{scheme}://{}", url.authority()),
        }
    }

    /// The headers of a request with this method, path and query, and body, which is signed at `now`.
    ///
    /// # Errors
    /// [`Failure::Unsendable`]: it can't be signed.
    pub fn headers(
        &self,
        method: &str,
        target: &str,
        body: &[u8],
        now: SystemTime,
    ) -> Result<Vec<Header>, Fault> {
        self.sign(method, target, body, now).map_err(|error| {
            Fault::new(Failure::Unsendable, format_args!("it can't be signed for AWS: {error}"))
        })
    }

    fn sign(
        &self,
        method: &str,
        target: &str,
        body: &[u8],
        now: SystemTime,
    ) -> Result<Vec<Header>, SigningError> {
        let text = |secret: &KeptSecret| secret.current().expose_secret().to_owned();
        let credentials = Credentials::new(
            text(&self.access_key_id),
            text(&self.secret_access_key),
            self.session_token.as_ref().map(text),
            None,
            "broadcaster",
        );
        let identity = credentials.into();
        let parameters = SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name(&self.service)
            .time(now)
            .settings(self.settings.clone())
            .build()
            .expect("all that is needed is given");
        let url = format!("{}{target}", self.origin);
        let request = SignableRequest::new(method, url, std::iter::empty(), SignableBody::Bytes(body))?;
        let (instructions, _signature) = sign(request, &parameters.into())?.into_parts();
        Ok(instructions.headers().map(|(name, value)| (in_usual_case(name), value.to_owned())).collect())
    }
}

/// The usual case of a name, which the signer gives in lower case: some receivers look for that.
fn in_usual_case(name: &str) -> &'static str {
    const NAMES: [&str; 4] = ["Authorization", "X-Amz-Content-Sha256", "X-Amz-Date", "X-Amz-Security-Token"];
    NAMES.into_iter().find(|usual| usual.eq_ignore_ascii_case(name)).unwrap_or("X-Amz-Unknown")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::{Sources, WebhookAuth, load};

    fn signer(url: &str, settings: &[(&str, &str)]) -> Signer {
        let auth = |key: &str| format!("routes.a.webhook.auth.aws.{key}");
        let common = [
            ("region", "us-east-1"),
            ("service", "service"),
            ("access_key_id", "AKIDEXAMPLE"),
            ("secret_access_key", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"),
        ];
        let all = common.iter().chain(settings).map(|(key, value)| (auth(key), (*value).to_owned()));
        let all = all.chain([("routes.a.webhook.url".to_owned(), url.to_owned())]);
        let flags = all.map(|(key, value)| (key, value, "--set".to_owned())).collect();
        let config = load(Sources { flags, ..Sources::default() }).unwrap();
        let webhook = &config.routes[0].webhook;
        let Some(WebhookAuth::Aws(aws)) = &webhook.auth else { panic!("{webhook:?}") };
        Signer::new(aws, &webhook.url, &WatchedFiles::default())
    }

    /// The time of the published test suite: 2015-08-30, 12:36:00.
    fn then() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_440_938_160)
    }

    #[test]
    fn requests_of_the_published_test_suite_are_signed_as_it_says() {
        let signer = signer("https://example.amazonaws.com/", &[]);
        let headers = signer.headers("POST", "/", b"", then()).unwrap();
        let value =
            |name: &str| headers.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str());
        assert_eq!(value("X-Amz-Date"), Some("20150830T123600Z"));
        // post-vanilla
        assert_eq!(
            value("Authorization"),
            Some(
                "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, \
                 SignedHeaders=host;x-amz-date, \
                 Signature=5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"
            )
        );
        // post-vanilla-query
        let headers = signer.headers("POST", "/?Param1=value1", b"", then()).unwrap();
        let authorization = &headers.iter().find(|(name, _)| *name == "Authorization").unwrap().1;
        let expected = "28038455d6de14eafc1f9222cf5aa6f1a96197d7deb8263271d420d138af7f11";
        assert!(authorization.ends_with(expected), "{authorization}");
    }

    #[test]
    fn a_session_and_s3_have_headers_of_their_own() {
        let session = signer("http://a:8080/x", &[("session_token", "token")]);
        let names = |signer: &Signer| {
            let headers = signer.headers("PUT", "/x?y=z", b"body", then()).unwrap();
            headers.into_iter().map(|(name, _)| name).collect::<std::collections::BTreeSet<_>>()
        };
        assert_eq!(names(&session), ["Authorization", "X-Amz-Date", "X-Amz-Security-Token"].into());
        let s3 = signer("https://a/", &[("service", "s3")]);
        assert_eq!(names(&s3), ["Authorization", "X-Amz-Content-Sha256", "X-Amz-Date"].into());
        assert!(!format!("{session:?}").contains("wJalr"));
    }
}
