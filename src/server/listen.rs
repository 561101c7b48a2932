//! Binding: from an address as configured to a socket that clients can connect to.
//!
//! A bound socket outlives every configuration after it. Refused: replacing a file that is no
//! socket, or a unix socket that somebody still listens on.

use std::fs::Metadata;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Weak;
use std::time::SystemTime;

use socket2::{Domain, SockAddr, SockRef, Socket, Type};

/// Where a listener listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ListenAddress {
    /// A TCP port; without a host on every address, IPv6 and IPv4, or IPv4 alone where the system
    /// has no IPv6. Port 0: any free one.
    Tcp {
        /// A name or an address without brackets.
        host: Option<String>,
        /// The port.
        port: u16,
    },
    /// A unix socket, created with mode 0660.
    Unix(PathBuf),
}

/// A bound, listening socket.
#[derive(Debug)]
pub struct Bound {
    pub(super) socket: ListenSocket,
    pub(super) file: Option<SocketFile>,
}

impl Bound {
    /// The address of a TCP socket, with the port that the system chose.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        match &self.socket {
            ListenSocket::Tcp(listener) => listener.local_addr().ok(),
            ListenSocket::Unix(_) => None,
        }
    }
}

/// A bound socket as the standard library has it; the name of a unix socket is removed on drop.
#[derive(Debug)]
pub enum StdSocket {
    /// TCP.
    Tcp(TcpListener),
    /// A unix socket, with the guard of its name.
    Unix(UnixListener, Option<SocketFile>),
}

impl From<Bound> for StdSocket {
    fn from(bound: Bound) -> Self {
        match bound.socket {
            ListenSocket::Tcp(listener) => Self::Tcp(listener),
            ListenSocket::Unix(listener) => Self::Unix(listener, bound.file),
        }
    }
}

#[derive(Debug)]
pub(super) enum ListenSocket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl ListenSocket {
    /// Whether a socket that asks for the same may have an address that overlaps this one's.
    fn share(&self, on: bool) -> io::Result<()> {
        match self {
            Self::Tcp(listener) => SockRef::from(listener).set_reuse_port(on),
            Self::Unix(_) => Ok(()),
        }
    }
}

/// The name of a unix socket in the file system; dropped, it is removed.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    identity: Identity,
}

/// What tells one file from the next of that name.
#[derive(Debug, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
    /// File systems give the number of a removed file to the next one.
    born: Option<SystemTime>,
}

impl Identity {
    fn of(file: &Metadata) -> Self {
        Self { device: file.dev(), inode: file.ino(), born: file.created().ok() }
    }
}

impl SocketFile {
    /// Removes the name, unless another process has put its own socket there since.
    pub(super) fn remove(&self) {
        let ours = std::fs::symlink_metadata(&self.path)
            .is_ok_and(|file| Identity::of(&file) == self.identity);
        if ours && let Err(error) = std::fs::remove_file(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "socket file not removed");
        }
    }
}

impl Drop for SocketFile {
    /// Nobody can connect any more: a name left behind would look like a gateway that hangs.
    fn drop(&mut self) {
        self.remove();
    }
}

/// Binds and listens.
///
/// # Errors
/// What the system says; `AddrInUse` also for a unix socket that somebody listens on, and
/// `AlreadyExists` for a file there that is no socket.
pub fn bind(address: &ListenAddress) -> io::Result<Bound> {
    bind_with(address, false)
}

fn bind_with(address: &ListenAddress, shared: bool) -> io::Result<Bound> {
    match address {
        ListenAddress::Tcp { host: None, port } => bind_everywhere(*port, shared),
        ListenAddress::Tcp { host: Some(host), port } => bind_host(host, *port, shared),
        ListenAddress::Unix(path) => bind_unix(path),
    }
}

/// Like [`bind`], at a port of which sockets of ours are about to close. They share it until this
/// one listens: with sockets of this user that ask for it, and with nobody else's.
///
/// # Errors
/// As of [`bind`].
pub fn bind_beside(address: &ListenAddress, leaving: &[Listening]) -> io::Result<Bound> {
    let share = |on| leaving.iter().try_for_each(|listening| listening.share(on));
    let bound = share(true).and_then(|()| bind_with(address, true));
    share(false)?;
    let bound = bound?;
    bound.socket.share(false)?;
    Ok(bound)
}

/// A listening socket of ours, for whoever binds beside it.
#[derive(Clone, Debug)]
pub struct Listening {
    pub(super) socket: Weak<ListenSocket>,
    pub(super) address: Option<SocketAddr>,
}

impl Listening {
    /// The address of a TCP socket.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.address
    }

    fn share(&self, on: bool) -> io::Result<()> {
        self.socket.upgrade().map_or(Ok(()), |socket| socket.share(on))
    }
}

