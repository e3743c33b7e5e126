//! The layer table of `docs/design.md`; every `crate::` and `super::` path is checked against it.
//!
//! Paths are read from tokens, so those inside macros count too. What is compiled for tests only is
//! free to use anything: unit tests of the log run on the simulator.

use proc_macro2::{Delimiter, TokenStream, TokenTree};

use crate::Finding;

const BASE: &[&str] = &[
    "checksum", "error", "event", "limits", "clock", "metrics", "config", "ids", "moment", "park",
    "sync",
];
const SEAM: &[&str] = &["driver::op", "driver::disk"];
const LOWEST: &[&[&str]] = &[BASE];
const ON_BUF: &[&[&str]] = &[BASE, &["buf"]];
const ON_SEAM: &[&[&str]] = &[BASE, SEAM, &["buf"]];
const DRIVERS: &[&[&str]] = &[BASE, SEAM, &["buf", "driver::os"]];
/// What a short write means is the same for both kernel drivers.
const URING: &[&[&str]] =
    &[BASE, SEAM, &["buf", "driver::os", "driver::blocking", "driver::uring"]];
const ON_FORMAT: &[&[&str]] = &[BASE, &["buf", "format"]];
const LOG: &[&[&str]] = &[BASE, SEAM, &["buf", "format"]];
const TOPIC: &[&[&str]] = &[BASE, SEAM, &["buf", "format", "log"]];
const SHARD: &[&[&str]] =
    &[BASE, &["buf", "driver", "format", "log", "queue", "replica", "wire", "topic"]];
const NET: &[&[&str]] = &[BASE, &["buf", "format", "wire", "shard"]];
const TOP: &[&[&str]] = &[
    BASE,
    &["buf", "driver", "format", "log", "queue", "replica", "wire", "topic", "shard", "net"],
    &["engine", "inspect"],
];

/// A module, and what it may import besides itself. The longest matching module counts.
const TABLE: &[(&str, &[&[&str]])] = &[
    // 0
    ("error", LOWEST),
    ("event", LOWEST),
    ("limits", LOWEST),
    ("clock", LOWEST),
    ("metrics", LOWEST),
    ("config", LOWEST),
    ("checksum", LOWEST),
    ("ids", LOWEST),
    ("moment", LOWEST),
    ("park", LOWEST),
    ("sync", LOWEST),
    // 1
    ("buf", LOWEST),
    // 2
    ("driver", DRIVERS),
    ("driver::op", ON_SEAM),
    ("driver::disk", DRIVERS),
    ("driver::uring", URING),
    ("format", ON_BUF),
    // 3
    ("log", LOG),
    ("queue", ON_FORMAT),
    ("replica", ON_FORMAT),
    ("wire", ON_FORMAT),
    // 4
    ("topic", TOPIC),
    // 5
    ("shard", SHARD),
    // 6
    ("net", NET),
    // 7
    ("engine", TOP),
    ("inspect", TOP),
    ("fuzz", TOP),
];

/// Crates that the command line may use: it sees of the engine what everybody sees.
const BIN_MAY_NAME_RINGLOG_ONLY: &str = "the command line uses the public API, `ringlog::`";

/// Checks one file of the engine; other files have no layers.
pub fn check(file: &str, text: &str) -> Vec<Finding> {
    let Some(path) = file.strip_prefix("engine/src/") else { return Vec::new() };
    let finding = |line, what| Finding { file: file.to_owned(), line, what };
    let tokens = match text.parse::<TokenStream>() {
        Ok(tokens) => tokens,
        Err(error) => return vec![finding(0, format!("does not parse: {error}"))],
    };
    if path.starts_with("bin/") {
        return bin(text).into_iter().map(|(line, what)| finding(line, what)).collect();
    }
    let module = module_of(path);
    if module.is_empty() || module.iter().any(|part| part == "tests") {
        return Vec::new();
    }
    let mut found = Vec::new();
    walk(tokens, &module, &mut found);
    let mut findings = Vec::new();
    for (line, target) in found {
        if let Err(what) = allowed(&module.join("::"), &target.join("::")) {
            findings.push(finding(line, what));
        }
    }
    findings
}

/// `log/ring.rs` and `log/ring/mod.rs` are both `[log, ring]`; `lib.rs` is the root, `[]`.
fn module_of(path: &str) -> Vec<String> {
    let path = path.strip_suffix(".rs").unwrap_or(path);
    let path = path.strip_suffix("/mod").unwrap_or(path);
    if path == "lib" { Vec::new() } else { path.split('/').map(str::to_owned).collect() }
}

