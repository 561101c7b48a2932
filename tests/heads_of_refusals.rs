//! What a refusal of HEAD looks like, over both protocols: the head of GET's, and nothing after it.

use hyper::Request;

use crate::support::certificate::Certificate;
use crate::support::gateway::Setup;
use crate::support::h2::{H2, Pieces};

#[test]
fn a_refused_head_has_no_body_over_http2() {
    let setup = Setup::new();
    let certificate = Certificate::make_once(setup.folder());
    let gateway = setup.start(&format!(
        "[listener.main]\naddress = \"127.0.0.1:0\"\n\
         tls = {{ certificates = [{{ cert = {:?}, key = {:?} }}] }}\n\
         [[route]]\npath = \"/here\"\nupstream = \"http://127.0.0.1:9\"\npublic = true\n",
        certificate.cert, certificate.key
    ));
    let client = H2::tls(gateway.address("main"), &certificate.client("h2"));
    let ask = |method: &str| {
        let request = Request::builder().method(method).uri("https://localhost/elsewhere");
        client.send(request.body(Pieces::whole("")).unwrap()).unwrap().expect(404)
    };
    let (get, head) = (ask("GET"), ask("HEAD"));
    assert!(!get.body.is_empty());
    assert_eq!(head.header("content-length"), Some(get.body.len().to_string().as_str()));
    assert!(head.body.is_empty());
}
