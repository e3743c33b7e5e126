//! `RabbitMQ`: a quorum queue (of one member) for each partition, persistent messages, publisher
//! confirms. A quorum queue's log is synced before its confirm; it has no weaker level.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use bytes::Bytes;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties};
use ringlog_benches::error::{Context, Error, Result};
use ringlog_benches::target::{Level, Setup};

use super::served::Service;
use super::{Server, free_port, missing, program, required};

/// The server's own script: the one on the path changes the user.
const BIN: &str = "/usr/lib/rabbitmq/bin";
/// AMQP's number for messages that survive the server.
const PERSISTENT: u8 = 2;

/// The server, and Erlang's directory of nodes, of which it wants one.
pub struct Rabbit {
    server: Server,
    names: Server,
    port: u16,
    queues: u32,
}

/// A connection with its channel.
pub struct Connected {
    _connection: Connection,
    channel: Channel,
}

fn script() -> PathBuf {
    Path::new(BIN).join("rabbitmq-server")
}

/// Why it cannot take part.
pub fn unavailable() -> Option<String> {
    (!script().is_file() || program("epmd", &[]).is_none()).then(|| missing("rabbitmq-server"))
}

fn start_names(dir: &Path) -> Result<(Server, u16)> {
    let port = free_port()?;
    let mut command = Command::new(required("epmd", &[])?);
    command.args(["-address", "127.0.0.1", "-port", &port.to_string()]);
    let mut server = Server::start("epmd", dir, &command)?;
    server.wait_for(port)?;
    Ok((server, port))
}

impl Service for Rabbit {
    type Connection = Connected;

    fn start(dir: &Path, setup: &Setup) -> Result<Self> {
        if setup.level == Level::Written {
            return Err(Error::new("a quorum queue has one level only"));
        }
        let (names, names_port) = start_names(dir)?;
        let (port, nodes_port) = (free_port()?, free_port()?);
        let write = |name: &str, text: String| {
            let path = dir.join(name);
            fs::write(&path, text).context("writing the server's configuration").map(|()| path)
        };
        let config = format!("listeners.tcp.1 = 127.0.0.1:{port}\nlog.console = true\n");
        let config = write("rabbitmq.conf", config)?;
        let plugins = write("enabled_plugins", "[].\n".to_owned())?;
        let settings = write("rabbitmq-env.conf", String::new())?;
        let mut command = Command::new(script());
        command
            .env("HOME", dir)
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            .env("ERL_EPMD_PORT", names_port.to_string())
            .env("RABBITMQ_NODENAME", format!("peer-{port}@localhost"))
            .env("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1")
            .env("RABBITMQ_NODE_PORT", port.to_string())
            .env("RABBITMQ_DIST_PORT", nodes_port.to_string())
            .env("RABBITMQ_CONF_ENV_FILE", settings)
            .env("RABBITMQ_CONFIG_FILE", config)
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", plugins)
            .env("RABBITMQ_MNESIA_BASE", dir.join("mnesia"))
            .env("RABBITMQ_LOG_BASE", dir.join("log"))
            .env("RABBITMQ_PID_FILE", dir.join("pid"))
            // Its distribution would listen everywhere.
            .env(
                "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS",
                "-kernel inet_dist_use_interface {127,0,0,1}",
            )
            // The script then becomes the server, instead of waiting for it.
            .env("RUNNING_UNDER_SYSTEMD", "1");
        let mut server = Server::start("rabbitmq", dir, &command)?;
        server.wait_for(port)?;
        Ok(Self { server, names, port, queues: setup.partitions })
    }

    fn processes(&self) -> Vec<u32> {
        vec![self.server.id(), self.names.id()]
    }

    async fn connect(&self) -> Result<Connected> {
        let uri = format!("amqp://127.0.0.1:{}/%2f", self.port);
        let connection = Connection::connect(&uri, ConnectionProperties::default())
            .await
            .context("connecting to RabbitMQ")?;
        let channel = connection.create_channel().await.context("a channel")?;
        for queue in 0..self.queues {
            let mut arguments = FieldTable::default();
            arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
            let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
            let name = format!("q{queue}");
            let declared = channel.queue_declare(name.as_str().into(), options, arguments);
            declared.await.context("making a queue")?;
        }
        let confirms = channel.confirm_select(ConfirmSelectOptions::default());
        confirms.await.context("asking for confirms")?;
        Ok(Connected { _connection: connection, channel })
    }

    async fn send(connection: Arc<Connected>, stream: u32, values: Vec<Bytes>) -> Result<()> {
        let queue = format!("q{stream}");
        let mut confirms = Vec::with_capacity(values.len());
        for value in values {
            let properties = BasicProperties::default().with_delivery_mode(PERSISTENT);
            let options = BasicPublishOptions::default();
            let sent = connection.channel.basic_publish(
                "".into(),
                queue.as_str().into(),
                options,
                &value,
                properties,
            );
            confirms.push(sent.await.context("publishing")?);
        }
        for confirm in confirms {
            match confirm.await.context("waiting for a confirm")? {
                Confirmation::Ack(None) => {}
                other => return Err(Error::new(format!("RabbitMQ did not confirm: {other:?}"))),
            }
        }
        Ok(())
    }
}
