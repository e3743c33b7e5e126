//! What may lie in the repository: the agreed top level, and no traces of somebody's machine.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::Finding;

/// The agreed top level. `python` comes when there is something in it.
const TOP: &[&str] = &[
    ".ci",
    ".gitignore",
    "CHANGELOG.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "Makefile",
    "README.md",
    "benches",
    "clippy.toml",
    "deny.toml",
    "docs",
    "engine",
    "ffi",
    "include",
    "pyproject.toml",
    "rustfmt.toml",
    "tests",
];
const TOP_ALLOWED: &[&str] = &["SECURITY.md", "python"];
/// What git does not keep.
const IGNORED: &[&str] = &[".git", ".mypy_cache", ".setup", "target", "__pycache__"];
const SOURCES: &[&str] = &["engine", "benches", "tests", "ffi", "python"];
/// Packages; those that lie within another one too.
const MANIFESTS: &[&str] = &[
    "engine",
    "benches",
    "benches/compare",
    "tests",
    "tests/fuzz",
    "tests/threads",
    "ffi",
    "python",
];

const DEPENDENCIES: &str = "docs/dependencies.md";

/// Pieces of words that belong to a machine, joined so that this file does not hold them.
const FORBIDDEN: &[(&str, &str)] =
    &[("/ho", "me/"), ("/ro", "ot/"), ("/Us", "ers/"), ("/wo", "rk/"), ("/tmp/w", "t-")];

/// A Rust source file.
pub struct Source {
    /// Relative to the repository.
    pub file: String,
    /// Its whole text.
    pub text: String,
}

/// The repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ has a parent").to_path_buf()
}

/// Every `.rs` file of the packages.
pub fn rust_sources(root: &Path) -> Vec<Source> {
    let mut files = Vec::new();
    for package in SOURCES {
        walk(&root.join(package), &mut files);
    }
    files.retain(|file| file.extension().is_some_and(|extension| extension == "rs"));
    let text = |file: &Path| fs::read_to_string(file).expect("a source is readable UTF-8");
    files.iter().map(|file| Source { file: relative(root, file), text: text(file) }).collect()
}

/// Checks the whole tree.
pub fn check(root: &Path) -> Vec<Finding> {
    let mut findings = top_level(&names(root));
    let read = |file: &str| fs::read_to_string(root.join(file)).unwrap_or_default();
    let manifests: Vec<String> =
        MANIFESTS.iter().map(|package| read(&format!("{package}/Cargo.toml"))).collect();
    findings.extend(dependencies(&manifests, &read(DEPENDENCIES)));
    let mut files = Vec::new();
    walk(root, &mut files);
    for file in files {
        if let Ok(text) = fs::read_to_string(&file) {
            findings.extend(words(&relative(root, &file), &text));
        }
    }
    findings
}

fn top_level(names: &[String]) -> Vec<Finding> {
    let finding =
        |file: &str, what: &str| Finding { file: file.into(), line: 0, what: what.into() };
    let is = |list: &[&str], name: &str| list.contains(&name);
    let strange =
        names.iter().filter(|name| !is(TOP, name) && !is(TOP_ALLOWED, name) && !is(IGNORED, name));
    let missing = TOP.iter().filter(|name| !names.iter().any(|there| there == *name));
    strange
        .map(|name| finding(name, "is not part of the agreed top level"))
        .chain(missing.map(|name| finding(name, "is missing from the top level")))
        .collect()
}

/// Every crate that a package asks for has a row with its reason, and every row a crate.
fn dependencies(manifests: &[String], page: &str) -> Vec<Finding> {
    let finding = |what| Finding { file: DEPENDENCIES.to_owned(), line: 0, what };
    let mut used = BTreeSet::new();
    for manifest in manifests {
        let mut within = false;
        for line in manifest.lines() {
            if line.starts_with('[') {
                within = line.ends_with("dependencies]");
            } else if within && line.starts_with(|c: char| c.is_alphanumeric()) {
                used.extend(
                    line.split([' ', '.', '=']).next().filter(|name| !name.starts_with("ringlog")),
                );
            }
        }
    }
    let rows: BTreeSet<&str> = page
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.split(' ').next())
        .filter(|name| *name != "crate")
        .collect();
    let unexplained = used.difference(&rows).map(|name| format!("`{name}` has no row"));
    let unused = rows.difference(&used).map(|name| format!("`{name}` is not used by any package"));
    unexplained.chain(unused).map(finding).collect()
}

fn words(file: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (at, line) in text.lines().enumerate() {
        for (start, end) in FORBIDDEN {
            let word = format!("{start}{end}");
            if line.match_indices(&word).any(|(column, _)| begins_a_path(line, column)) {
                let what = format!("names a path of one machine, `{word}`");
                findings.push(Finding { file: file.to_owned(), line: at + 1, what });
            }
        }
    }
    findings
}

/// Whether an absolute path begins at this column, rather than a relative one going on.
fn begins_a_path(line: &str, column: usize) -> bool {
    let before = line[..column].chars().next_back();
    !before.is_some_and(|c| c.is_alphanumeric() || "._-/}>~$".contains(c))
}

fn walk(dir: &Path, files: &mut Vec<PathBuf>) {
    for name in names(dir) {
        let path = dir.join(&name);
        let is_dir = path.symlink_metadata().is_ok_and(|metadata| metadata.is_dir());
        if IGNORED.contains(&name.as_str()) {
        } else if is_dir {
            walk(&path, files);
        } else {
            files.push(path);
        }
    }
}

fn names(dir: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let mut names: Vec<String> = entries
        .map(|entry| entry.expect("the directory is readable").file_name())
        .map(|name| name.into_string().expect("names are UTF-8"))
        .collect();
    names.sort();
    names
}

fn relative(root: &Path, file: &Path) -> String {
    file.strip_prefix(root).expect("walked from the root").display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agreed() -> Vec<String> {
        TOP.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_strange_or_a_missing_name_at_the_top_is_found() {
        assert!(top_level(&agreed()).is_empty());
        let mut more = agreed();
        more.push("notes.txt".to_owned());
        assert_eq!(top_level(&more)[0].file, "notes.txt");
        assert_eq!(top_level(&agreed()[1..])[0].file, TOP[0]);
    }

    #[test]
    fn a_dependency_without_a_reason_is_found_and_so_is_a_reason_without_one() {
        let manifest = "[package]\nname = \"a\"\n[dependencies]\nserde.workspace = true\n\
                        ringlog = { path = \"a\" }\n[dev-dependencies]\nsyn = \"2\"\n";
        let found = |page| dependencies(&[manifest.to_owned()], page).len();
        assert_eq!(found("| crate | why |\n| serde | a |\n| syn | b |\n"), 0);
        assert_eq!(found("| crate | why |\n| serde | a |\n"), 1);
        assert_eq!(found("| serde | a |\n| syn | b |\n| rand | c |\n"), 1);
    }

    #[test]
    fn a_path_of_one_machine_is_found() {
        for (start, end) in FORBIDDEN {
            let text = format!("fine\nsee {start}{end}somebody/file\n");
            assert_eq!(words("README.md", &text).len(), 1, "{text}");
        }
        let (start, end) = FORBIDDEN[0];
        assert!(words("README.md", &format!("docs{start}{end}page\n")).is_empty());
    }
}
