//! The shell that the demo's printed lines are written for, as far as they use it: quotes,
//! variables, `$( )`, `|`, `;`, and the commands `curl`, `echo` and `sed`.
//!
//! Whatever else a line holds is a failure, so that no printed line can quietly mean less here than
//! it does in a real shell.

use std::collections::BTreeMap;
use std::iter::Peekable;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::str::Chars;
use std::sync::Arc;

use hyper::Request;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use super::Response;
use super::client::Client;
use super::h2::{H2, Pieces};

/// A shell in a folder.
pub(crate) struct Shell {
    folder: PathBuf,
    variables: BTreeMap<String, String>,
}

impl Shell {
    pub(crate) fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), variables: BTreeMap::new() }
    }

    /// Runs a line; what it prints.
    pub(crate) fn run(&mut self, line: &str) -> String {
        let mut rest = line.chars().peekable();
        let printed = self.list(&mut rest);
        assert_eq!(rest.next(), None, "not understood to its end: {line}");
        printed
    }

    /// Commands up to the end, or to the `)` that ends a substitution.
    fn list(&mut self, rest: &mut Peekable<Chars<'_>>) -> String {
        let mut printed = String::new();
        let mut piped = None;
        loop {
            let said = self.command(rest, piped.take());
            match rest.peek() {
                Some('|') => piped = Some(said),
                Some(';') => printed.push_str(&said),
                Some(_) | None => {
                    printed.push_str(&said);
                    return printed;
                }
            }
            rest.next();
        }
    }

    fn command(&mut self, rest: &mut Peekable<Chars<'_>>, input: Option<String>) -> String {
        let mut words = Vec::new();
        while rest.next_if(|&c| c == ' ').is_some() || !ends_command(rest.peek()) {
            if rest.peek().is_some_and(|&c| c != ' ' && !ends_word(Some(&c))) {
                words.push(self.word(rest));
            }
        }
        let (name, arguments) = words.split_first().expect("a command");
        match (name.as_str(), arguments) {
            ("curl", arguments) => self.curl(arguments),
            ("echo", arguments) => format!("{}\n", arguments.join(" ")),
            ("sed", [program]) => substitute(program, &input.expect("sed reads a pipe")),
            (assignment, []) => {
                let (name, value) = assignment.split_once('=').expect("a known command");
                assert!(is_name(name), "not a variable: {name}");
                self.variables.insert(name.to_owned(), value.to_owned());
                String::new()
            }
            (unknown, _) => panic!("not a command of the demo: {unknown}"),
        }
    }

    fn word(&mut self, rest: &mut Peekable<Chars<'_>>) -> String {
        let mut word = String::new();
        while !ends_word(rest.peek()) {
            match rest.next().unwrap() {
                '\'' => loop {
                    match rest.next().expect("a closing quote") {
                        '\'' => break,
                        c => word.push(c),
                    }
                },
                '"' => self.quoted(rest, &mut word),
                // Unquoted, a value would be split into words; only an assignment's is not.
                '$' => {
                    assert!(word.ends_with('='), "an unquoted expansion after {word:?}");
                    let value = self.expansion(rest);
                    word.push_str(&value);
                }
                c if c.is_ascii_alphanumeric() || "-_./:=,+@%".contains(c) => word.push(c),
                c => panic!("the demo's shell does not know {c:?} (after {word:?})"),
            }
        }
        word
    }

    fn quoted(&mut self, rest: &mut Peekable<Chars<'_>>, word: &mut String) {
        loop {
            match rest.next().expect("a closing quote") {
                '"' => return,
                '$' => word.push_str(&self.expansion(rest)),
                '`' => panic!("no backquotes"),
                '\\' if rest.peek().is_some_and(|c| "\"\\$`".contains(*c)) => {
                    word.extend(rest.next());
                }
                c => word.push(c),
            }
        }
    }

    /// `NAME` or `( )`, after the `$`.
    fn expansion(&mut self, rest: &mut Peekable<Chars<'_>>) -> String {
        if rest.next_if_eq(&'(').is_some() {
            let said = self.list(rest);
            assert_eq!(rest.next(), Some(')'), "a closing parenthesis");
            return said.trim_end_matches('\n').to_owned();
        }
        let mut name = String::new();
        while let Some(c) = rest.next_if(|c| c.is_ascii_alphanumeric() || *c == '_') {
            name.push(c);
        }
        self.variables.get(&name).unwrap_or_else(|| panic!("${name} is not set")).clone()
    }
}

fn ends_command(next: Option<&char>) -> bool {
    matches!(next, None | Some(';' | '|' | ')'))
}

fn ends_word(next: Option<&char>) -> bool {
    ends_command(next) || next == Some(&' ')
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_uppercase() || c == '_')
}

// === sed ===