fn allowed(module: &str, target: &str) -> Result<(), String> {
    let Some((from, may)) = entry(module) else {
        return Err(format!("module `{module}` is not in the layer table"));
    };
    let Some((_, _)) = entry(target) else {
        return Err(format!("`{module}` imports `{target}`: name the module that defines it"));
    };
    let own = within(target, from) || within(target, module) || within(module, target);
    // A driver may be built on the seam, never on its siblings; `driver::mod` declares them all.
    let sibling = from.starts_with("driver") && part(target) != part(module) && module != "driver";
    if (own && !sibling) || may.iter().copied().flatten().any(|name| within(target, name)) {
        Ok(())
    } else {
        Err(format!("`{module}` may not import `{target}`: see the layer table"))
    }
}

fn entry(module: &str) -> Option<&'static (&'static str, &'static [&'static [&'static str]])> {
    TABLE.iter().filter(|(name, _)| within(module, name)).max_by_key(|(name, _)| name.len())
}

/// The module below the top one: `driver::sim` of `driver::sim::disk`.
fn part(module: &str) -> Option<&str> {
    module.split("::").nth(1)
}

fn within(module: &str, parent: &str) -> bool {
    module.strip_prefix(parent).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

type Found = Vec<(usize, Vec<String>)>;

/// Collects every path that starts at `crate` or `super`, made absolute.
fn walk(tokens: TokenStream, module: &[String], found: &mut Found) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let mut at = 0;
    let mut for_tests = false;
    while at < tokens.len() {
        match &tokens[at] {
            TokenTree::Ident(word) if *word == "mod" => {
                if let (Some(TokenTree::Ident(name)), Some(TokenTree::Group(body))) =
                    (tokens.get(at + 1), tokens.get(at + 2))
                {
                    if !for_tests {
                        let mut inner = module.to_vec();
                        inner.push(name.to_string());
                        walk(body.stream(), &inner, found);
                    }
                    at += 2;
                }
            }
            TokenTree::Ident(word) if *word == "crate" && is_path(&tokens, at + 1) => {
                path(&tokens[at + 3..], Vec::new(), found);
            }
            TokenTree::Ident(word) if *word == "super" && !follows_path(&tokens, at) => {
                let mut base = module.to_vec();
                base.pop();
                let mut next = at;
                while is_path(&tokens, next + 1) && is_word(tokens.get(next + 3), "super") {
                    base.pop();
                    next += 3;
                }
                if is_path(&tokens, next + 1) {
                    path(&tokens[next + 3..], base, found);
                }
                at = next;
            }
            TokenTree::Group(group) => {
                let text = group.stream().to_string().replace(' ', "");
                let attribute = group.delimiter() == Delimiter::Bracket && is_hash(&tokens, at);
                if attribute && text == "cfg(test)" {
                    for_tests = true;
                    at += 1;
                    continue;
                }
                if attribute {
                    at += 1;
                    continue;
                }
                walk(group.stream(), module, found);
                if group.delimiter() == Delimiter::Brace {
                    for_tests = false;
                }
            }
            TokenTree::Punct(mark) if mark.as_char() == ';' => for_tests = false,
            _ => {}
        }
        at += 1;
    }
}

/// Reads what follows `crate::`: words, then perhaps a group of further paths.
fn path(tokens: &[TokenTree], mut so_far: Vec<String>, found: &mut Found) {
    match tokens.first() {
        Some(TokenTree::Ident(word)) => {
            let line = word.span().start().line;
            if *word != "self" {
                so_far.push(word.to_string());
            }
            if is_path(tokens, 1) && tokens.len() > 3 {
                path(&tokens[3..], so_far, found);
            } else if !so_far.is_empty() {
                found.push((line, so_far));
            }
        }
        Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => {
            let inner: Vec<TokenTree> = group.stream().into_iter().collect();
            for part in inner.split(|t| matches!(t, TokenTree::Punct(p) if p.as_char() == ',')) {
                path(part, so_far.clone(), found);
            }
        }
        Some(other) if !so_far.is_empty() => found.push((other.span().start().line, so_far)),
        _ => {}
    }
}

fn is_path(tokens: &[TokenTree], at: usize) -> bool {
    let colon =
        |t: Option<&TokenTree>| matches!(t, Some(TokenTree::Punct(p)) if p.as_char() == ':');
    colon(tokens.get(at)) && colon(tokens.get(at + 1))
}

