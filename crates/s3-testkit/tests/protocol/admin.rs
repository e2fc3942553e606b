//! The pages outside S3, the program, TLS, and what the log counts.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::sync::Arc;

use s3_testkit::{Kind, TEST_CA_PEM, TestServer, TestServerOptions, TlsIdentity};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::client::{Call, Reply, start, start_default};

fn json(reply: &Reply) -> Value {
    serde_json::from_slice(&reply.body).unwrap()
}

#[tokio::test]
async fn the_object_page_tells_class_and_headers() {
    let client = start_default().await;
    let put = Call::new("PUT", "r/p1").header("x-amz-storage-class", "GLACIER").body("abc");
    client.call(put).await;
    client.put("q", "x").await;
    let page = json(&client.plain("GET", "/_testkit/objects?prefix=r%2F").await);
    let [object] = page.as_array().unwrap().as_slice() else { panic!("{page}") };
    assert_eq!(object["key"], "r/p1");
    assert_eq!((&object["size"], &object["storageClass"]), (&json!(3), &json!("GLACIER")));
    assert_eq!(object["headers"]["x-amz-storage-class"], "GLACIER");
}

#[tokio::test]
async fn the_request_page_counts_by_method_kind_and_letter() {
    let client = start_default().await;
    client.put("r/p1", "x").await;
    client.put("r/p2", "xyz").await;
    client.get("r/q1").await;
    client.get("?list-type=2").await;
    let page = json(&client.plain("GET", "/_testkit/requests").await);
    assert_eq!(page["methods"], json!({"GET": {"-": 1, "q": 1}, "PUT": {"p": 2}}));
    assert_eq!(page["kinds"]["list"], json!({"-": 1}));
    assert_eq!(page["total"], 4);
    assert_eq!((&page["received"]["put"], &page["sent"]["put"]), (&json!(4), &json!(0)));
    let list = client.get("?list-type=2").await.body.len();
    let page = json(&client.plain("GET", "/_testkit/requests").await);
    assert!(list > 0 && page["sent"]["list"] == json!(2 * list), "{page}");
    assert_eq!(client.server.requests().counts()[&(Kind::Put, 'p')], 2);
    let puts = json(&client.plain("GET", "/_testkit/puts?prefix=r/p").await);
    let wanted = json!({"key": "r/p1", "size": 1, "storageClass": "STANDARD"});
    assert_eq!((&puts[0], puts.as_array().map(Vec::len)), (&wanted, Some(2)));
    assert_eq!(client.plain("DELETE", "/_testkit/requests").await.status, 200);
    assert_eq!(client.server.requests().total(), 0);
}

#[tokio::test]
async fn clock_and_faults_can_be_moved_from_outside() {
    let client = start_default().await;
    let page = json(&client.plain("POST", "/_testkit/clock?advance=3600").await);
    assert_eq!(page["offsetSeconds"], 3600);
    assert_eq!(client.server.clock().offset_secs(), 3600);
    let order = "/_testkit/faults?error=SlowDown&status=503&on=put&keys=p&times=1&skip=1";
    assert_eq!(json(&client.plain("POST", order).await)["waiting"], 1);
    assert_eq!(client.put("p1", "x").await.status, 200);
    assert_eq!(client.put("p1", "x").await.error(), (503, "SlowDown".into()));
    assert_eq!(client.plain("POST", "/_testkit/faults?effect=melt").await.status, 400);
    assert_eq!(client.plain("POST", "/_testkit/clock?advance=soon").await.status, 400);
    assert_eq!(client.plain("GET", "/_testkit/none").await.status, 404);
    assert_eq!(client.server.requests().total(), 2, "these pages are not logged");
}

#[tokio::test]
async fn the_log_keeps_headers_sizes_and_concurrency() {
    let latency = std::time::Duration::from_millis(30);
    let client = start(TestServerOptions { latency, ..Default::default() }).await;
    let (a, b) = tokio::join!(client.put("a", "12345"), client.put("b", "x"));
    assert_eq!((a.status, b.status), (200, 200));
    assert_eq!(client.server.requests().concurrency_max(), 2);
    client.get("a").await;
    let [get] = &client.server.requests().of(Kind::Get, "a")[..] else { panic!() };
    assert_eq!((get.status, get.sent), (Some(200), 5));
    assert!(get.header("authorization").unwrap().starts_with("AWS4-HMAC-SHA256 "));
    assert_eq!(client.server.requests().of(Kind::Put, "a")[0].received, 5);
}

#[tokio::test]
async fn a_stopped_server_refuses_connections() {
    let server = TestServer::start(TestServerOptions::default()).await.unwrap();
    let address = server.addr();
    assert!(tokio::net::TcpStream::connect(address).await.is_ok());
    server.stop();
    let gone = async {
        while tokio::net::TcpStream::connect(address).await.is_ok() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(5), gone).await.unwrap();
}

#[tokio::test]
async fn tls_is_spoken_under_the_shipped_ca() {
    let tls = Some(TlsIdentity::for_tests());
    let server = TestServer::start(TestServerOptions { tls, ..Default::default() }).await.unwrap();
    assert!(server.endpoint().starts_with("https://127.0.0.1:"));
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(TEST_CA_PEM.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    for name in ["127.0.0.1", "localhost", "test-bucket.localhost"] {
        let socket = tokio::net::TcpStream::connect(server.addr()).await.unwrap();
        let connector = TlsConnector::from(Arc::new(config.clone()));
        let name = ServerName::try_from(name).unwrap();
        let mut stream = connector.connect(name, socket).await.unwrap();
        let request = "GET /_testkit/clock HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    }
}

#[test]
fn the_program_says_where_it_listens_and_stops_with_its_parent() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_s3-testkit"))
        .args(["--bucket", "b-1", "--page-size=5", "--until-stdin-closes"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let address = line.trim_end().strip_prefix("listening on http://").unwrap();
    assert!(std::net::TcpStream::connect(address).is_ok());
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
}

#[test]
fn the_program_refuses_what_it_does_not_know() {
    let output = Command::new(env!("CARGO_BIN_EXE_s3-testkit")).arg("--bukket").output().unwrap();
    assert!(!output.status.success());
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(message.contains("there is no option --bukket"), "{message}");
}
