//! HAProxy in front of us and behind us, with the PROXY protocol it defines.

use std::net::TcpListener;
use std::process::{Child, Command};

use crate::program;
use crate::support::client::Client;
use crate::support::eventually;
use crate::support::gateway::Setup;
use crate::support::upstream::Upstream;

/// A child that ends with its test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _over = self.0.kill().is_err();
        let _reaped = self.0.wait().is_err();
    }
}

fn start(command: &mut Command) -> Running {
    Running(command.spawn().unwrap())
}

#[test]
fn haproxy_names_its_clients_in_both_versions() {
    for send in ["send-proxy", "send-proxy-v2", "send-proxy-v2-ssl"] {
        let setup = Setup::new();
        let upstream = Upstream::saying("reached");
        let gateway = setup.start(&format!(
            "[listener.main]\naddress = \"127.0.0.1:0\"\nproxy_protocol = [\"127.0.0.1\"]\n\
             [[route]]\npath = \"/*\"\nupstream = \"{}\"\npublic = true\n",
            upstream.url(),
        ));
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let file = gateway.folder().join("haproxy.cfg");
        let text = format!(
            "defaults\n    mode tcp\n    timeout client 10s\n    timeout server 10s\n    \
             timeout connect 5s\nlisten main\n    bind 127.0.0.1:{port}\n    \
             server gate {} {send} check {}\n",
            gateway.address("main"),
            // Its health checks speak for itself.
            if send == "send-proxy" { "" } else { "check-send-proxy" },
        );
        std::fs::write(&file, text).unwrap();
        let _haproxy = start(program("haproxy", "haproxy").arg("-f").arg(&file));
        let address = ([127, 0, 0, 1], port).into();
        eventually("HAProxy listens", || Client::try_tcp(address).ok());
        let response = eventually("it believes in its server", || {
            let mut client = Client::tcp_from("127.0.0.9".parse().unwrap(), address);
            client.try_send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").ok()?;
            client.try_response("GET").ok()
        });
        response.expect(200);
        let last = upstream.received().pop().unwrap();
        assert_eq!(last.headers("x-forwarded-for"), ["127.0.0.9"], "{send}");
    }
}

#[test]
fn haproxy_hears_whom_we_connect_for() {
    for (version, to) in [("v1", "tcp"), ("v2", "tcp"), ("v2", "unix")] {
        let setup = Setup::new();
        let upstream = Upstream::saying("reached");
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let socket = setup.folder().join("haproxy.sock");
        let (bind, endpoint) = match to {
            "tcp" => (format!("127.0.0.1:{port}"), format!("http://127.0.0.1:{port}")),
            _ => (socket.display().to_string(), format!("unix:{}", socket.display())),
        };
        let file = setup.folder().join("haproxy.cfg");
        let text = format!(
            "defaults\n    mode http\n    timeout client 10s\n    timeout server 10s\n    \
             timeout connect 5s\nlisten main\n    bind {bind} accept-proxy\n    \
             http-request set-header X-Heard %[src]:%[src_port]\n    server app {}\n",
            upstream.address,
        );
        std::fs::write(&file, text).unwrap();
        let _haproxy = start(program("haproxy", "haproxy").arg("-f").arg(&file));
        let gateway = setup.start(&format!(
            "[listener.main]\naddress = \"127.0.0.1:0\"\n\
             [upstream.app]\nendpoints = [\"{endpoint}\"]\nsend_proxy_protocol = \"{version}\"\n\
             [[route]]\npath = \"/*\"\nupstream = \"app\"\npublic = true\n",
        ));
        for address in ["127.0.0.9", "127.0.0.10"] {
            eventually("HAProxy answers", || {
                let mut client =
                    Client::tcp_from(address.parse().unwrap(), gateway.address("main"));
                client.try_send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").ok()?;
                client.try_response("GET").ok().filter(|response| response.status == 200)
            });
            let last = upstream.received().pop().unwrap();
            let heard = last.headers("x-heard").concat();
            let (client, port) = heard.rsplit_once(':').unwrap();
            assert_eq!(client, address, "{version} {to}");
            assert_ne!(port, "0");
        }
    }
}
