//! Gives the shared library its SONAME, so that programs find it by its ABI and not by its file.

fn main() {
    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libringlog.so.0");
    println!("cargo:rerun-if-changed=build.rs");
}
