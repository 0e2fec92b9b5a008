//! Build script: lays the functions that every daemon runs side by side in the program.
//!
//! The kernel maps 64 KiB around each page of a program that is touched, and the daemon touches a fifth of its code. In
//! the order of the compiler that fifth lies all over it and nearly all becomes resident; in that of `order.ld`, which
//! `make order` writes, it does not. Names in that list that a compiler does not make are passed over, and only cost memory.

use std::env;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=packaging/order.ld");
    let of = |name| env::var(name).unwrap_or_default();
    if of("PROFILE") == "release" && of("CARGO_CFG_TARGET_OS") == "linux" && linker_knows_scripts() {
        println!("cargo::rustc-link-arg-bins=-T");
        println!("cargo::rustc-link-arg-bins={}/packaging/order.ld", of("CARGO_MANIFEST_DIR"));
    }
}

/// Whether it is the usual linker, and one that adds to its own script what another one inserts: that of GNU or of LLVM.
/// Those of others, such as gold and mold, refuse the file.
#[expect(clippy::disallowed_methods, reason = "it is asked while the program is built")]
fn linker_knows_scripts() -> bool {
    let chosen = env::var_os("RUSTC_LINKER").is_some()
        || env::var("CARGO_ENCODED_RUSTFLAGS").is_ok_and(|flags| flags.contains("link"));
    let asked = Command::new("cc").arg("-Wl,--version").output();
    let name = asked.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    !chosen && (name.starts_with("GNU ld ") || name.contains("LLD"))
}
