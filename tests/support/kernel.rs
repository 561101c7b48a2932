//! What the kernel says of TCP connections: whether the other end has read what was sent.

use std::fs;
use std::net::{IpAddr, SocketAddr};

use super::eventually;

/// Waits until the process that holds `server`'s end has read every byte that `client` sent.
pub(crate) fn all_read(client: SocketAddr, server: SocketAddr) {
    eventually("all that was sent is read", || {
        let sent = queues(client, server).is_some_and(|queues| queues.sending == 0);
        let read = queues(server, client).is_some_and(|queues| queues.unread == 0);
        (sent && read).then_some(())
    });
}

struct Queues {
    sending: u32,
    unread: u32,
}

/// The queues of the socket at `local` that is connected to `remote`.
fn queues(local: SocketAddr, remote: SocketAddr) -> Option<Queues> {
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    let (local, remote) = (in_table(local), in_table(remote));
    let mut fields = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let row = fields.find(|row| row.get(1) == Some(&&*local) && row.get(2) == Some(&&*remote))?;
    let (sending, unread) = row.get(4)?.split_once(':')?;
    let number = |hex| u32::from_str_radix(hex, 16).ok();
    Some(Queues { sending: number(sending)?, unread: number(unread)? })
}

fn in_table(address: SocketAddr) -> String {
    let IpAddr::V4(ip) = address.ip() else { panic!("{address} is not IPv4") };
    format!("{:08X}:{:04X}", u32::from_ne_bytes(ip.octets()), address.port())
}
