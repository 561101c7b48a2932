//! Sends the requests over connections that are kept as long as they may be.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::request::{CARRIERS, Carrier, Request};
use super::site::Site;
use crate::support::Response;
use crate::support::client::Client;
use crate::support::h2::H2;

/// Threads, each with a connection of every kind.
const SENDERS: usize = 4;

/// The responses, in the requests' order.
pub(crate) fn send_all(site: &Site, requests: &[Request<'_>]) -> Vec<Result<Response, String>> {
    let next = AtomicUsize::new(0);
    let send = || {
        let mut lanes: Vec<Lane> = CARRIERS.iter().map(|_| Lane::Closed).collect();
        let mut seen = Vec::new();
        loop {
            let mark = next.fetch_add(1, Ordering::Relaxed);
            let Some(request) = requests.get(mark) else { return seen };
            seen.push((
                mark,
                lanes[request.row[super::request::CARRIER]].send(site, request, mark),
            ));
        }
    };
    let mut seen: Vec<_> = thread::scope(|scope| {
        let senders: Vec<_> = (0..SENDERS).map(|_| scope.spawn(send)).collect();
        senders.into_iter().flat_map(|sender| sender.join().unwrap()).collect()
    });
    seen.sort_unstable_by_key(|(mark, _)| *mark);
    seen.into_iter().map(|(_, response)| response).collect()
}

/// One connection, while it lasts.
enum Lane {
    Closed,
    Http1(Client),
    Http2(H2),
}

impl Lane {
    fn open(site: &Site, carrier: Carrier) -> Self {
        let address = site.gateway.address(carrier.listener);
        match (carrier.listener, carrier.http2) {
            ("plain", _) => Self::Http1(Client::tcp(address)),
            (_, false) => Self::Http1(Client::tls(address, &site.certificate.client("http/1.1"))),
            (_, true) => Self::Http2(H2::tls(address, &site.certificate.client("h2"))),
        }
    }

    fn send(
        &mut self,
        site: &Site,
        request: &Request<'_>,
        mark: usize,
    ) -> Result<Response, String> {
        if matches!(self, Self::Closed) {
            *self = Self::open(site, request.carrier);
        }
        let response = match self {
            Self::Closed => unreachable!("opened above"),
            Self::Http1(client) => {
                client.send(request.http1(mark));
                client.try_response(request.method).map_err(|broken| broken.to_string())
            }
            Self::Http2(client) => client.send(request.http2(mark)),
        };
        if response.as_ref().map_or(true, |response| response.closes) {
            *self = Self::Closed;
        }
        response
    }
}
