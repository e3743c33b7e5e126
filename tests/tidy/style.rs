//! What one Rust source file may look like.

use syn::spanned::Spanned;
use syn::visit::{self, Visit};

use crate::Finding;

const FUNCTION_LINES_MAX: usize = 70;
const FILE_LINES_MAX: usize = 800;
const COLUMNS_MAX: usize = 100;

/// Where `unsafe` is allowed: the pages, rings and system calls, the `io_uring` driver, the
/// pointers of C, the raw device's own measurement, which goes past the engine; what another
/// engine's API demands; and a data race that is to be found.
const UNSAFE_ALLOWED: &[&str] = &[
    "engine/src/buf/",
    "engine/src/driver/uring.rs",
    "engine/src/driver/uring/",
    "benches/src/limit/",
    "ffi/src/",
    "benches/compare/src/lmdb.rs",
    "python/src/",
    "tests/threads/src/",
];

/// Macros that no source may contain, and those that a library may not print with.
const STRAY: &[&str] = &["dbg", "todo", "unimplemented"];
const PRINT: &[&str] = &["print", "println", "eprint", "eprintln"];

/// Checks one file.
pub fn check(file: &str, text: &str) -> Vec<Finding> {
    let mut check = Check { file, text, lines: text.lines().collect(), findings: Vec::new() };
    check.lines();
    match syn::parse_file(text) {
        Ok(parsed) => check.visit_file(&parsed),
        Err(error) => check.found(error.span().start().line, format!("does not parse: {error}")),
    }
    check.findings
}

struct Check<'a> {
    file: &'a str,
    text: &'a str,
    lines: Vec<&'a str>,
    findings: Vec<Finding>,
}

impl Check<'_> {
    fn found(&mut self, line: usize, what: impl Into<String>) {
        self.findings.push(Finding { file: self.file.to_owned(), line, what: what.into() });
    }

    fn lines(&mut self) {
        if self.lines.len() > FILE_LINES_MAX {
            self.found(0, format!("{} lines, over {FILE_LINES_MAX}", self.lines.len()));
        }
        if !self.text.ends_with('\n') {
            self.found(self.lines.len(), "the last line does not end");
        }
        for (at, line) in self.text.lines().enumerate() {
            let columns = line.chars().count();
            // A row of a table cannot be wrapped.
            let row =
                line.trim_start().starts_with("//! |") || line.trim_start().starts_with("/// |");
            if columns > COLUMNS_MAX && !row {
                self.found(at + 1, format!("{columns} columns, over {COLUMNS_MAX}"));
            }
        }
    }

    fn function(&mut self, name: &syn::Ident, start: usize, end: usize) {
        let lines = end - start + 1;
        if lines > FUNCTION_LINES_MAX {
            let what = format!("function `{name}` has {lines} lines, over {FUNCTION_LINES_MAX}");
            self.found(start, what);
        }
    }

    fn unsafe_at(&mut self, line: usize, what: &str) {
        if !UNSAFE_ALLOWED.iter().any(|place| self.file.starts_with(place)) {
            self.found(line, "`unsafe` outside `buf` and `driver::uring`");
        }
        if !self.is_justified(line) {
            self.found(line, format!("{what} without `// SAFETY:`"));
        }
    }

    /// Whether the comment above the statement that holds `line` says why it is sound.
    fn is_justified(&self, line: usize) -> bool {
        let mut at = line - 1;
        if self.lines[at].contains("// SAFETY:") {
            return true;
        }
        // To the first line of the statement.
        while at > 0 {
            let above = self.lines[at - 1].trim();
            let ends = above.is_empty() || above.ends_with([';', '{', '}', ',']);
            if ends || above.starts_with("//") {
                break;
            }
            at -= 1;
        }
        let above = self.lines[..at].iter().rev().map(|line| line.trim());
        let comment: Vec<&str> =
            above.take_while(|line| line.starts_with("//") || line.starts_with("#[")).collect();
        comment.iter().any(|line| line.starts_with("// SAFETY:"))
    }

    fn is_program(&self) -> bool {
        !self.file.starts_with("engine/src/") || self.file.starts_with("engine/src/bin/")
    }
}

