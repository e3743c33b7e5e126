//! `include/ringlog.h` is what cbindgen makes of this package, and nothing else. After a change of
//! the package, `RINGLOG_BLESS=1 cargo test -p ringlog-ffi --test header` writes it anew.

use std::fs;
use std::path::{Path, PathBuf};

use cbindgen::{Config, DocumentationStyle, Language, Style};

/// What stands at the top of the header, before the first include.
const PREFACE: &str = r"/*
 * Ringlog: a durable commit log that lives in your process.
 *
 * Made by cbindgen from the package `ringlog-ffi`; do not edit.
 *
 * What holds for every function:
 *
 * - What `_open`, `_create`, `_new` or `_ref` gives is the caller's until its `_free`, which
 *   accepts NULL. A borrowed pointer names its owner.
 * - A handle must not be used during or after its `_free`. Otherwise a handle may be used by any
 *   number of threads at once where its type says so.
 * - Inputs are copied before a call returns. Outputs are written on success only. `error` may be
 *   NULL; where it is not, a failed call puts an error there, which is the caller's until
 *   `ringlog_error_free`. A successful call does not touch it.
 * - Options begin with their size; all other fields may be zero, which is their default. An array
 *   goes with the size of its elements. So an older header works with a newer library, and a newer
 *   header with an older library as long as it asks for nothing that this does not know.
 * - Timeouts are in nanoseconds: `RINGLOG_FOREVER`, `RINGLOG_DEFAULT_TIMEOUT`, or 0 and above.
 * - Errors are named here without their `RINGLOG_E_`. Any call can give INVALID_ARGUMENT, for NULL
 *   where there must be something; CLOSED after `ringlog_close`; FORKED in a child; and PANIC.
 * - Nothing unwinds or jumps out of a call, and none calls back.
 */";

fn header() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("ffi/ has a parent").join("include")
}

fn config() -> Config {
    let version = env!("CARGO_PKG_VERSION");
    let parts: Vec<&str> = version.split(['.', '-']).collect();
    let [major, minor, patch, ..] = parts[..] else { panic!("not a version: {version}") };
    let macros = format!(
        "\n#define RINGLOG_VERSION_MAJOR {major}\n#define RINGLOG_VERSION_MINOR {minor}\n\
         #define RINGLOG_VERSION_PATCH {patch}\n#define RINGLOG_VERSION_STRING \"{version}\"\n\
         /* Grows with every release; what `ringlog_version` answers. */\n\
         #define RINGLOG_VERSION \\\n    (RINGLOG_VERSION_MAJOR * 1000000 + RINGLOG_VERSION_MINOR \
         * 1000 + RINGLOG_VERSION_PATCH)\n\n\
         /* Of Arrow's C data interface; a header of Arrow's defines them. */\n\
         struct ArrowSchema;\nstruct ArrowArray;\n"
    );
    Config {
        header: Some(PREFACE.to_owned()),
        include_guard: Some("RINGLOG_H".to_owned()),
        no_includes: true,
        sys_includes: vec!["stddef.h".to_owned(), "stdint.h".to_owned()],
        after_includes: Some(macros),
        language: Language::C,
        cpp_compat: true,
        style: Style::Both,
        usize_is_size_t: true,
        documentation_style: DocumentationStyle::C99,
        line_length: 100,
        ..Config::default()
    }
}

fn generated() -> String {
    let mut config = config();
    config.documentation_style = DocumentationStyle::C;
    config.function.sort_by = Some(cbindgen::SortKey::None);
    let rename = |from: &str, to: &str| (from.to_owned(), to.to_owned());
    config.export.rename.extend([
        rename("FFI_ArrowSchema", "struct ArrowSchema"),
        rename("FFI_ArrowArray", "struct ArrowArray"),
    ]);
    let bindings = cbindgen::Builder::new()
        .with_config(config)
        .with_crate(env!("CARGO_MANIFEST_DIR"))
        .generate()
        .expect("cbindgen reads the package");
    let mut text = Vec::new();
    bindings.write(&mut text);
    String::from_utf8(text).expect("the header is UTF-8")
}

#[test]
fn the_header_is_what_the_package_says() {
    let path = header().join("ringlog.h");
    let fresh = generated();
    if std::env::var_os("RINGLOG_BLESS").is_some() {
        fs::create_dir_all(header()).expect("include/ can be made");
        fs::write(&path, &fresh).expect("the header can be written");
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    let differ = kept.lines().zip(fresh.lines()).position(|(kept, fresh)| kept != fresh);
    assert!(
        kept == fresh,
        "include/ringlog.h is stale from line {:?} on; RINGLOG_BLESS=1 writes it anew",
        differ.map(|line| line + 1)
    );
}
