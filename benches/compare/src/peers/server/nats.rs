//! NATS `JetStream`: a stream for each partition, in files. Durable is `sync_interval: always`,
//! which Debian's release does not know; written is its default, a sync every two minutes.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use async_nats::jetstream::{self, stream};
use bytes::Bytes;
use ringlog_benches::error::{Context, Result};
use ringlog_benches::target::{Level, Setup};

use super::served::Service;
use super::{Server, free_port, missing, required, version};

/// Where Debian puts it.
const SBIN: &str = "/usr/sbin";
/// The first release that knows `sync_interval`.
const SINCE: (u32, u32) = (2, 10);

/// The server.
pub struct Nats {
    server: Server,
    port: u16,
    streams: u32,
}

/// Why it cannot take part.
pub fn unavailable() -> Option<String> {
    let Some(program) = super::program("nats-server", &[SBIN]) else {
        return Some(missing("nats-server"));
    };
    let version = version(&program, "--version").unwrap_or_default();
    match numbers(&version) {
        Some(numbers) if numbers >= SINCE => None,
        _ => Some(format!(
            "{version} at {} has no sync_interval: always; 2.10 has (make compare-setup)",
            program.display()
        )),
    }
}

/// The first two numbers of `nats-server: v2.9.10`.
fn numbers(version: &str) -> Option<(u32, u32)> {
    let (_, numbers) = version.rsplit_once('v')?;
    let mut numbers = numbers.split('.').map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

impl Service for Nats {
    type Connection = jetstream::Context;

    fn start(dir: &Path, setup: &Setup) -> Result<Self> {
        let port = free_port()?;
        let sync = if setup.level == Level::Durable { "always" } else { "\"2m\"" };
        let config = format!(
            "listen: \"127.0.0.1:{port}\"\n\
             jetstream {{\n  store_dir: \"{}\"\n  sync_interval: {sync}\n}}\n",
            dir.join("jetstream").display()
        );
        let path = dir.join("nats.conf");
        fs::write(&path, config).context("writing the server's configuration")?;
        let mut command = Command::new(required("nats-server", &[SBIN])?);
        command.arg("--config").arg(path);
        let mut server = Server::start("nats", dir, &command)?;
        server.wait_for(port)?;
        Ok(Self { server, port, streams: setup.partitions })
    }

    fn processes(&self) -> Vec<u32> {
        vec![self.server.id()]
    }

    async fn connect(&self) -> Result<jetstream::Context> {
        let client = async_nats::connect(format!("127.0.0.1:{}", self.port))
            .await
            .context("connecting to NATS")?;
        let context = jetstream::new(client);
        for stream in 0..self.streams {
            let config = stream::Config {
                name: format!("S{stream}"),
                subjects: vec![format!("s.{stream}")],
                storage: stream::StorageType::File,
                ..stream::Config::default()
            };
            context.get_or_create_stream(config).await.context("making a stream")?;
        }
        Ok(context)
    }

    async fn send(
        connection: Arc<jetstream::Context>,
        stream: u32,
        values: Vec<Bytes>,
    ) -> Result<()> {
        let mut acknowledgements = Vec::with_capacity(values.len());
        for value in values {
            let sent = connection.publish(format!("s.{stream}"), value).await;
            acknowledgements.push(sent.context("publishing")?);
        }
        for acknowledgement in acknowledgements {
            acknowledgement.await.context("waiting for an acknowledgement")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_told_apart() {
        assert_eq!(numbers("nats-server: v2.9.10"), Some((2, 9)));
        assert_eq!(numbers("nats-server: v2.15.2"), Some((2, 15)));
        assert_eq!(numbers("what?"), None);
    }
}
