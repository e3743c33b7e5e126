//! No lock is held across a wait: sleeping, parking, giving the processor away in a loop, joining,
//! receiving, a device's answer, a condition of another lock. Read from the syntax of the engine,
//! one function at a time: a guard lives from its `let` to the end of its block, or to its `drop`;
//! that of a `match`, `if let` or `for` lives through its body; calls count as waits where the only
//! function of that name (and module, if that is given) waits itself. What a closure does is not
//! seen, nor what is called through a trait. Where a wait is meant, it is listed with why.

use std::collections::{BTreeMap, BTreeSet};

use syn::spanned::Spanned;
use syn::visit::{self, Visit};

use crate::Finding;
use crate::tree::Source;

/// Names of calls that wait.
const WAITS: &[&str] = &[
    "allocate",
    "block_on",
    "epoll_wait",
    "fdatasync",
    "fsync",
    "futex_wait",
    "park",
    "park_timeout",
    "pwritev2",
    "read_at",
    "recv",
    "recv_timeout",
    "sleep",
    "submit_and_wait",
    "sync",
    "sync_dir",
    "wait",
    "wait_for",
    "wait_timeout",
    "wait_until",
    "write_at",
    "yield_now",
];
/// Names of functions of ours that are far more often called of the standard library's types.
const COMMON: &[&str] = &["collect", "drain"];
/// Names of calls that make a guard.
const LOCKS: &[&str] = &["lock", "read", "try_lock", "try_read", "try_write", "write"];
/// Of a condition: the guard that they are given is released meanwhile.
const CONDITIONS: &[&str] = &["wait", "wait_for", "wait_until"];
/// What is no engine that runs: tests, models, the simulator, the command line.
const LEFT_OUT: &[&str] =
    &["/tests.rs", "/model.rs", "driver/sim/", "src/bin/", "driver/tests", "moment.rs"];

/// Where a wait under a lock is meant: file, function, what waits, why.
type Allowed = (&'static str, &'static str, &'static str, &'static str);
const ALLOWED: &[Allowed] = &[
    (CHANGES, "begin_change", "wait_durable", ONE_CHANGE),
    (ENGINE, "create_topic", "create_locked", ONE_CHANGE),
    (ENGINE, "open_or_create_topic", "create_locked", ONE_CHANGE),
    (ENGINE, "delete_topic", "change", ONE_CHANGE),
    (READ_ONLY, "refresh", "catch_up", ONE_READ),
    (FOLLOW, "catch_up", "walk_on", ONE_WALK),
    (UPKEEP, "maintain", "seal_rolled", ONE_UPKEEP),
    (UPKEEP, "maintain", "retire_dead", ONE_UPKEEP),
    (UPKEEP, "store_clean_end", "seal_rolled", ONE_UPKEEP),
    (UPKEEP, "store_clean_end", "store_index", ONE_UPKEEP),
    (UPKEEP, "store_clean_end", "store_checkpoint", ONE_UPKEEP),
    (WORKER, "join", "join", "its thread has announced its end: what is left of it is a return"),
    ("engine/src/sync.rs", "wait", "wait", "a condition of std's, which takes its guard by value"),
];
const CHANGES: &str = "engine/src/engine/changes.rs";
const ENGINE: &str = "engine/src/engine/mod.rs";
const READ_ONLY: &str = "engine/src/engine/read_only.rs";
const FOLLOW: &str = "engine/src/log/follow/mod.rs";
const UPKEEP: &str = "engine/src/log/upkeep.rs";
const WORKER: &str = "engine/src/shard/worker.rs";
const ONE_CHANGE: &str = "changes of topics are made one after the other, each durable before the \
                          next; appends and reads never take this lock, and each has a deadline";
const ONE_READ: &str = "a reader takes in changes of topics one after the other; it reads files";
const ONE_WALK: &str = "who follows another process's log walks it alone, and reads files; \
                        all others want what this walk finds";
const ONE_UPKEEP: &str = "files are made under it; upkeep alone takes it, and a close after upkeep";

/// Checks the engine's sources.
pub fn check(sources: &[Source]) -> Vec<Finding> {
    check_with(sources, ALLOWED)
}

