//! Runs the binary on a directory of its own.

use std::fs;
use std::io::{self, BufRead, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

pub const BINARY: &str = env!("CARGO_BIN_EXE_ringlog");
const PATIENCE: Duration = Duration::from_secs(60);

/// A directory that is not there yet, for one test; removed at its end.
pub struct Place {
    dir: PathBuf,
}

/// What a run of the binary left behind.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub out: Vec<u8>,
    pub err: String,
}

impl Place {
    pub fn new() -> Self {
        Self::below(Path::new(env!("CARGO_TARGET_TMPDIR")))
    }

    pub fn below(parent: &Path) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let dir = parent.join(format!("ringlog-cli-{}-{next}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir(&dir).unwrap();
        Self { dir }
    }

    /// With the topic `t`.
    pub fn with_topic(options: &[&str]) -> Self {
        let place = Self::new();
        place.run(&[&["create-topic", "t"], options].concat()).succeeds();
        place
    }

    pub fn base(&self) -> &Path {
        &self.dir
    }

    pub fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(BINARY);
        // A data directory on tmpfs is good enough here, where nobody pulls the plug.
        command.args(args).arg("--data").arg(self.data()).arg("--allow-volatile");
        command.env_remove("RINGLOG_DATA");
        command
    }

    pub fn run(&self, args: &[&str]) -> Ran {
        self.feed(args, b"")
    }

    pub fn feed(&self, args: &[&str], input: &[u8]) -> Ran {
        finish(self.command(args), input)
    }

    /// The values of topic `t`, one per line.
    pub fn lines(&self) -> Vec<String> {
        let ran = self.run(&["read", "t"]).succeeds();
        String::from_utf8(ran.out).unwrap().lines().map(str::to_owned).collect()
    }

    /// Every regular file of the data directory.
    pub fn files(&self) -> Vec<PathBuf> {
        fn walk(dir: &Path, files: &mut Vec<PathBuf>) {
            for entry in fs::read_dir(dir).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() { walk(&path, files) } else { files.push(path) }
            }
        }
        let mut files = Vec::new();
        walk(&self.data(), &mut files);
        files.sort();
        files
    }

    /// Path and content of every file, to see whether anything was touched; without LOCK, which
    /// names its last holder.
    pub fn content(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let content = |path: PathBuf| (path.clone(), fs::read(path).unwrap());
        let files = self.files().into_iter();
        files.filter(|path| !path.ends_with("LOCK")).map(content).collect()
    }

    /// The segment file that holds these bytes, and where.
    pub fn find(&self, bytes: &[u8]) -> (PathBuf, usize) {
        for (path, content) in self.content() {
            let is_segment = path.extension().is_some_and(|extension| extension == "log");
            let at = content.windows(bytes.len()).position(|window| window == bytes);
            if let (true, Some(at)) = (is_segment, at) {
                return (path, at);
            }
        }
        panic!("no segment holds {bytes:?}");
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

impl Ran {
    #[track_caller]
    pub fn succeeds(self) -> Self {
        assert_eq!(self.code, Some(0), "{}", self.err);
        assert_eq!(self.err, "");
        self
    }

    /// Failed with this code, and a message that holds each of these.
    #[track_caller]
    pub fn fails(self, code: i32, message: &[&str]) -> Self {
        assert_eq!(self.code, Some(code), "{}", self.err);
        for part in message {
            assert!(self.err.contains(part), "`{part}` is not in: {}", self.err);
        }
        assert!(!self.err.contains("panicked"), "{}", self.err);
        self
    }

    /// Failed with one line that begins with our name.
    #[track_caller]
    pub fn says(self, code: i32, message: &[&str]) -> Self {
        let ran = self.fails(code, message);
        assert!(ran.err.starts_with("ringlog: "), "{}", ran.err);
        assert_eq!(ran.err.lines().count(), 1, "{}", ran.err);
        ran
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.out.clone()).unwrap()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.out).unwrap()
    }
}

/// Runs a command to its end on this input.
pub fn finish(mut command: Command, input: &[u8]) -> Ran {
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let output = thread::scope(|scope| {
        // A command that fails early does not take its input.
        scope.spawn(move || drop(stdin.write_all(input)));
        child.wait_with_output().unwrap()
    });
    let err = String::from_utf8(output.stderr).unwrap();
    Ran { code: output.status.code(), out: output.stdout, err }
}

/// A running `append --print-acks`, fed and listened to line by line.
pub struct Appender {
    pub child: Child,
    pub stdin: Option<ChildStdin>,
    acks: BufReader<ChildStdout>,
}

impl Appender {
    pub fn start(place: &Place, options: &[&str]) -> Self {
        let args = [&["append", "t", "--print-acks"], options].concat();
        let mut command = place.command(&args);
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stdin = child.stdin.take();
        let acks = BufReader::new(child.stdout.take().unwrap());
        Self { child, stdin, acks }
    }

    pub fn write(&mut self, bytes: &[u8]) {
        self.stdin.as_mut().unwrap().write_all(bytes).unwrap();
    }

    /// The next acknowledgement; empty at the end.
    pub fn ack(&mut self) -> String {
        let mut line = String::new();
        self.acks.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    pub fn interrupt(&self) {
        self.signal("INT");
    }

    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let kill = Command::new("sh").args(["-c", &format!("kill -{name} {pid}")]).status();
        assert!(kill.unwrap().success());
    }

    /// Waits for the end, with standard input left open.
    pub fn end(mut self) -> Ran {
        let mut ran = Ran { code: None, out: Vec::new(), err: String::new() };
        self.acks.read_to_end(&mut ran.out).unwrap();
        self.child.stderr.take().unwrap().read_to_string(&mut ran.err).unwrap();
        ran.code = wait(&mut self.child);
        ran
    }
}

/// Waits with a deadline.
pub fn wait(child: &mut Child) -> Option<i32> {
    let started = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        assert!(started.elapsed() < PATIENCE, "still running");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Tells the test runner that a test could not run here. Written past the harness, which would
/// keep it to itself.
pub fn skip(name: &str, reason: &str) {
    let mut output = io::stdout();
    writeln!(output, "SKIP {name}: {reason}").unwrap();
}