impl<'ast> Visit<'ast> for Check<'_> {
    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        let start = item.sig.span().start().line;
        self.function(&item.sig.ident, start, item.block.span().end().line);
        visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        let start = item.sig.span().start().line;
        self.function(&item.sig.ident, start, item.block.span().end().line);
        visit::visit_impl_item_fn(self, item);
    }

    fn visit_expr_unsafe(&mut self, block: &'ast syn::ExprUnsafe) {
        self.unsafe_at(block.unsafe_token.span().start().line, "an unsafe block");
        visit::visit_expr_unsafe(self, block);
    }

    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        if let Some(token) = &item.unsafety {
            self.unsafe_at(token.span().start().line, "an unsafe impl");
        }
        visit::visit_item_impl(self, item);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        if let Some(name) = call.path.segments.last().map(|segment| segment.ident.to_string()) {
            let stray = STRAY.contains(&name.as_str());
            if stray || (PRINT.contains(&name.as_str()) && !self.is_program()) {
                self.found(call.path.span().start().line, format!("stray `{name}!`"));
            }
        }
        visit::visit_macro(self, call);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIB: &str = "engine/src/log/x.rs";

    fn lines(file: &str, text: &str) -> Vec<usize> {
        check(file, text).into_iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn a_long_function_is_found_wherever_it_is() {
        let body = "    f();\n".repeat(FUNCTION_LINES_MAX);
        assert_eq!(lines(LIB, &format!("\n/// Doc.\nfn f() {{\n{body}}}\n")), [3]);
        assert_eq!(lines(LIB, &format!("impl A {{\nfn f() {{\n{body}}}\n}}\n")), [2]);
        assert_eq!(lines(LIB, &format!("mod a {{\nfn f() {{\n{body}}}\n}}\n")), [2]);
        let fits = "    f();\n".repeat(FUNCTION_LINES_MAX - 2);
        assert!(lines(LIB, &format!("fn f() {{\n{fits}}}\n")).is_empty());
    }

    #[test]
    fn a_long_file_and_a_long_line_are_found() {
        assert_eq!(lines(LIB, &"// a\n".repeat(FILE_LINES_MAX + 1)), [0]);
        assert!(lines(LIB, &"// a\n".repeat(FILE_LINES_MAX)).is_empty());
        assert_eq!(lines(LIB, &format!("\n// {}\n", "é".repeat(COLUMNS_MAX - 2))), [2]);
        assert!(lines(LIB, &format!("// {}\n", "é".repeat(COLUMNS_MAX - 3))).is_empty());
        assert!(lines(LIB, &format!("//! | {} |\n", "a".repeat(COLUMNS_MAX))).is_empty());
    }

    #[test]
    fn stray_macros_are_found() {
        let debug = format!("fn f() {{\n    {}!(1);\n}}\n", STRAY[0]);
        assert_eq!(lines(LIB, &debug), [2]);
        assert_eq!(lines("tests/src/lib.rs", &debug), [2]);
        for name in PRINT {
            let print = format!("fn f() {{\n    {name}!(\"\");\n}}\n");
            assert_eq!(lines(LIB, &print), [2]);
            assert!(lines("engine/src/bin/ringlog/main.rs", &print).is_empty());
            assert!(lines("benches/src/main.rs", &print).is_empty());
        }
        assert_eq!(lines(LIB, "fn f() {\n    std::todo!();\n}\n"), [2]);
    }

    #[test]
    fn unsafe_in_the_wrong_place_is_found() {
        let text = "fn f() {\n    // SAFETY: checked.\n    unsafe { g() }\n}\n";
        assert_eq!(lines(LIB, text), [3]);
        assert!(lines("engine/src/buf/sys.rs", text).is_empty());
        assert!(lines("engine/src/driver/uring.rs", text).is_empty());
        assert_eq!(lines("engine/src/driver/blocking.rs", text), [3]);
    }

    #[test]
    fn unsafe_without_a_reason_is_found() {
        let buf = "engine/src/buf/sys.rs";
        assert_eq!(lines(buf, "fn f() {\n    // Fast.\n    unsafe { g() }\n}\n"), [3]);
        assert_eq!(lines(buf, "struct A;\nunsafe impl Send for A {}\n"), [2]);
        assert_eq!(lines(buf, "// SAFETY: no.\n\nfn f() {\n    unsafe { g() }\n}\n"), [4]);
        let ok = "// SAFETY: yes,\n// it is.\nunsafe impl Send for A {}\n\
                  fn f() {\n    // SAFETY: yes.\n    let a =\n        unsafe { g() };\n}\n";
        assert!(lines(buf, ok).is_empty());
    }

    #[test]
    fn what_does_not_parse_is_found() {
        assert_eq!(lines(LIB, "fn f( {\n").len(), 1);
    }
}
