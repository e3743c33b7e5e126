//! Servers: started in a scratch directory and bound to loopback on a port found free, and ended
//! whatever happens. A server is killed when its guard is dropped, and by the kernel when the
//! process that started it dies: each is started through this program, which asks for that and
//! becomes it.

#[cfg(feature = "kafka")]
pub mod kafka;
pub mod nats;
pub mod rabbit;
pub mod redis;
pub mod served;

use std::ffi::OsString;
use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use ringlog_benches::error::{Context, Error, Result};
use rustix::process::{Pid, Signal};

/// Longest time until a server answers.
const START_TIMEOUT: Duration = Duration::from_secs(90);
const LOOK: Duration = Duration::from_millis(50);
/// What of a server's log is shown when it does not start.
const SHOWN_LINES: usize = 12;

/// What to become, tied to the life of the process that asks for it.
#[derive(Clone, Debug, Args)]
pub struct GuardedArgs {
    /// The process that asks for it.
    parent: u32,
    /// The program and its arguments.
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<OsString>,
}

/// Becomes the program; the kernel kills it when the parent dies.
pub fn become_guarded(args: &GuardedArgs) -> Result<()> {
    die_with_parent(args.parent)?;
    let error = Command::new(&args.command[0]).args(&args.command[1..]).exec();
    Err(error).context(format!("starting {}", args.command[0].display()))
}

/// Lets the kernel kill this process when the one that started it dies.
pub fn die_with_parent(parent: u32) -> Result<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .context("tying this process to its parent")?;
    // It may have died before.
    let now = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get().cast_unsigned());
    if now == Some(parent) { Ok(()) } else { Err(Error::new("the parent is gone")) }
}

/// A server that runs; ended when dropped.
#[derive(Debug)]
pub struct Server {
    name: &'static str,
    child: Child,
    log: PathBuf,
}

impl Server {
    /// Starts `command`, whose output goes to a file in `dir`.
    pub fn start(name: &'static str, dir: &Path, command: &Command) -> Result<Self> {
        let own = std::env::current_exe().context("finding this program")?;
        let log = dir.join(format!("{name}.log"));
        let output = File::create(&log).context(format!("creating {}", log.display()))?;
        let errors = output.try_clone().context("its standard error")?;
        let mut guarded = Command::new(own);
        guarded.arg("guarded").arg(std::process::id().to_string()).arg("--");
        guarded.arg(command.get_program()).args(command.get_args());
        guarded.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        // A group of its own, so that ^C reaches those first who write down what they measured.
        guarded.current_dir(dir).process_group(0);
        guarded.stdin(Stdio::null()).stdout(output).stderr(errors);
        let child = guarded.spawn().context(format!("starting {name}"))?;
        Ok(Self { name, child, log })
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until `answers`.
    pub fn wait_until(&mut self, mut answers: impl FnMut() -> bool) -> Result<()> {
        let start = Instant::now();
        while !answers() {
            let ended = self.child.try_wait().context(format!("waiting for {}", self.name))?;
            if ended.is_some() || start.elapsed() > START_TIMEOUT {
                let text = fs::read_to_string(&self.log).unwrap_or_default();
                let lines: Vec<&str> = text.lines().collect();
                let last = lines[lines.len().saturating_sub(SHOWN_LINES)..].join("\n  ");
                return Err(Error::new(format!("{} does not start; it said\n  {last}", self.name)));
            }
            thread::sleep(LOOK);
        }
        Ok(())
    }

    /// Waits until something listens there.
    pub fn wait_for(&mut self, port: u16) -> Result<()> {
        self.wait_until(|| TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Its scratch directory goes, so nothing is lost by not asking first. It leads a group of
        // its own, in which its children are.
        let group = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        if let Some(group) = group {
            let _ = rustix::process::kill_process_group(group, Signal::KILL);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port of the loopback interface that nothing listens on.
pub fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("looking for a port")?;
    listener.local_addr().map(|address| address.port()).context("looking for a port")
}

/// What `benches/compare/setup` fetched.
pub fn fetched() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.setup/peers")
}

/// The program of this name: fetched, or on the path, or in `also`.
pub fn program(name: &str, also: &[&str]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places = vec![fetched().join("bin")];
    places.extend(std::env::split_paths(&path));
    places.extend(also.iter().map(PathBuf::from));
    places.into_iter().map(|place| place.join(name)).find(|path| path.is_file())
}

/// The same, or the reason why it cannot take part.
pub fn required(name: &str, also: &[&str]) -> Result<PathBuf> {
    program(name, also).ok_or_else(|| Error::new(missing(name)))
}

/// The reason why a peer is skipped whose program is not there.
pub fn missing(name: &str) -> String {
    format!("{name} is not installed (make compare-setup)")
}

/// What a program says of its version.
pub fn version(program: &Path, argument: &str) -> Option<String> {
    let output = Command::new(program).arg(argument).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().next().map(|line| line.trim().to_owned())
}
