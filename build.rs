//! Has the linker put side by side what a daemon runs (`packaging/layout.ld` says why), where it can.

use std::env;

const LAYOUT: &str = "packaging/layout.ld";

fn main() {
    println!("cargo:rerun-if-changed={LAYOUT}");
    // Functions have sections of their own names in these object files. What is not optimised has others.
    let known =
        is("CARGO_CFG_TARGET_OS", "linux") && is("CARGO_CFG_TARGET_ENV", "gnu") && is("PROFILE", "release");
    if known && !chosen_linker() {
        let package = env::var("CARGO_MANIFEST_DIR").expect("cargo says where the package is");
        println!("cargo:rustc-link-arg-bins=-T{package}/{LAYOUT}");
    }
}

fn is(variable: &str, value: &str) -> bool {
    env::var(variable).is_ok_and(|set| set == value)
}

/// Whether the flags name a linker: there are some that read no such files.
fn chosen_linker() -> bool {
    let flags = env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    ["fuse-ld", "linker="].iter().any(|choice| flags.contains(choice))
}