fn check_with(sources: &[Source], allowed: &[Allowed]) -> Vec<Finding> {
    let engine = sources.iter().filter(|source| {
        source.file.starts_with("engine/src/")
            && !LEFT_OUT.iter().any(|part| source.file.contains(part))
    });
    let parsed: Vec<(&str, syn::File)> = engine
        .filter_map(|source| Some((source.file.as_str(), syn::parse_file(&source.text).ok()?)))
        .collect();
    let mut known = Known::default();
    for (file, ast) in &parsed {
        let stem = file.trim_end_matches(".rs").trim_end_matches("/mod");
        stem.rsplit('/').next().unwrap_or_default().clone_into(&mut known.module);
        known.visit_file(ast);
    }
    let waiting = known.waiting();
    let mut used = BTreeSet::new();
    let mut findings = Vec::new();
    for (file, ast) in &parsed {
        let mut held = Held {
            waiting: &waiting,
            guarding: &known.guarding,
            guards: Vec::new(),
            function: String::new(),
            met: Vec::new(),
        };
        held.visit_file(ast);
        for met in held.met {
            let is = |place: &&Allowed| {
                (place.0, place.1, place.2) == (*file, met.function.as_str(), met.wait.as_str())
            };
            match allowed.iter().find(is) {
                Some(place) => drop(used.insert((place.0, place.1, place.2))),
                None => findings.push(Finding {
                    file: (*file).to_owned(),
                    line: met.line,
                    what: format!(
                        "`{}` waits (`{}`) while it holds `{}`",
                        met.function, met.wait, met.guard
                    ),
                }),
            }
        }
    }
    for place in allowed.iter().filter(|place| !used.contains(&(place.0, place.1, place.2))) {
        let what = format!("`{}` of `{}` is allowed to wait, and does not", place.2, place.1);
        findings.push(Finding { file: place.0.to_owned(), line: 0, what });
    }
    findings
}

fn is_test(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let text = attribute.path().segments.last().map(|last| last.ident.to_string());
        let cfg_test = attribute
            .parse_args::<syn::Meta>()
            .is_ok_and(|meta| meta.path().is_ident("test") || meta.path().is_ident("all"));
        text.as_deref() == Some("test") || (text.as_deref() == Some("cfg") && cfg_test)
    })
}

/// The name of what is called, and whether it is given nothing.
fn called(expr: &syn::Expr) -> Option<(String, bool)> {
    match expr {
        syn::Expr::MethodCall(call) => Some((call.method.to_string(), call.args.is_empty())),
        syn::Expr::Call(call) => match &*call.func {
            syn::Expr::Path(path) => {
                let mut names = path.path.segments.iter().rev().map(|part| part.ident.to_string());
                let last = names.next()?;
                let name = names.next().map_or(last.clone(), |module| format!("{module}::{last}"));
                Some((name, call.args.is_empty()))
            }
            _ => None,
        },
        _ => None,
    }
}

/// The functions there are: what they call, whether they give out guards.
#[derive(Default)]
struct Known {
    calls: BTreeMap<String, BTreeSet<String>>,
    several: BTreeSet<String>,
    module: String,
    guarding: BTreeSet<String>,
    /// The function's name, alone and with its module.
    current: Option<(String, String)>,
}

