//! The manifests below `k8s/`, as they are built: what platform.md and the issue say of them, and what a cluster would say.
//!
//! A check is a function from an overlay to what is wrong with it. Each kind of check is shown to work: `broken` takes an overlay
//! that is good, breaks one thing, and wants exactly that to be found.
#![allow(clippy::doc_markdown, reason = "the kinds of Kubernetes are words here")]
#![expect(clippy::panic, reason = "a test fails by a panic that says what is missing")]

mod azure;
mod build;
mod bus;
mod capacity;
mod configuration;
mod container;
mod environment;
mod figures;
mod gitops;
mod object;
mod overlay;
mod readme;
mod references;
mod rollout;
mod running;
mod schema;
mod security;
mod selectors;
mod sources;
mod traffic;
