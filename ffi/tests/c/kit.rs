//! What the tests of the C library need: the library built, programs compiled and run.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use libtest_mimic::Failed;

pub type Outcome = Result<(), Failed>;

/// Everything is built once, when it is first asked for.
#[derive(Default)]
pub struct Kit {
    built: OnceLock<()>,
    plain: OnceLock<Program>,
    sanitized: OnceLock<Program>,
    cpp: OnceLock<Program>,
    cpp_sanitized: OnceLock<Program>,
}

/// A language that tests are written in: its sources, and how they are compiled.
struct Language {
    sources: &'static str,
    compiler: &'static str,
    standard: &'static str,
    suffix: &'static str,
}

const C: Language = Language { sources: "tests/c", compiler: "cc", standard: "c11", suffix: "c" };
const CPP: Language =
    Language { sources: "tests/cpp", compiler: "c++", standard: "c++17", suffix: "cpp" };

/// The tests' program, compiled in one way.
pub struct Program {
    path: PathBuf,
    sanitized: bool,
}

/// Where cargo puts what it builds for these tests: `target/debug`, say.
pub fn target() -> PathBuf {
    let own = std::env::current_exe().expect("a process knows its own file");
    let deps = own.parent().expect("it lies in a directory");
    deps.parent().expect("`deps` lies in the profile's directory").to_path_buf()
}

#[expect(clippy::unused_self, reason = "one kit for what is built and for where things are")]
impl Kit {
    pub fn leak() -> &'static Self {
        Box::leak(Box::default())
    }

    /// A file of this package.
    pub fn source(&self, path: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
    }

    /// The root of the repository.
    pub fn root(&self) -> PathBuf {
        self.source("..")
    }

    pub fn include(&self) -> PathBuf {
        self.source("../include")
    }

    /// A directory that goes with its test, on the filesystem that is built on: what is in memory
    /// alone would refuse to promise durability.
    pub fn scratch(&self) -> Result<tempfile::TempDir, Failed> {
        Ok(tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?)
    }

    /// Builds the library, once.
    pub fn build_once(&self) {
        self.built.get_or_init(|| {
            let release = target().file_name().is_some_and(|name| name == "release");
            let profile = if release { "release" } else { "test" };
            let mut command = Command::new(env!("CARGO"));
            command.args(["build", "--locked", "--quiet", "--package", "ringlog-ffi"]);
            command.args(["--profile", profile]).current_dir(self.root());
            command.env("CARGO_TARGET_DIR", target().parent().expect("the target directory"));
            run(&mut command).expect("the library builds");
            // Programs ask for it by its SONAME.
            let link = target().join("libringlog.so.0");
            let fresh = target().join(format!("libringlog.so.0.{}", std::process::id()));
            let _ = std::fs::remove_file(&fresh);
            std::os::unix::fs::symlink("libringlog.so", &fresh)
                .and_then(|()| std::fs::rename(&fresh, &link))
                .expect("a link can be made beside the library");
        });
    }

    /// A file of the built library.
    pub fn library(&self, name: &str) -> PathBuf {
        self.build_once();
        target().join(name)
    }

    pub fn plain(&self) -> &Program {
        self.plain.get_or_init(|| self.program(&C, "c-tests-plain", false))
    }

    pub fn sanitized(&self) -> &Program {
        self.sanitized.get_or_init(|| self.program(&C, "c-tests-sanitized", true))
    }

    pub fn cpp(&self) -> &Program {
        self.cpp.get_or_init(|| self.program(&CPP, "cpp-tests-plain", false))
    }

    pub fn cpp_sanitized(&self) -> &Program {
        self.cpp_sanitized.get_or_init(|| self.program(&CPP, "cpp-tests-sanitized", true))
    }

    fn program(&self, language: &Language, name: &str, sanitized: bool) -> Program {
        self.build_once();
        let path = target().join(name);
        let mut command = compiler(language.compiler, language.standard);
        let mut sources: Vec<PathBuf> = std::fs::read_dir(self.source(language.sources))
            .expect("the tests are there")
            .map(|entry| entry.expect("the directory is readable").path())
            .filter(|path| path.extension().is_some_and(|suffix| suffix == language.suffix))
            .collect();
        sources.sort();
        command.arg("-D_GNU_SOURCE").arg("-O1").args(sources);
        if sanitized {
            command.args(["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]);
        }
        self.link(&mut command, &path).expect("the tests compile");
        Program { path, sanitized }
    }

    /// Compiles what `command` names, against the library as it is built, into `program`.
    pub fn link(&self, command: &mut Command, program: &Path) -> Outcome {
        self.build_once();
        command.arg("-I").arg(self.include()).arg("-o").arg(program);
        command.arg("-L").arg(target()).arg(format!("-Wl,-rpath,{}", target().display()));
        run(command.args(["-lringlog", "-pthread"]))
    }

    /// Runs the quick tests in one process under valgrind. The plain backend: valgrind does not
    /// know what io_uring writes.
    pub fn valgrind(&self, what: &str) -> Outcome {
        let dir = self.scratch()?;
        let mut command = Command::new("valgrind");
        command.args(["--quiet", "--error-exitcode=99", "--leak-check=full"]);
        // Rust's standard library keeps what names the main thread by a pointer into its middle.
        command.args(["--errors-for-leak-kinds=definite", "--show-leak-kinds=definite"]);
        command.arg(&self.plain().path).arg(what).arg(dir.path());
        run(command.env("RINGLOG_TEST_BACKEND", "plain"))
    }
}

impl Program {
    /// Its tests, as it lists them.
    pub fn names(&self, which: &str) -> Vec<String> {
        let listed =
            output(Command::new(&self.path).arg(which)).expect("the tests list themselves");
        listed.lines().map(str::to_owned).collect()
    }

    /// Runs one test in a directory of its own.
    pub fn run(&self, kit: &Kit, name: &str) -> Outcome {
        let dir = kit.scratch()?;
        let mut command = Command::new(&self.path);
        command.arg(name).arg(dir.path().join("data"));
        if self.sanitized {
            command.env("RINGLOG_TEST_SANITIZER", "1");
        }
        run(&mut command)
    }
}

/// A compiler that takes no warning.
pub fn compiler(name: &str, standard: &str) -> Command {
    let mut command = Command::new(name);
    command.arg(format!("-std={standard}")).args(crate::STRICT).arg("-g");
    command
}

/// Runs to the end; what it said is the failure.
pub fn run(command: &mut Command) -> Outcome {
    output(command).map(drop)
}

/// What a command that succeeds writes.
pub fn output(command: &mut Command) -> Result<String, Failed> {
    let done = command.stdin(Stdio::null()).output();
    let done = done.map_err(|error| format!("{}: {error}", command.get_program().display()))?;
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    if done.status.success() {
        return Ok(said);
    }
    let complained = String::from_utf8_lossy(&done.stderr);
    Err(format!("{command:?}: {}\n{said}{complained}", done.status).into())
}
