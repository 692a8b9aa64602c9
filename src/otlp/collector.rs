//! The collector: how it is asked to take something, whatever that is and whatever it says.

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Uri,
    header::{CONTENT_LENGTH, CONTENT_TYPE, USER_AGENT},
};

use crate::{
    base::{clock::Clock, watched_file::Watched},
    config::Tracing,
    deliver::{endpoint::Surroundings, fault::Fault, post::Poster},
};

/// Where spans are posted to.
pub struct Collector {
    poster: Poster,
    target: Uri,
    headers: HeaderMap,
    header_files: Vec<(HeaderName, Watched<HeaderValue>)>,
}

impl Collector {
    /// As `settings` say.
    pub fn new(settings: &Tracing, surroundings: &Surroundings, clock: Clock) -> Self {
        let Surroundings { network, files } = surroundings;
        let url = settings.endpoint.traces();
        let transport = network.transport_to(url, &settings.egress, &settings.tls, files);
        Self {
            poster: Poster::new(url, transport, settings.timeout, clock),
            // A path of an address is one of a request.
            target: url.path_and_query().parse().unwrap_or_default(),
            headers: settings.headers.clone(),
            header_files: surroundings.header_files(&settings.headers, &settings.header_files),
        }
    }

    /// Asks it to take nothing, to see whether it would take anything.
    ///
    /// # Errors
    /// There is no answer, or not in time.
    pub async fn try_out(&self) -> Result<Response<Bytes>, Fault> {
        // A request for the export of no spans has no fields, and so no bytes.
        self.post(Bytes::new()).await
    }

    /// Posts the body of a request for an export, and returns the answer, whatever its status.
    pub(super) async fn post(&self, body: Bytes) -> Result<Response<Bytes>, Fault> {
        let length = body.len();
        let mut request = Request::new(body);
        *request.method_mut() = Method::POST;
        request.uri_mut().clone_from(&self.target);
        let headers = request.headers_mut();
        headers
            .insert(USER_AGENT, HeaderValue::from_static(concat!("broadcaster/", env!("CARGO_PKG_VERSION"))));
        headers.extend(self.headers.clone());
        for (name, file) in &self.header_files {
            headers.insert(name, HeaderValue::clone(&file.current()));
        }
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
        // The library leaves it out where there is nothing, and not every server takes that.
        headers.insert(CONTENT_LENGTH, length.into());
        self.poster.post(request).await
    }
}

/// Why there is no answer. The words are those for webhooks, whose settings stand elsewhere.
pub fn cause(fault: &Fault) -> String {
    let cause = fault.cause.as_deref().unwrap_or("the collector does not answer");
    cause.replace("webhook.tls.", "tracing.tls.")
}
