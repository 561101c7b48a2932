//! A client that does little else but shake hands: TLS 1.3 with X25519, one request, and the
//! connection closes. Resumed ones spend a ticket that an earlier connection brought.
//!
//! Isolates the handshake: no peer gets the hybrid key exchange that only some can do. It counts a
//! connection only if its handshake was of the kind that was asked for.

use std::sync::Arc;
use std::time::{Duration, Instant};

use portcullis::clock::Clock;
use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, HandshakeKind};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Builder;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;

use super::{Done, Load};
use crate::Result;
use crate::tokens::Issued;
use crate::world::World;

/// What every connection needs.
struct Client {
    port: u16,
    /// One a task, so that each has the tickets that its own last connection brought.
    configs: Vec<Arc<ClientConfig>>,
    request: Vec<u8>,
    resumed: bool,
    clock: Clock,
    end: Instant,
}

/// Keeps some connections being made for some seconds.
pub(super) fn run(
    load: &Load,
    world: &World,
    port: u16,
    seconds: u32,
    resumed: bool,
    issued: Option<&Issued>,
) -> Result<Done> {
    let token = issued.and_then(|issued| issued.tokens.first());
    let token = token.map(|token| format!("Authorization: Bearer {token}\r\n"));
    let request = format!(
        "GET {} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n{}\r\n",
        load.path,
        token.unwrap_or_default()
    );
    let clock = Clock::system();
    let start = clock.now();
    let client = Arc::new(Client {
        port,
        configs: (0..load.connections)
            .map(|_| config(world, resumed).map(Arc::new))
            .collect::<Result<_>>()?,
        request: request.into_bytes(),
        resumed,
        end: start + Duration::from_secs(u64::from(seconds)),
        clock: clock.clone(),
    });
    let runtime = Builder::new_current_thread().enable_io().build()?;
    let requests = runtime.block_on(async {
        let mut tasks = JoinSet::new();
        for config in &client.configs {
            tasks.spawn(keep_on(Arc::clone(&client), TlsConnector::from(Arc::clone(config))));
        }
        let mut requests = 0;
        while let Some(ended) = tasks.join_next().await {
            requests += ended.map_err(std::io::Error::other)??;
        }
        std::io::Result::Ok(requests)
    })?;
    let elapsed = clock.now().duration_since(start);
    Ok(Done { requests, elapsed, ..Done::default() })
}

fn config(world: &World, resumed: bool) -> Result<ClientConfig> {
    let mut provider = aws_lc_rs::default_provider();
    provider.kx_groups = vec![aws_lc_rs::kx_group::X25519];
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(world.certificate().roots()?)
        .with_no_client_auth();
    config.resumption =
        if resumed { Resumption::in_memory_sessions(8) } else { Resumption::disabled() };
    Ok(config)
}

async fn keep_on(client: Arc<Client>, connector: TlsConnector) -> std::io::Result<u64> {
    let mut counted = 0;
    let mut response = Vec::with_capacity(4096);
    while client.clock.now() < client.end {
        counted += u64::from(once(&client, &connector, &mut response).await?);
    }
    Ok(counted)
}

/// Whether it counts: the first one has no ticket to spend.
async fn once(
    client: &Client,
    connector: &TlsConnector,
    response: &mut Vec<u8>,
) -> std::io::Result<bool> {
    let stream = TcpStream::connect(("127.0.0.1", client.port)).await?;
    stream.set_nodelay(true)?;
    let name = ServerName::IpAddress(std::net::Ipv4Addr::LOCALHOST.into());
    let mut stream = connector.connect(name, stream).await?;
    stream.write_all(&client.request).await?;
    response.clear();
    // Some end without close_notify; what counts is that the whole response came.
    while let Ok(read) = stream.read_buf(response).await {
        if read == 0 {
            break;
        }
    }
    if !response.starts_with(b"HTTP/1.1 200") {
        let head = String::from_utf8_lossy(response);
        return Err(std::io::Error::other(format!("not answered with 200: {head}")));
    }
    let kind = stream.get_ref().1.handshake_kind();
    Ok((kind == Some(HandshakeKind::Resumed)) == client.resumed)
}
