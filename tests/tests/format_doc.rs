//! `docs/format.md` and the modules that write those bytes say the same.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::path::Path;

#[test]
fn every_layout_table_of_the_format_modules_is_in_the_format_page() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let page = std::fs::read_to_string(root.join("docs/format.md")).unwrap();
    let mut rows = 0;
    for entry in std::fs::read_dir(root.join("engine/src/format")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "rs") {
            continue;
        }
        let source = std::fs::read_to_string(&path).unwrap();
        // A table's rows must stand there together, in their order.
        let mut table = String::new();
        for line in source.lines().chain([""]) {
            if let Some(row) = line.strip_prefix("//! ").filter(|row| row.starts_with('|')) {
                rows += 1;
                table.push_str(row);
                table.push('\n');
            } else {
                assert!(page.contains(&table), "{}:\n{table}", path.display());
                table.clear();
            }
        }
    }
    assert!(rows > 100, "the tables were found");
}
