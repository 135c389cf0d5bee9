//! Requests to a running server, without a library between.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use baton_host::fleet::serve::{self, Bound, Life, Phase, Server};
use baton_host::fleet::{Board, ClusterStatus};

/// A server for a board, on a port that the system chose.
pub fn server(clusters: Vec<ClusterStatus>) -> (Server, Arc<Board>) {
    let board = Arc::new(Board::new());
    board.set_clusters(clusters);
    let life = Arc::new(Life::new());
    life.enter(Phase::Serving);
    let bound = Bound::take("127.0.0.1:0".parse().unwrap()).unwrap();
    let server = serve::answer(bound, board.clone(), life).unwrap();
    (server, board)
}

/// An answer as it came.
#[derive(Debug)]
pub struct Got {
    pub status: u16,
    pub head: String,
    pub body: String,
}

/// Sends what may be a request and reads to the end.
pub fn send(address: SocketAddr, request: &str) -> std::io::Result<Got> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    stream.write_all(request.as_bytes())?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let (head, body) = text.split_once("\r\n\r\n").ok_or_else(|| {
        std::io::Error::new(
            std::io::ErrorKind::UnexpectedEof,
            format!("no head: {text}"),
        )
    })?;
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    Ok(Got {
        status: status.unwrap_or(0),
        head: head.to_ascii_lowercase(),
        body: body.to_owned(),
    })
}

/// Asks for a path.
pub fn get(address: SocketAddr, path: &str) -> std::io::Result<Got> {
    send(
        address,
        &format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n"),
    )
}

#[test]
fn a_head_is_an_answer_without_its_body() {
    let (server, _) = server(vec![]);
    let at = server.address();
    let whole = get(at, "/health").unwrap();
    let head = send(at, "HEAD /health HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    let length = format!("content-length: {}", whole.body.len());
    assert!(head.head.contains(&length), "{} {length}", head.head);
    assert!(
        head.head
            .contains("content-security-policy: default-src 'none'")
    );
}

#[test]
fn what_is_no_request_gets_no_page() {
    let (server, _) = server(vec![]);
    let at = server.address();
    for (request, status) in [
        (
            "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc",
            405,
        ),
        (
            "POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
            405,
        ),
        ("GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n", 421),
        (
            "GET http://evil.example/ HTTP/1.1\r\nHost: localhost\r\n\r\n",
            421,
        ),
        (
            "GET / HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n",
            421,
        ),
        ("GET /none HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
        ("GET / HTTP/9.9\r\nHost: localhost\r\n\r\n", 400),
        ("\u{16}\u{3}\u{1} what TLS begins with\r\n\r\n", 400),
    ] {
        let got = send(at, request).unwrap();
        assert_eq!(got.status, status, "{request:?}: {got:?}");
        assert!(!got.body.contains("<table"), "{request:?}");
    }
    assert_eq!(get(at, "/live").unwrap().status, 200);
}

/// Four times as many as there is room for hold on and say nothing.
#[test]
fn connections_that_say_nothing_keep_nobody_out() {
    let (server, _) = server(vec![]);
    let at = server.address();
    let silent: Vec<TcpStream> = (0..256).map(|_| TcpStream::connect(at).unwrap()).collect();
    for path in ["/live", "/ready", "/health", "/metrics", "/"] {
        assert_eq!(get(at, path).unwrap().status, 200, "{path}");
    }
    drop(silent);
}

#[test]
fn probes_of_the_command_line_see_what_is_said() {
    use e2e::harness::Host;
    let (server, board) = server(vec![]);
    let at = server.address().to_string();
    let host = Host::new().set("BATON_LISTEN", &at);
    for (endpoint, word) in [("health", "healthy"), ("ready", "ready"), ("live", "alive")] {
        let run = host.run(&["health-check", "--endpoint", endpoint]).ok();
        assert_eq!(run.out, format!("{word}\n"));
    }
    let mut cluster = super::page::cluster("a");
    cluster.state = baton_host::fleet::State::Disabled { why: "x".into() };
    board.set_clusters(vec![cluster]);
    host.run(&["health-check"])
        .fails(5, &["unhealthy: every cluster fails"]);
    let run = host.run(&["health-check", "--format", "json"]);
    assert_eq!(run.json()["details"]["failing"], 1);
    assert_eq!(run.code, Some(5));
    host.run(&["health-check", "--endpoint", "live"]).ok();
    drop(server);
    host.run(&["health-check", "--timeout", "3"]).fails(
        5,
        &[
            "nothing answers at 127.0.0.1:",
            "hint: is `baton-host serve` running",
        ],
    );
    for (listen, hint) in [
        (":8081", "127.0.0.1:8081 for this machine"),
        ("8081", "an IP address and a port"),
        ("example.com:1", "an IP address and a port"),
    ] {
        host.run(&["health-check", "--listen", listen])
            .fails(2, &["--listen is no address", hint]);
    }
    host.run(&["health-check", "--endpoint", "else"])
        .fails(2, &["else"]);
    host.run(&["health-check", "--timeout", "0"])
        .fails(2, &["0"]);
}
