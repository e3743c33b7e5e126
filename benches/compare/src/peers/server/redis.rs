//! Redis Streams: an `XADD` for each record, a pipeline for a batch. Durable is an append-only file
//! with `appendfsync always`: what one turn of its loop took is synced once, before the answers.
//! Written is `everysec`: the file is in the page cache before the answer.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use ::redis::aio::MultiplexedConnection;
use ::redis::{AsyncConnectionConfig, Client, cmd, pipe};
use bytes::Bytes;
use ringlog_benches::error::{Context, Result};
use ringlog_benches::target::{Level, Setup};

use super::served::Service;
use super::{Server, free_port, required};

/// The server.
pub struct Redis {
    server: Server,
    port: u16,
}

impl Service for Redis {
    type Connection = MultiplexedConnection;

    fn start(dir: &Path, setup: &Setup) -> Result<Self> {
        let port = free_port()?;
        let always = if setup.level == Level::Durable { "always" } else { "everysec" };
        let mut command = Command::new(required("redis-server", &[])?);
        command.args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--daemonize", "no"]);
        command.args(["--appendonly", "yes", "--appendfsync", always, "--save", ""]);
        // Rewriting the file is not part of what is compared.
        command.args(["--auto-aof-rewrite-percentage", "0"]);
        let mut server = Server::start("redis", dir, &command)?;
        server.wait_for(port)?;
        Ok(Self { server, port })
    }

    fn processes(&self) -> Vec<u32> {
        vec![self.server.id()]
    }

    async fn connect(&self) -> Result<MultiplexedConnection> {
        let client =
            Client::open(format!("redis://127.0.0.1:{}/", self.port)).context("its address")?;
        let config = AsyncConnectionConfig::new().set_response_timeout(None);
        client
            .get_multiplexed_async_connection_with_config(&config)
            .await
            .context("connecting to Redis")
    }

    async fn send(
        connection: Arc<MultiplexedConnection>,
        stream: u32,
        values: Vec<Bytes>,
    ) -> Result<()> {
        let mut connection = MultiplexedConnection::clone(&connection);
        let key = format!("stream-{stream}");
        if let [value] = values.as_slice() {
            let mut add = cmd("XADD");
            add.arg(&key).arg("*").arg("v").arg(&value[..]);
            return add.query_async(&mut connection).await.context("XADD");
        }
        let mut adds = pipe();
        for value in &values {
            adds.cmd("XADD").arg(&key).arg("*").arg("v").arg(&value[..]).ignore();
        }
        adds.query_async(&mut connection).await.context("XADD")
    }
}