/// `s/.*BEFORE\([^C]*\)AFTER.*/\1/` on every line, BEFORE and AFTER being plain text.
fn substitute(program: &str, input: &str) -> String {
    let known = || -> Option<(&str, char, &str)> {
        let inner = program.strip_prefix("s/.*")?.strip_suffix(r".*/\1/")?;
        let (before, rest) = inner.split_once(r"\([^")?;
        let (not, after) = rest.split_once(r"]*\)")?;
        let plain = |text: &str| !text.contains(['\\', '[', ']', '*', '.', '/', '^', '$']);
        let mut not = not.chars();
        Some((before, not.next()?, after))
            .filter(|_| not.next().is_none() && plain(before) && plain(after))
    };
    let (before, not, after) = known().unwrap_or_else(|| panic!("not a known program: {program}"));
    let line = |line: &str| {
        // `.*` takes as much as it can: the last place that fits.
        let places = line.rmatch_indices(before).map(|(at, _)| &line[at + before.len()..]);
        let found = places.filter_map(|rest| {
            let end = rest.find(not).unwrap_or(rest.len());
            // The group gives back what AFTER begins with.
            (0..=end)
                .rev()
                .find(|&end| rest.get(end..).is_some_and(|rest| rest.starts_with(after)))
                .map(|end| rest[..end].to_owned())
        });
        found.into_iter().next().unwrap_or_else(|| line.to_owned())
    };
    input.lines().map(|one| line(one) + "\n").collect()
}

// === curl ===

/// What curl was asked.
#[derive(Default)]
struct Asked {
    include: bool,
    http2: bool,
    headers: Vec<(String, String)>,
    data: Option<String>,
    ca: Option<PathBuf>,
    url: Option<String>,
}

impl Shell {
    fn curl(&self, arguments: &[String]) -> String {
        let mut asked = Asked::default();
        let mut arguments = arguments.iter().cloned();
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "-sS" => {}
                "-i" => asked.include = true,
                "--http2" => asked.http2 = true,
                "--cacert" => asked.ca = arguments.next().map(|file| self.folder.join(file)),
                "-d" => asked.data = arguments.next(),
                "-H" => {
                    let line = arguments.next().unwrap();
                    let (name, value) = line.split_once(": ").expect("`Name: value`");
                    asked.headers.push((name.to_owned(), value.to_owned()));
                }
                option if option.starts_with('-') => panic!("not an option of the demo: {option}"),
                _ => assert_eq!(asked.url.replace(argument), None, "one URL a command"),
            }
        }
        let (response, version) = asked.send();
        let body = response.text();
        if !asked.include {
            return body.to_owned();
        }
        let lines = response.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n"));
        format!("{version} {}\r\n{}\r\n{body}", response.status, lines.collect::<String>())
    }
}

impl Asked {
    fn send(&self) -> (Response, &'static str) {
        let url = self.url.as_deref().expect("a URL");
        let (scheme, rest) = url.split_once("://").unwrap();
        let (host, path) = rest.split_once('/').unwrap();
        let path = format!("/{path}");
        let address = address(host);
        let method = if self.data.is_some() { "POST" } else { "GET" };
        let data = self.data.as_deref().unwrap_or_default();
        let mut headers = self.headers.clone();
        headers.push(("accept".to_owned(), "*/*".to_owned()));
        headers.push(("user-agent".to_owned(), "curl/8".to_owned()));
        if scheme == "https" && self.http2 {
            let mut request = Request::builder().method(method).uri(url);
            for (name, value) in &headers {
                request = request.header(name, value);
            }
            let request = request.body(Pieces::whole(data.to_owned())).unwrap();
            return (H2::tls(address, &self.trust("h2")).send(request).unwrap(), "HTTP/2");
        }
        let mut client = match scheme {
            "https" => Client::tls(address, &self.trust("http/1.1")),
            "http" => Client::tcp(address),
            other => panic!("{other}"),
        };
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n");
        for (name, value) in &headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if self.data.is_some() {
            head.push_str(&format!("Content-Length: {}\r\n", data.len()));
        }
        client.send(format!("{head}\r\n{data}"));
        (client.response(), "HTTP/1.1")
    }

    /// Trusts `--cacert` alone; the line needs one, since no system knows the demo's authority.
    fn trust(&self, protocol: &str) -> Arc<ClientConfig> {
        let file = self.ca.as_ref().expect("--cacert");
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(file).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
        Arc::new(config)
    }
}

/// As curl does, whichever of the host's addresses answers.
fn address(host: &str) -> SocketAddr {
    let mut addresses = host.to_socket_addrs().unwrap();
    addresses
        .find(|address| std::net::TcpStream::connect(address).is_ok())
        .unwrap_or_else(|| panic!("nothing answers at {host}"))
}

#[test]
fn a_line_means_what_it_means_in_a_shell() {
    let mut shell = Shell::new(Path::new("."));
    assert_eq!(
        shell.run(r#"A=$(echo 'x "y" $z'); echo "$A" "\"$A\"""#),
        "x \"y\" $z \"x \"y\" $z\"\n"
    );
    assert_eq!(shell.run(r#"B=$(echo '{"a":"1","b":"2"}' | sed 's/.*"a":"\([^"]*\)".*/\1/')"#), "");
    assert_eq!(shell.run(r#"echo "$B"; echo done"#), "1\ndone\n");
    assert_eq!(shell.run(r#"echo 'no match' | sed 's/.*"a":"\([^"]*\)".*/\1/'"#), "no match\n");
}

#[test]
#[should_panic(expected = "does not know '>'")]
fn what_the_shell_does_not_know_is_no_line_of_the_demo() {
    Shell::new(Path::new(".")).run("echo a > b");
}
