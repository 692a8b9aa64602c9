//! What bodies are made of messages: envelopes, templates, and the configurations for the services that people use.

mod formats;
mod hostile;
mod presets;

use std::time::Duration;

const SOON: Duration = Duration::from_secs(60);