fn follows_path(tokens: &[TokenTree], at: usize) -> bool {
    at >= 2 && is_path(tokens, at - 2)
}

fn is_word(token: Option<&TokenTree>, word: &str) -> bool {
    matches!(token, Some(TokenTree::Ident(ident)) if *ident == word)
}

fn is_hash(tokens: &[TokenTree], at: usize) -> bool {
    let mark = |at: usize, c| matches!(&tokens[at], TokenTree::Punct(p) if p.as_char() == c);
    (at >= 1 && mark(at - 1, '#')) || (at >= 2 && mark(at - 1, '!') && mark(at - 2, '#'))
}

/// The command line must not reach around the public API by including the engine's files.
fn bin(text: &str) -> Vec<(usize, String)> {
    let reaches = |line: &str| line.contains("#[path") || line.contains("include!(");
    let lines = text.lines().enumerate().filter(|(_, line)| reaches(line));
    lines.map(|(at, _)| (at + 1, BIN_MAY_NAME_RINGLOG_ONLY.to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(file: &str, text: &str) -> Vec<usize> {
        check(file, text).into_iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn an_import_from_a_higher_layer_is_found() {
        assert_eq!(findings("engine/src/buf/mod.rs", "use crate::log::Ring;"), [1]);
        assert_eq!(findings("engine/src/format/x.rs", "use crate::driver::op::Op;"), [1]);
        assert_eq!(findings("engine/src/log/a.rs", "\nuse crate::driver::uring::Uring;"), [2]);
        assert_eq!(findings("engine/src/log/a.rs", "use crate::{buf::A, shard::B};"), [1]);
        assert_eq!(findings("engine/src/topic/a.rs", "fn f() { crate::engine::g() }"), [1]);
        assert_eq!(findings("engine/src/limits.rs", "use crate::format::X;"), [1]);
    }

    #[test]
    fn an_import_through_super_a_macro_or_an_inner_module_is_found() {
        assert_eq!(findings("engine/src/log/a.rs", "use super::super::shard::X;"), [1]);
        assert_eq!(findings("engine/src/log/mod.rs", "use super::net;"), [1]);
        assert_eq!(findings("engine/src/log/a.rs", "fn f() { m!(crate::net::x()) }"), [1]);
        assert_eq!(findings("engine/src/log/a.rs", "mod b { use super::super::super::net; }"), [1]);
    }

    #[test]
    fn drivers_stand_on_the_seam_and_not_on_each_other() {
        assert_eq!(findings("engine/src/driver/uring.rs", "use super::{sim, op};"), [1]);
        assert!(findings("engine/src/driver/uring.rs", "use crate::driver::op::Op;").is_empty());
        assert!(findings("engine/src/driver/sim/disk.rs", "use super::seed::Seed;").is_empty());
    }

    #[test]
    fn an_unknown_module_and_the_crate_root_are_found() {
        assert_eq!(findings("engine/src/misc.rs", "use crate::limits::A;"), [1]);
        assert_eq!(findings("engine/src/log/a.rs", "use crate::Error;"), [1]);
    }

    #[test]
    fn what_the_table_allows_passes() {
        let text = "use crate::driver::{disk::FileRef, op};\nuse crate::format::frame::Frame;\n\
                    use super::ring::Ring;\nuse crate::limits::*;\nuse crate::log;\n";
        assert!(findings("engine/src/log/writer.rs", text).is_empty());
        assert!(findings("engine/src/engine.rs", "use crate::shard::Shard;").is_empty());
        assert!(findings("tests/src/lib.rs", "use crate::shard::Shard;").is_empty());
    }

    #[test]
    fn tests_may_use_the_simulator() {
        let text = "#[cfg(test)]\nmod tests { use crate::driver::sim::Sim; use super::*; }";
        assert!(findings("engine/src/log/writer.rs", text).is_empty());
        let after = format!("{text}\nuse crate::net::X;");
        assert_eq!(findings("engine/src/log/writer.rs", &after), [3]);
    }

    #[test]
    fn the_command_line_stays_outside() {
        assert_eq!(findings("engine/src/bin/ringlog/a.rs", "#[path = \"x\"]\nmod x;"), [1]);
        assert!(findings("engine/src/bin/ringlog/a.rs", "use crate::exit::Exit;").is_empty());
    }
}
