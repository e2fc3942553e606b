//! By the proxy that the environment names. The endpoint's name is known to the proxy alone.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use blob_core::{BlobError, BlobStorage, Payload, PutOptions, ReadRange};
use s3_backend::{S3Options, S3Storage};
use s3_testkit::{TestServer, TestServerOptions, TlsIdentity};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
};

use crate::support::{id, options, server, server_with};

const ENDPOINT: &str = "s3.test.invalid:9000";

/// A proxy of both kinds before one server.
struct Proxy {
    addr: SocketAddr,
    /// What the first request of each connection began with.
    heads: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    async fn before(server: SocketAddr, answers: Option<&'static str>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let heads = Arc::<Mutex<Vec<String>>>::default();
        let seen = heads.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(serve(client, server, answers, seen.clone()));
            }
        });
        Self { addr, heads }
    }

    fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }
}

async fn serve(
    mut client: TcpStream,
    server: SocketAddr,
    answers: Option<&'static str>,
    seen: Arc<Mutex<Vec<String>>>,
) {
    let mut head = vec![client.read_u8().await.unwrap()];
    if head[0] == 5 {
        let target = socks_target(&mut client).await;
        seen.lock().unwrap().push(format!("SOCKS {target}"));
        let mut upstream = TcpStream::connect(server).await.unwrap();
        drop(copy_bidirectional(&mut client, &mut upstream).await);
        return;
    }
    while !head.ends_with(b"\r\n\r\n") {
        head.push(client.read_u8().await.unwrap());
    }
    let text = String::from_utf8(head.clone()).unwrap();
    seen.lock().unwrap().push(text.clone());
    if let Some(answer) = answers {
        client.write_all(answer.as_bytes()).await.unwrap();
        return;
    }
    let mut upstream = TcpStream::connect(server).await.unwrap();
    if text.starts_with("CONNECT ") {
        client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await.unwrap();
    } else {
        upstream.write_all(&head).await.unwrap();
    }
    drop(copy_bidirectional(&mut client, &mut upstream).await);
}

/// RFC 1928: no authentication, then CONNECT to a name.
async fn socks_target(client: &mut TcpStream) -> String {
    let mut methods = vec![0; usize::from(client.read_u8().await.unwrap())];
    client.read_exact(&mut methods).await.unwrap();
    client.write_all(&[5, 0]).await.unwrap();
    let mut request = [0; 5];
    client.read_exact(&mut request).await.unwrap();
    assert_eq!(request[..4], [5, 1, 0, 3], "CONNECT to a name");
    let mut name = vec![0; usize::from(request[4])];
    client.read_exact(&mut name).await.unwrap();
    let port = client.read_u16().await.unwrap();
    client.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).await.unwrap();
    format!("{}:{port}", String::from_utf8(name).unwrap())
}

fn open(options: S3Options, variable: &'static str, proxy: String) -> S3Storage {
    let environment = move |name: &str| (name == variable).then(|| proxy.clone());
    S3Storage::builder(options).environment(environment).open().unwrap()
}

async fn tls_server() -> TestServer {
    let tls = Some(TlsIdentity::for_tests());
    server_with(TestServerOptions { tls, ..Default::default() }).await
}

async fn round_trip(storage: &S3Storage) -> Result<(), BlobError> {
    for name in ["p1", "p2"] {
        storage.put(&id(name), Payload::from("bytes"), &PutOptions::default()).await?;
        assert_eq!(storage.get(&id(name), ReadRange::Full).await?, &b"bytes"[..]);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_goes_through_a_tunnel() {
    let server = tls_server().await;
    let proxy = Proxy::before(server.addr(), None).await;
    let options = S3Options {
        endpoint: ENDPOINT.into(),
        do_not_use_tls: false,
        do_not_verify_tls: true, // no certificate is for that name
        ..options(&server)
    };
    let at = format!("http://me:secret@{}", proxy.addr);
    round_trip(&open(options, "HTTPS_PROXY", at)).await.unwrap();
    let heads = proxy.heads();
    assert!(!heads.is_empty() && heads.len() < 4, "connections are kept: {heads:?}");
    for head in heads {
        assert!(head.starts_with("CONNECT s3.test.invalid:9000 HTTP/1.1\r\n"), "{head}");
        assert!(head.contains("Proxy-Authorization: Basic bWU6c2VjcmV0\r\n"), "{head}");
    }
    assert_eq!(server.requests().total(), 4);
    let told = server.requests().all();
    assert!(told.iter().all(|it| !it.headers.contains_key("proxy-authorization")));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_tls_the_proxy_gets_the_whole_address() {
    let server = server().await;
    let proxy = Proxy::before(server.addr(), None).await;
    let options = S3Options { endpoint: ENDPOINT.into(), ..options(&server) };
    round_trip(&open(options, "http_proxy", format!("me:secret@{}", proxy.addr))).await.unwrap();
    let heads = proxy.heads();
    assert!(heads[0].starts_with("PUT http://s3.test.invalid:9000/test-bucket/p1"), "{heads:?}");
    assert!(heads[0].contains("proxy-authorization: Basic bWU6c2VjcmV0\r\n"), "{heads:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socks_proxy_finds_the_name_itself() {
    let server = server().await;
    let proxy = Proxy::before(server.addr(), None).await;
    let options = S3Options { endpoint: ENDPOINT.into(), ..options(&server) };
    let at = format!("socks5h://{}", proxy.addr);
    round_trip(&open(options, "HTTP_PROXY", at)).await.unwrap();
    let heads = proxy.heads();
    assert!(!heads.is_empty() && heads.len() < 4, "connections are kept: {heads:?}");
    assert!(heads.iter().all(|head| head == "SOCKS s3.test.invalid:9000"), "{heads:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_proxy_names_it() {
    let server = tls_server().await;
    let refusing = "HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n";
    let refusing = Proxy::before(server.addr(), Some(refusing)).await.addr;
    let nobody = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap()
    };
    for (addr, told) in [(refusing, "authorization required"), (nobody, "refused")] {
        let options =
            S3Options { endpoint: ENDPOINT.into(), do_not_use_tls: false, ..options(&server) };
        let storage = open(options, "HTTPS_PROXY", format!("http://me:secret@{addr}"));
        let error = round_trip(&storage).await.unwrap_err();
        let BlobError::Unreachable { source, .. } = &error else { panic!("{error:?}") };
        let text = source.to_string();
        assert!(text.contains(&format!("by the proxy {addr}")) && text.contains(told), "{text}");
        assert!(!text.contains("secret"), "{text}");
    }
}
