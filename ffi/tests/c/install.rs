//! `make install` into a scratch prefix, and a project that is built against what is there: with
//! pkg-config and with `CMake`, shared and static.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use libtest_mimic::{Failed, Trial};

use crate::kit::{self, Kit, Outcome, run};

/// Installed once; replaced by the next run.
static PREFIX: OnceLock<Result<PathBuf, String>> = OnceLock::new();

const EXPECTED: &str = "table 7: one flat white\n";

pub fn trials(kit: &'static Kit) -> Vec<Trial> {
    vec![
        Trial::test("install::puts_everything_in_its_place", move || places(kit)),
        Trial::test("install::pkg_config_shared", move || pkg_config(kit, false)),
        Trial::test("install::pkg_config_static", move || pkg_config(kit, true)),
        Trial::test("install::pkg_config_cpp", move || pkg_config_cpp(kit)),
        Trial::test("install::cmake_shared", move || cmake(kit, "ringlog::ringlog")),
        Trial::test("install::cmake_static", move || cmake(kit, "ringlog::ringlog_static")),
    ]
}

fn prefix(kit: &Kit) -> Result<&'static PathBuf, Failed> {
    let prefix = PREFIX.get_or_init(|| {
        let prefix = kit::target().join("c-install");
        let _ = fs::remove_dir_all(&prefix);
        kit.build_once();
        let mut command = Command::new("make");
        command.arg("--silent").arg("install").current_dir(kit.root());
        command.env("PREFIX", &prefix).env("BUILT", kit::target()).env_remove("DESTDIR");
        run(&mut command).map(|()| prefix).map_err(|error| format!("{error:?}"))
    });
    prefix.as_ref().map_err(|error| error.as_str().into())
}

fn places(kit: &Kit) -> Outcome {
    let lib = prefix(kit)?.join("lib");
    let version = env!("CARGO_PKG_VERSION");
    let link = |name: &str| fs::read_link(lib.join(name));
    let real = format!("libringlog.so.{version}");
    if link("libringlog.so")?.as_os_str() != "libringlog.so.0"
        || link("libringlog.so.0")?.as_os_str() != real.as_str()
    {
        return Err("the links lead elsewhere".into());
    }
    let dynamic = kit::output(Command::new("readelf").arg("-d").arg(lib.join(real)))?;
    if !dynamic.contains("soname: [libringlog.so.0]") {
        return Err(format!("another SONAME:\n{dynamic}").into());
    }
    let mut command = pkg_config_command(kit)?;
    let said = kit::output(command.args(["--modversion", "ringlog"]))?;
    if said.trim() == version { Ok(()) } else { Err(said.into()) }
}

fn pkg_config_command(kit: &Kit) -> Result<Command, Failed> {
    let mut command = Command::new("pkg-config");
    command.env("PKG_CONFIG_PATH", prefix(kit)?.join("lib/pkgconfig"));
    Ok(command)
}

fn pkg_config(kit: &Kit, is_static: bool) -> Outcome {
    let dir = kit.scratch()?;
    let program = dir.path().join("app");
    let mut command = pkg_config_command(kit)?;
    if is_static {
        command.arg("--static");
    }
    let flags = kit::output(command.args(["--cflags", "--libs", "ringlog"]))?;
    let mut compiler = Command::new("cc");
    compiler.arg(kit.source("examples/minimal.c")).arg("-o").arg(&program);
    if is_static {
        compiler.arg("-static");
    }
    run(compiler.args(flags.split_whitespace()))?;
    check(kit, &program, is_static)
}

/// The C++ header, with the parts that it is made of.
fn pkg_config_cpp(kit: &Kit) -> Outcome {
    let dir = kit.scratch()?;
    let program = dir.path().join("app");
    let mut command = pkg_config_command(kit)?;
    let flags = kit::output(command.args(["--cflags", "--libs", "ringlog"]))?;
    let mut compiler = Command::new("c++");
    compiler.arg("-std=c++17").arg(kit.source("examples/iterate.cpp")).arg("-o").arg(&program);
    run(compiler.args(flags.split_whitespace()))?;
    let mut command = Command::new(program);
    command.arg(dir.path().join("data")).env("LD_LIBRARY_PATH", prefix(kit)?.join("lib"));
    let said = kit::output(&mut command)?;
    if said.contains("0 table 7: one flat white") { Ok(()) } else { Err(said.into()) }
}

fn cmake(kit: &Kit, target: &str) -> Outcome {
    let dir = kit.scratch()?;
    let version = env!("CARGO_PKG_VERSION");
    fs::copy(kit.source("examples/minimal.c"), dir.path().join("app.c"))?;
    let project = format!(
        "cmake_minimum_required(VERSION 3.13)\nproject(app C)\n\
         find_package(ringlog {version} REQUIRED CONFIG)\n\
         find_package(ringlog 9.0 QUIET CONFIG)\n\
         if(ringlog_FOUND)\n  message(FATAL_ERROR \"took any version\")\nendif()\n\
         find_package(ringlog 0.1 REQUIRED CONFIG)\n\
         add_executable(app app.c)\ntarget_link_libraries(app PRIVATE {target})\n"
    );
    fs::write(dir.path().join("CMakeLists.txt"), project)?;
    let build = dir.path().join("build");
    let mut configure = Command::new("cmake");
    configure.arg("-S").arg(dir.path()).arg("-B").arg(&build);
    run(configure.arg(format!("-DCMAKE_PREFIX_PATH={}", prefix(kit)?.display())))?;
    run(Command::new("cmake").arg("--build").arg(&build))?;
    check(kit, &build.join("app"), target.ends_with("static"))
}

/// Runs a program that was built, and looks whether it needs the shared library.
fn check(kit: &Kit, program: &PathBuf, is_static: bool) -> Outcome {
    let needed = kit::output(Command::new("readelf").arg("-d").arg(program))?;
    if needed.contains("libringlog.so.0") == is_static {
        return Err(format!("static: {is_static}, but it needs\n{needed}").into());
    }
    let dir = kit.scratch()?;
    let mut command = Command::new(program);
    command.arg(dir.path().join("data")).env("LD_LIBRARY_PATH", prefix(kit)?.join("lib"));
    let said = kit::output(&mut command)?;
    if said.ends_with(EXPECTED) { Ok(()) } else { Err(said.into()) }
}
