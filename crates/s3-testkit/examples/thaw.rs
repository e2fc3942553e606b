//! A thaw, from cold to warm to cold again, seen from outside by plain HTTP.
//!
//! Run it with `cargo run -p s3-testkit --example thaw`.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use s3_testkit::{TestServer, TestServerOptions};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Without keys requests need no signature, so that this example needs no client.
    let options = TestServerOptions { credentials: vec![], ..TestServerOptions::default() };
    let server = TestServer::start_blocking(options)?;
    server.objects().put_with_class("p1", "a pack of Kopia", "DEEP_ARCHIVE");
    let ask = |what: &str, method: &str, target: &str, body: &str| -> std::io::Result<()> {
        println!("{what:<22} {method:<4} {}", request(server.addr(), method, target, body)?);
        Ok(())
    };
    let restore = "<RestoreRequest><Days>2</Days><GlacierJobParameters><Tier>Bulk</Tier>\
                   </GlacierJobParameters></RestoreRequest>";
    ask("cold", "GET", "p1", "")?;
    ask("thaw, bulk, two days", "POST", "p1?restore", restore)?;
    ask("once more", "POST", "p1?restore", restore)?;
    server.clock().advance(Duration::from_secs(48 * 3600));
    ask("48 hours later", "GET", "p1", "")?;
    server.clock().advance(Duration::from_secs(72 * 3600));
    ask("three more days later", "GET", "p1", "")?;
    println!("requests for packs: {}", server.requests().gets("p"));
    Ok(())
}

/// Sends a request and returns the status line of its answer.
fn request(to: SocketAddr, method: &str, target: &str, body: &str) -> std::io::Result<String> {
    let mut socket = TcpStream::connect(to)?;
    let length = body.len();
    write!(
        socket,
        "{method} /test-bucket/{target} HTTP/1.1\r\nhost: {to}\r\nconnection: close\r\n\
         content-length: {length}\r\n\r\n{body}"
    )?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer)?;
    Ok(answer.lines().next().unwrap_or("no answer").to_owned())
}