impl Known {
    fn function(&mut self, sig: &syn::Signature, block: &syn::Block) {
        let name = sig.ident.to_string();
        let whole = format!("{}::{name}", self.module);
        for name in [&name, &whole] {
            if self.calls.insert(name.clone(), BTreeSet::new()).is_some() {
                self.several.insert(name.clone());
            }
        }
        if let syn::ReturnType::Type(_, given) = &sig.output {
            struct Names(bool);
            impl Visit<'_> for Names {
                fn visit_ident(&mut self, ident: &proc_macro2::Ident) {
                    self.0 |= ident.to_string().ends_with("Guard") && ident != "LockGuard";
                }
            }
            let mut names = Names(false);
            names.visit_type(given);
            if names.0 && !name.contains("readers") && !name.contains("lock") {
                self.guarding.insert(name.clone());
            }
        }
        let outer = self.current.replace((name, whole));
        self.visit_block(block);
        self.current = outer;
    }

    fn note(&mut self, name: &str) {
        let Some((alone, whole)) = &self.current else { return };
        for current in [alone, whole] {
            // As it was called, and without its module.
            let bare = name.rsplit("::").next().unwrap_or(name).to_owned();
            self.calls.entry(current.clone()).or_default().extend([name.to_owned(), bare]);
        }
    }

    /// Every name whose call waits.
    fn waiting(&self) -> BTreeSet<String> {
        let mut waiting: BTreeSet<String> = WAITS.iter().map(|&name| name.to_owned()).collect();
        loop {
            let more: Vec<String> = self
                .calls
                .iter()
                .filter(|(name, _)| !waiting.contains(*name) && !self.several.contains(*name))
                .filter(|(name, _)| !COMMON.contains(&name.as_str()))
                .filter(|(_, calls)| calls.iter().any(|call| waiting.contains(call)))
                .map(|(name, _)| name.clone())
                .collect();
            if more.is_empty() {
                return waiting;
            }
            waiting.extend(more);
        }
    }
}

impl<'ast> Visit<'ast> for Known {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if !is_test(&item.attrs) {
            visit::visit_item_mod(self, item);
        }
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        if !is_test(&item.attrs) {
            self.function(&item.sig, &item.block);
        }
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.function(&item.sig, &item.block);
    }

    fn visit_expr_closure(&mut self, _: &'ast syn::ExprClosure) {}

    fn visit_expr(&mut self, expr: &'ast syn::Expr) {
        match called(expr) {
            Some((name, true)) if name == "join" => self.note("park"),
            Some((name, _)) => self.note(&name),
            None => {}
        }
        visit::visit_expr(self, expr);
    }

    fn visit_expr_await(&mut self, _: &'ast syn::ExprAwait) {
        self.note("park");
    }
}

/// A wait under a guard.
struct Met {
    line: usize,
    function: String,
    guard: String,
    wait: String,
}

/// Walks functions with the guards that are alive.
struct Held<'a> {
    waiting: &'a BTreeSet<String>,
    guarding: &'a BTreeSet<String>,
    guards: Vec<String>,
    function: String,
    met: Vec<Met>,
}

impl Held<'_> {
    fn function(&mut self, name: &syn::Ident, block: &syn::Block) {
        let outer = std::mem::replace(&mut self.function, name.to_string());
        let guards = std::mem::take(&mut self.guards);
        self.visit_block(block);
        self.guards = guards;
        self.function = outer;
    }

    /// Whether an expression is a guard, or one in an `Option` or `Result`.
    fn is_guard(&self, expr: &syn::Expr) -> bool {
        match expr {
            syn::Expr::Paren(inner) => self.is_guard(&inner.expr),
            syn::Expr::Try(inner) => self.is_guard(&inner.expr),
            syn::Expr::Reference(inner) => self.is_guard(&inner.expr),
            syn::Expr::MethodCall(call)
                if ["unwrap", "expect", "ok", "as_mut"].contains(&&*call.method.to_string()) =>
            {
                self.is_guard(&call.receiver)
            }
            syn::Expr::MethodCall(call) => {
                let name = call.method.to_string();
                call.args.is_empty() && LOCKS.contains(&name.as_str())
                    || self.guarding.contains(&name)
            }
            _ => false,
        }
    }

    /// Whether evaluating it makes a guard that lives as long as its statement.
    fn makes_guard(&self, expr: &syn::Expr) -> bool {
        self.is_guard(expr)
            || match expr {
                syn::Expr::MethodCall(call) => self.makes_guard(&call.receiver),
                syn::Expr::Field(field) => self.makes_guard(&field.base),
                syn::Expr::Try(inner) => self.makes_guard(&inner.expr),
                syn::Expr::Reference(inner) => self.makes_guard(&inner.expr),
                syn::Expr::Unary(inner) => self.makes_guard(&inner.expr),
                syn::Expr::Let(inner) => self.makes_guard(&inner.expr),
                _ => false,
            }
    }

    /// Visits `body` while the temporary guard of `made` is alive, if it makes one.
    fn beside(&mut self, made: &syn::Expr, body: impl FnOnce(&mut Self)) {
        let kept = self.guards.len();
        if self.makes_guard(made) {
            self.guards.push("(a temporary)".to_owned());
        }
        body(self);
        self.guards.truncate(kept);
    }

    fn call(&mut self, expr: &syn::Expr) {
        let Some((name, bare)) = called(expr) else { return };
        let last = name.rsplit("::").next().unwrap_or(&name).to_owned();
        let joins = last == "join" && bare;
        if !joins && !self.waiting.contains(&name) && !self.waiting.contains(&last) {
            return;
        }
        let name = last;
        let mut own = None;
        if let syn::Expr::MethodCall(call) = expr {
            if CONDITIONS.contains(&name.as_str())
                && let Some(syn::Expr::Reference(given)) = call.args.first()
            {
                own = ident(&given.expr);
            }
            // A lock is named as what it guards often is: `inbox.lock().sync()`.
            self.beside(&call.receiver, |held| held.wait(expr, &name, own.as_deref()));
        } else {
            self.wait(expr, &name, None);
        }
    }

    fn wait(&mut self, expr: &syn::Expr, name: &str, own: Option<&str>) {
        if let Some(guard) = self.guards.iter().find(|guard| Some(guard.as_str()) != own) {
            let (function, guard, wait) = (self.function.clone(), guard.clone(), name.to_owned());
            let line = match expr {
                syn::Expr::MethodCall(call) => call.method.span().start().line,
                other => other.span().start().line,
            };
            self.met.push(Met { line, function, guard, wait });
        }
    }
}

