//! `docs/unsafe.md` against the sources: each file that has `unsafe` code has a row with as many
//! places as are there, and why; nothing is added or taken away unseen.

use std::collections::BTreeMap;

use syn::visit::{self, Visit};

use crate::Finding;

const PAGE: &str = "docs/unsafe.md";

/// What of a file is unsafe: blocks, functions, and promises to the compiler.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Places {
    blocks: usize,
    functions: usize,
    impls: usize,
}

/// Counts the places of one file; one that does not parse is another check's finding.
pub fn count(text: &str) -> Places {
    let mut places = Places::default();
    if let Ok(file) = syn::parse_file(text) {
        places.visit_file(&file);
    }
    places
}

impl<'ast> Visit<'ast> for Places {
    fn visit_expr_unsafe(&mut self, block: &'ast syn::ExprUnsafe) {
        self.blocks += 1;
        visit::visit_expr_unsafe(self, block);
    }

    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        self.impls += usize::from(item.unsafety.is_some());
        visit::visit_item_impl(self, item);
    }

    fn visit_item_trait(&mut self, item: &'ast syn::ItemTrait) {
        self.impls += usize::from(item.unsafety.is_some());
        visit::visit_item_trait(self, item);
    }

    fn visit_signature(&mut self, signature: &'ast syn::Signature) {
        self.functions += usize::from(signature.unsafety.is_some());
        visit::visit_signature(self, signature);
    }
}

/// Compares the page with what was counted, by file.
pub fn check(page: &str, counted: &BTreeMap<String, Places>) -> Vec<Finding> {
    let finding = |line, what| Finding { file: PAGE.to_owned(), line, what };
    let mut findings = Vec::new();
    let mut left = counted.clone();
    left.retain(|_, places| *places != Places::default());
    for (at, line) in page.lines().enumerate() {
        let Some(row) = line.strip_prefix("| `") else { continue };
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let file = cells[0].trim_end_matches('`');
        let number = |cell: usize| cells.get(cell).and_then(|text| text.parse().ok());
        let said = match (number(1), number(2), number(3), cells.get(4)) {
            (Some(blocks), Some(functions), Some(impls), Some(reason)) if !reason.is_empty() => {
                Places { blocks, functions, impls }
            }
            _ => {
                findings
                    .push(finding(at + 1, format!("a row without numbers and a reason: {line}")));
                continue;
            }
        };
        match left.remove(file) {
            None => findings.push(finding(at + 1, format!("{file} has no unsafe code"))),
            Some(there) if there != said => {
                findings.push(finding(at + 1, format!("{file} has {there:?}, not {said:?}")));
            }
            Some(_) => {}
        }
    }
    let missing = |(file, places)| finding(0, format!("{file} has no row: {places:?}"));
    findings.extend(left.into_iter().map(missing));
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "unsafe trait A {}\nunsafe impl A for u8 {}\n\
                        unsafe fn a() { unsafe { b() } }\nfn c() { unsafe { a() } }\n";

    fn counted() -> BTreeMap<String, Places> {
        BTreeMap::from([("a.rs".to_owned(), count(TEXT)), ("b.rs".to_owned(), count("fn b() {}"))])
    }

    #[test]
    fn blocks_functions_and_promises_are_counted() {
        assert_eq!(count(TEXT), Places { blocks: 2, functions: 1, impls: 2 });
    }

    #[test]
    fn a_row_too_many_too_few_or_wrong_is_found() {
        let row =
            |numbers: &str| format!("| file | . |\n|---|---|\n| `a.rs` | {numbers} | why |\n");
        assert_eq!(check(&row("2 | 1 | 2"), &counted()), []);
        assert_eq!(check(&row("2 | 1 | 1"), &counted()).len(), 1);
        assert_eq!(check(&row("2 | 1"), &counted()).len(), 2);
        assert_eq!(check("", &counted()).len(), 1);
        let more = row("2 | 1 | 2") + "| `b.rs` | 0 | 0 | 0 | why |\n";
        assert_eq!(check(&more, &counted()).len(), 1);
    }
}
