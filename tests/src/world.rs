//! A simulated disk with an engine on it, for tests that tell one story each.

use std::time::Duration;

use ringlog::sim::{Crash, Disk, OpenMode, SimConfig, SimDisk};
use ringlog::{
    Clock, Engine, Error, Flush, LogMetrics, Options, Partition, Record, Start, TopicSpec,
};

/// Small enough that rings wrap and segments roll.
pub fn small() -> Options {
    Engine::options()
        .segment_bytes(64 << 10)
        .ring_bytes(64 << 10)
        .group_bytes(16 << 10)
        .max_payload_bytes(24 << 10)
        .async_window(64 << 10, Duration::from_millis(200))
        .append_timeout(Duration::from_millis(500))
        .close_timeout(Duration::from_millis(50))
}

/// The values of a partition, from its log start on.
///
/// # Errors
/// The first error of the reader.
pub fn values(partition: &Partition) -> Result<Vec<Vec<u8>>, Error> {
    let records = partition.reader(Start::Earliest)?.records();
    records.map(|record| Ok(record?.value.unwrap_or_default().to_vec())).collect()
}

/// A value that says which it is, `len` bytes long.
pub fn value(n: u64, len: usize) -> Vec<u8> {
    let mut value = format!("value {n} ").into_bytes();
    value.resize(len.max(value.len()), b'.');
    value
}

/// The values `0..n` as [`append`] makes them.
pub fn expected(n: u64, len: usize) -> Vec<Vec<u8>> {
    (0..n).map(|i| value(i, len)).collect()
}

/// Appends the values `from..to`, one record each, waiting for each.
///
/// # Panics
/// If an append fails.
pub fn append(partition: &Partition, from: u64, to: u64, len: usize) {
    for n in from..to {
        partition.append(Record::new(&value(n, len))).expect("the disk works");
    }
}

/// See the module.
#[derive(Debug)]
pub struct World {
    /// The disk as it is now.
    pub disk: SimDisk,
    /// Its time.
    pub clock: Clock,
    /// How engines are opened.
    pub options: Options,
}

impl World {
    /// An empty disk: a seed, FUA, and what `change` makes of the rest.
    pub fn new(seed: u64, change: impl FnOnce(&mut SimConfig)) -> Self {
        let clock = Clock::manual();
        let mut config = SimConfig { clock: clock.clone(), ..SimConfig::seeded(seed) };
        config.ring_may_shrink = false;
        change(&mut config);
        Self { disk: SimDisk::new(config), clock, options: small() }
    }

    /// Opens an engine.
    ///
    /// # Errors
    /// As opening does.
    pub fn try_open(&self) -> Result<Engine, Error> {
        Engine::open_simulated(&self.disk, self.options.clone(), self.clock.clone())
    }

    /// Opens an engine.
    ///
    /// # Panics
    /// If it does not open.
    pub fn open(&self) -> Engine {
        self.try_open().expect("the directory opens")
    }

    /// Ends the process, or the power.
    pub fn crash(&mut self, crash: Crash) {
        self.disk = self.disk.crash(crash);
    }

    /// The same disk again, with other luck.
    #[must_use]
    pub fn fork(&self, seed: u64) -> Self {
        let disk = self.disk.fork(seed);
        Self { disk, clock: self.clock.clone(), options: self.options.clone() }
    }

    /// Every file with its bytes.
    ///
    /// # Panics
    /// If one goes away meanwhile.
    pub fn files(&self) -> Vec<(String, Vec<u8>)> {
        let files = self.disk.list_all().into_iter().filter(|entry| !entry.is_dir);
        files
            .map(|entry| {
                let bytes = self.disk.read_file(&entry.name).expect("a file that is listed");
                (entry.name, bytes)
            })
            .collect()
    }

    /// The files of a directory whose name ends like this, sorted.
    pub fn named(&self, dir: &str, end: &str) -> Vec<String> {
        let all = self.disk.list_all().into_iter().map(|entry| entry.name);
        all.filter(|name| name.starts_with(dir) && name.ends_with(end)).collect()
    }

    /// An outside hand writes into a file or a ring.
    ///
    /// # Panics
    /// If there is none.
    pub fn overwrite(&self, path: &str, at: u64, bytes: &[u8]) {
        let file = self.disk.open(path, OpenMode::Write).expect("the file is there");
        file.write_at(bytes, at).expect("it can be written");
        file.sync().expect("and flushed");
    }

    /// An outside hand puts a file there.
    ///
    /// # Panics
    /// If there is one.
    pub fn put(&self, path: &str, bytes: &[u8]) {
        let file = self.disk.open(path, OpenMode::Create).expect("the name is free");
        file.write_at(bytes, 0).expect("it can be written");
        file.sync().expect("and flushed");
        self.sync_parent(path);
    }

    /// An outside hand removes a file.
    ///
    /// # Panics
    /// If there is none.
    pub fn remove(&self, path: &str) {
        self.disk.remove(path).expect("the file is there");
        self.sync_parent(path);
    }

    fn sync_parent(&self, path: &str) {
        let dir = path.rsplit_once('/').map_or("", |(dir, _)| dir);
        self.disk.sync_dir(dir).expect("the directory is there");
    }

    /// Where in a file these bytes are first.
    ///
    /// # Panics
    /// If they are nowhere.
    pub fn find(&self, path: &str, bytes: &[u8]) -> u64 {
        let all = self.disk.read_file(path).expect("the file is there");
        let at = all.windows(bytes.len()).position(|window| window == bytes);
        at.expect("the bytes are there") as u64
    }
}

/// Partition 0 of a topic, made if need be.
///
/// # Panics
/// If it cannot be made.
pub fn topic(engine: &Engine, name: &str, flush: Flush) -> Partition {
    let topic = engine.open_or_create_topic(TopicSpec::new(name).flush(flush));
    topic.and_then(|topic| topic.partition(0)).expect("the topic can be made")
}

/// The counters of a log.
///
/// # Panics
/// If there is none of this name.
pub fn log(engine: &Engine, name: &str) -> LogMetrics {
    let logs = engine.metrics().logs;
    logs.into_iter().find(|log| log.log == name).expect("the log is there")
}