fn ident(expr: &syn::Expr) -> Option<String> {
    match expr {
        syn::Expr::Path(path) => path.path.get_ident().map(ToString::to_string),
        _ => None,
    }
}

/// Every name that a pattern binds.
fn bound(pattern: &syn::Pat) -> Vec<String> {
    #[derive(Default)]
    struct Names(Vec<String>);
    impl<'ast> Visit<'ast> for Names {
        fn visit_pat_ident(&mut self, pattern: &'ast syn::PatIdent) {
            self.0.push(pattern.ident.to_string());
        }
    }
    let mut names = Names::default();
    names.visit_pat(pattern);
    names.0
}

impl<'ast> Visit<'ast> for Held<'_> {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if !is_test(&item.attrs) {
            visit::visit_item_mod(self, item);
        }
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        if !is_test(&item.attrs) {
            self.function(&item.sig.ident, &item.block);
        }
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.function(&item.sig.ident, &item.block);
    }

    /// Runs when somebody calls it.
    fn visit_expr_closure(&mut self, closure: &'ast syn::ExprClosure) {
        let guards = std::mem::take(&mut self.guards);
        visit::visit_expr_closure(self, closure);
        self.guards = guards;
    }

    fn visit_block(&mut self, block: &'ast syn::Block) {
        let outer = self.guards.clone();
        visit::visit_block(self, block);
        self.guards = outer;
    }

    fn visit_local(&mut self, local: &'ast syn::Local) {
        visit::visit_local(self, local);
        if let Some(init) = &local.init
            && self.is_guard(&init.expr)
            // `let _ =` drops it at once.
            && !matches!(local.pat, syn::Pat::Wild(_))
        {
            self.guards.extend(bound(&local.pat));
        }
    }

    fn visit_expr_assign(&mut self, assign: &'ast syn::ExprAssign) {
        visit::visit_expr_assign(self, assign);
        if self.is_guard(&assign.right) {
            self.guards.extend(ident(&assign.left));
        }
    }

    fn visit_expr_call(&mut self, call: &'ast syn::ExprCall) {
        visit::visit_expr_call(self, call);
        let name = called(&syn::Expr::Call(call.clone())).map(|(name, _)| name);
        let dropped = name.is_some_and(|name| name == "drop" || name.ends_with("::drop"));
        if let (true, Some(given)) = (dropped, call.args.first().and_then(ident)) {
            self.guards.retain(|guard| *guard != given);
        }
    }

    fn visit_expr(&mut self, expr: &'ast syn::Expr) {
        self.call(expr);
        match expr {
            syn::Expr::Match(one) => {
                self.visit_expr(&one.expr);
                self.beside(&one.expr, |held| one.arms.iter().for_each(|arm| held.visit_arm(arm)));
            }
            syn::Expr::If(one) => {
                self.visit_expr(&one.cond);
                let lasts = matches!(&*one.cond, syn::Expr::Let(_) | syn::Expr::Binary(_));
                if lasts {
                    self.beside(&one.cond, |held| held.visit_block(&one.then_branch));
                } else {
                    self.visit_block(&one.then_branch);
                }
                if let Some((_, other)) = &one.else_branch {
                    self.visit_expr(other);
                }
            }
            syn::Expr::While(one) => {
                self.visit_expr(&one.cond);
                self.beside(&one.cond, |held| held.visit_block(&one.body));
            }
            syn::Expr::ForLoop(one) => {
                self.visit_expr(&one.expr);
                self.beside(&one.expr, |held| held.visit_block(&one.body));
            }
            syn::Expr::Await(one) => {
                self.visit_expr(&one.base);
                self.wait(expr, "await", None);
            }
            _ => visit::visit_expr(self, expr),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(body: &str) -> Vec<usize> {
        let text = format!("impl A {{\nfn f(&self) {{\n{body}}}\n}}\n");
        let file = "engine/src/log/x.rs".to_owned();
        check_with(&[Source { file, text }], &[]).into_iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn a_wait_under_a_guard_is_found() {
        for wait in [
            "thread::park();",
            "loop { yield_now(); }",
            "self.file.sync()?;",
            "rx.recv();",
            "thread.join();",
            "other().await;",
        ] {
            assert_eq!(lines(&format!("let g = self.a.lock();\n{wait}\n")), [4], "{wait}");
            assert_eq!(lines(&format!("let g = self.a.read().unwrap();\n{wait}\n")), [4], "{wait}");
            assert!(lines(&format!("{{ let g = self.a.lock(); }}\n{wait}\n")).is_empty(), "{wait}");
            assert!(lines(&format!("let g = self.a.lock(); drop(g);\n{wait}\n")).is_empty());
            assert_eq!(lines(&format!("if x {{ drop(g) }} let g = a.lock();\n{wait}\n")), [4]);
        }
        assert_eq!(lines("let mut g = a.lock(); drop(g); g = a.lock();\nsleep(x);\n"), [4]);
        assert_eq!(lines("let g = a.lock();\nif x { drop(g); }\nsleep(y);\n"), [5]);
    }

    #[test]
    fn a_temporary_guard_lives_through_what_it_is_asked_for() {
        assert_eq!(lines("match self.a.lock().pop() {\n_ => sleep(x),\n}\n"), [4]);
        assert_eq!(lines("if let Some(b) = self.a.lock().pop() {\nsleep(x);\n}\n"), [4]);
        assert_eq!(lines("while let Some(b) = self.a.lock().pop() {\nb.recv();\n}\n"), [4]);
        assert_eq!(lines("for b in self.a.lock().drain(..) {\nb.join();\n}\n"), [4]);
        assert_eq!(lines("self.a.lock().file.sync();\n"), [3]);
        assert!(lines("let b = self.a.lock().pop();\nsleep(x);\n").is_empty());
        assert!(lines("if self.a.lock().is_empty() {\nsleep(x);\n}\n").is_empty());
    }

    #[test]
    fn a_condition_releases_its_own_guard_only() {
        assert!(lines("let mut g = a.lock();\nself.c.wait(&mut g);\n").is_empty());
        assert_eq!(lines("let h = b.lock(); let mut g = a.lock();\nself.c.wait(&mut g);\n"), [4]);
    }

    #[test]
    fn a_function_that_waits_is_one() {
        let text = "fn slow() { sleep(x); }\nfn slower() { slow(); }\n\
                    fn f() {\nlet g = a.lock();\nslower();\n}\n";
        let source = || Source { file: "engine/src/x.rs".to_owned(), text: text.to_owned() };
        assert_eq!(check_with(&[source()], &[]).len(), 1);
        let allowed = [("engine/src/x.rs", "f", "slower", "it is short")];
        assert!(check_with(&[source()], &allowed).is_empty());
        let unused = [allowed[0], ("engine/src/x.rs", "f", "recv", "long gone")];
        assert_eq!(check_with(&[source()], &unused)[0].line, 0);
    }
}
