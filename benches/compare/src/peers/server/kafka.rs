//! Kafka, one node that is broker and controller, a topic with a partition for each stream, through
//! rdkafka, acks=all and without lingering. Durable is `flush.messages=1`; written is the default,
//! which leaves flushing to the system.

use std::fs;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::producer::{DeliveryFuture, FutureProducer, FutureRecord};
use ringlog_benches::error::{Context, Error, Result};
use ringlog_benches::target::{Level, Setup, Target};
use tokio::runtime::Builder;

use super::{Server, fetched, free_port, missing, program, required};

const TOPIC: &str = "bench";
/// Longest time for topics to be made.
const ADMIN_TIMEOUT: Duration = Duration::from_secs(120);

/// The server and a producer.
pub struct Kafka {
    producer: FutureProducer,
    end: AtomicU64,
    server: Server,
}

fn jars() -> PathBuf {
    fetched().join("kafka")
}

/// Why it cannot take part.
pub fn unavailable() -> Option<String> {
    let broker = jars().read_dir().is_ok_and(|mut jars| jars.next().is_some());
    if !broker {
        return Some("Kafka's jars are not there (make compare-setup)".to_owned());
    }
    program("java", &[]).is_none().then(|| missing("java"))
}

fn java(class: &str) -> Result<Command> {
    let mut command = Command::new(required("java", &[])?);
    let jars = jars().canonicalize().context("finding Kafka's jars")?;
    command.args(["-Xmx1g", "-Xms1g", "-XX:+UseG1GC", "-cp"]);
    command.arg(format!("{}/*", jars.display())).arg(class);
    Ok(command)
}

fn start(dir: &Path, level: Level, partitions: u32) -> Result<(Server, u16)> {
    let (port, controller) = (free_port()?, free_port()?);
    let data = dir.join("data");
    let mut config = format!(
        "process.roles=broker,controller\nnode.id=1\n\
         controller.quorum.voters=1@127.0.0.1:{controller}\n\
         listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}\n\
         advertised.listeners=PLAINTEXT://127.0.0.1:{port}\n\
         controller.listener.names=CONTROLLER\n\
         listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT\n\
         log.dirs={}\nnum.partitions={partitions}\n\
         offsets.topic.replication.factor=1\ntransaction.state.log.replication.factor=1\n\
         transaction.state.log.min.isr=1\nauto.create.topics.enable=false\n",
        data.display()
    );
    if level == Level::Durable {
        config += "log.flush.interval.messages=1\n";
    }
    let path = dir.join("server.properties");
    fs::write(&path, config).context("writing the server's configuration")?;
    let formatted = java("kafka.tools.StorageTool")?
        .args(["format", "--cluster-id", "MkU3OEVBNTcwNTJENDM2Qk", "--config"])
        .arg(&path)
        .output()
        .context("starting java")?;
    if !formatted.status.success() {
        let said = String::from_utf8_lossy(&formatted.stderr).into_owned();
        return Err(Error::new(format!("Kafka does not format its directory: {}", said.trim())));
    }
    let mut command = java("kafka.Kafka")?;
    command.arg(&path);
    let mut server = Server::start("kafka", dir, &command)?;
    server.wait_for(port)?;
    Ok((server, port))
}

fn make_topic(config: &ClientConfig, partitions: u32) -> Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build().context("a runtime")?;
    runtime.block_on(async {
        let admin: AdminClient<DefaultClientContext> =
            config.create().context("connecting to Kafka")?;
        let partitions = i32::try_from(partitions).context("so many partitions")?;
        let topic = NewTopic::new(TOPIC, partitions, TopicReplication::Fixed(1));
        let options = AdminOptions::new().operation_timeout(Some(ADMIN_TIMEOUT));
        let made = admin.create_topics([&topic], &options).await.context("making the topic")?;
        match made.into_iter().next() {
            Some(Ok(_)) => Ok(()),
            Some(Err((_, code))) => Err(Error::new(format!("making the topic: {code}"))),
            None => Err(Error::new("Kafka said nothing of the topic")),
        }
    })
}

/// Resolves when all records of a batch are acknowledged.
pub struct Pending(Result<Vec<DeliveryFuture>, Option<Error>>);

impl Future for Pending {
    type Output = Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Result<()>> {
        let waiting = match &mut self.0 {
            Ok(waiting) => waiting,
            Err(error) => return Poll::Ready(error.take().map_or(Ok(()), Err)),
        };
        // Of one partition, so they are acknowledged in this order.
        while let Some(last) = waiting.first_mut() {
            match Pin::new(last).poll(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(Ok(_))) => drop(waiting.remove(0)),
                Poll::Ready(Ok(Err((error, _)))) => {
                    return Poll::Ready(Err(error).context("producing"));
                }
                Poll::Ready(Err(_)) => {
                    return Poll::Ready(Err(Error::new("the producer dropped a record")));
                }
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl Kafka {
    fn send(&self, partition: u32, values: &[&[u8]]) -> Result<Vec<DeliveryFuture>> {
        let partition = i32::try_from(partition).context("so many partitions")?;
        let send = |value: &&[u8]| {
            let record: FutureRecord<'_, (), [u8]> =
                FutureRecord::to(TOPIC).partition(partition).payload(*value);
            self.producer.send_result(record).map_err(|(error, _)| error).context("producing")
        };
        values.iter().map(send).collect()
    }
}

impl Target for Kafka {
    type Pending = Pending;

    fn open(dir: &Path, setup: &Setup) -> Result<Self> {
        let dir = dir.canonicalize().context(format!("finding {}", dir.display()))?;
        let (server, port) = start(&dir, setup.level, setup.partitions)?;
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", format!("127.0.0.1:{port}"));
        config.set("acks", "all").set("linger.ms", "0").set("socket.nagle.disable", "true");
        config.set("queue.buffering.max.messages", "1000000");
        // A request at a time: what waits for it makes the next one a batch, and a batch shares its
        // flushes. With more, nearly every record would be a request of its own.
        config.set("max.in.flight.requests.per.connection", "1");
        make_topic(&config, setup.partitions)?;
        let producer = config.create().context("connecting to Kafka")?;
        let kafka = Self { producer, end: AtomicU64::new(0), server };
        // It learns where the partitions are with the first record.
        kafka.append(0, &[b"first"])?;
        Ok(kafka)
    }

    fn append(&self, partition: u32, values: &[&[u8]]) -> Result<()> {
        super::served::block_on(self.submit(partition, values))
    }

    fn submit(&self, partition: u32, values: &[&[u8]]) -> Pending {
        self.end.fetch_add(values.len() as u64, Ordering::Relaxed);
        Pending(self.send(partition, values).map_err(Some))
    }

    fn end(&self) -> u64 {
        self.end.load(Ordering::Relaxed)
    }

    fn trim(&self, _: u64) -> Result<()> {
        Err(Error::new("its partitions only grow here"))
    }

    fn log_bytes(&self) -> Option<u64> {
        None
    }

    fn helpers(&self) -> Vec<u32> {
        vec![self.server.id()]
    }

    fn close(self) -> Result<()> {
        Ok(())
    }
}
