//! Style as an executable check: `cargo test -p ringlog-tests --test tidy`.
//!
//! [`layers`] holds the layer table of `docs/design.md`, [`style`] what one source file may look
//! like, [`tree`] what may lie in the repository, [`inventory`] the page of all `unsafe` code. Each
//! of them is also fed what it must refuse. [`waits`] holds that no lock is held across a wait.

mod inventory;
mod layers;
mod style;
mod tree;
mod waits;

use std::fmt;

/// Something that breaks a rule.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// The file, relative to the repository.
    pub file: String,
    /// Its line, from 1; 0 where the whole file is meant.
    pub line: usize,
    /// The rule and what breaks it.
    pub what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.what)
    }
}

#[test]
fn the_sources_are_tidy() {
    let mut findings = tree::check(&tree::root());
    let mut places = std::collections::BTreeMap::new();
    for source in tree::rust_sources(&tree::root()) {
        places.insert(source.file.clone(), inventory::count(&source.text));
        findings.extend(style::check(&source.file, &source.text));
        findings.extend(layers::check(&source.file, &source.text));
    }
    findings.extend(waits::check(&tree::rust_sources(&tree::root())));
    let page = std::fs::read_to_string(tree::root().join("docs/unsafe.md")).unwrap_or_default();
    findings.extend(inventory::check(&page, &places));
    findings.sort();
    let report: Vec<String> = findings.iter().map(ToString::to_string).collect();
    assert!(report.is_empty(), "{} findings:\n{}", report.len(), report.join("\n"));
}