fn bind_everywhere(port: u16, shared: bool) -> io::Result<Bound> {
    let any6 = SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), port);
    match bind_tcp(any6, true, shared) {
        // Bound to somebody else is an answer; no IPv6 on this system is not.
        Err(error) if error.kind() != io::ErrorKind::AddrInUse => {
            bind_tcp(SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port), false, shared)
                .map_err(|_| error)
        }
        bound => bound,
    }
}

fn bind_host(host: &str, port: u16, shared: bool) -> io::Result<Bound> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    for address in (host, port).to_socket_addrs()? {
        match bind_tcp(address, false, shared) {
            Ok(bound) => return Ok(bound),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn bind_tcp(address: SocketAddr, dual: bool, shared: bool) -> io::Result<Bound> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    // A restart must not wait for the connections of the process before it to leave TIME_WAIT.
    socket.set_reuse_address(true)?;
    if dual {
        socket.set_only_v6(false)?;
    }
    if shared {
        socket.set_reuse_port(true)?;
    }
    socket.bind(&address.into())?;
    listen(&socket)?;
    Ok(Bound { socket: ListenSocket::Tcp(socket.into()), file: None })
}

fn bind_unix(path: &Path) -> io::Result<Bound> {
    make_room(path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&SockAddr::unix(path)?)?;
    // Before `listen` nobody can connect, so there is no moment with the umask's mode.
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660))?;
    let file = std::fs::symlink_metadata(path)?;
    listen(&socket)?;
    let file = Some(SocketFile { path: path.to_owned(), identity: Identity::of(&file) });
    Ok(Bound { socket: ListenSocket::Unix(socket.into()), file })
}

fn listen(socket: &Socket) -> io::Result<()> {
    socket.set_nonblocking(true)?;
    socket.listen(BACKLOG)
}

/// Removes the socket of a process that is gone.
fn make_room(path: &Path) -> io::Result<()> {
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(file) if !file.file_type().is_socket() => {
            Err(io::Error::new(io::ErrorKind::AlreadyExists, "a file that is no socket is there"))
        }
        Ok(_) => match knock(path) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                std::fs::remove_file(path)
            }
            Ok(_) | Err(_) => Err(io::Error::new(
                io::ErrorKind::AddrInUse,
                "somebody listens on this socket already",
            )),
        },
    }
}

/// Whether somebody listens there. Never waits: with a full backlog the kernel says so at once.
fn knock(path: &Path) -> io::Result<()> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.connect(&SockAddr::unix(path)?)
}

/// Connections that wait in the kernel while the acceptor is busy; the kernel lowers it to its own
/// `somaxconn` (4096). Too few and a burst of new clients waits a second for its second SYN.
const BACKLOG: i32 = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_without_host_takes_both_families() {
        let bound = bind(&ListenAddress::Tcp { host: None, port: 0 }).unwrap();
        let port = bound.local_addr().unwrap().port();
        assert_ne!(port, 0);
        std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        if bound.local_addr().unwrap().is_ipv6() {
            std::net::TcpStream::connect((Ipv6Addr::LOCALHOST, port)).unwrap();
        }
    }

    #[test]
    fn hosts_are_resolved_and_taken_ports_are_errors() {
        let host = Some("127.0.0.1".to_owned());
        let bound = bind(&ListenAddress::Tcp { host: host.clone(), port: 0 }).unwrap();
        let port = bound.local_addr().unwrap().port();
        let error = bind(&ListenAddress::Tcp { host, port }).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        assert!(bind(&ListenAddress::Tcp { host: Some("localhost".to_owned()), port: 0 }).is_ok());
    }

    #[test]
    fn a_unix_socket_replaces_only_a_dead_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("gate.sock");
        let address = ListenAddress::Unix(path.clone());
        let first = bind(&address).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
        assert_eq!(bind(&address).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        let Bound { socket, file } = first;
        drop(socket);
        let second = bind(&address).unwrap();
        drop(file);
        assert!(path.exists(), "the old process must not remove the new one's name");
        drop(second);
        assert!(!path.exists(), "a socket that nobody accepts from has no name");

        std::fs::write(&path, "precious").unwrap();
        assert_eq!(bind(&address).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
    }
    #[test]
    fn a_listener_too_busy_to_answer_is_in_use() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("busy.sock");
        let busy = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        busy.bind(&SockAddr::unix(&path).unwrap()).unwrap();
        busy.listen(0).unwrap();
        let waiting: Vec<_> = (0..2).map(|_| knock(&path)).collect();
        assert_eq!(waiting[1].as_ref().unwrap_err().kind(), io::ErrorKind::WouldBlock);
        let error = bind(&ListenAddress::Unix(path)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    }
}
