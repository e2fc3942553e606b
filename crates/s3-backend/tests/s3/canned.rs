//! A server that says what it was told to, whatever is asked, and keeps what it was asked.

use std::sync::{Arc, Mutex};

use s3_backend::{Addressing, S3Builder, S3Options, S3Storage, Timeouts};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// One answer.
#[derive(Debug, Clone)]
pub enum Say {
    /// These bytes, then the connection is closed.
    Bytes(Vec<u8>),
    /// These bytes, then nothing for a minute.
    Hang(Vec<u8>),
}

/// The server. Each connection gets the next answer; the last one is repeated. `ADDRESS` in an
/// answer stands for the server's own.
#[derive(Debug, Clone)]
pub struct Canned {
    pub address: String,
    seen: Arc<Mutex<Vec<String>>>,
}

/// A whole answer: status line and headers, the length, the body.
pub fn answer(head: &str, body: &str) -> Say {
    let length = body.len();
    let head = head.trim_end();
    let close = "connection: close\r\n";
    Say::Bytes(
        format!("HTTP/1.1 {head}\r\n{close}content-length: {length}\r\n\r\n{body}").into_bytes(),
    )
}

/// An answer to a HEAD: the length is the object's, and there is no body.
pub fn head_answer(head: &str) -> Say {
    Say::Bytes(format!("HTTP/1.1 {}\r\nconnection: close\r\n\r\n", head.trim_end()).into_bytes())
}

impl Canned {
    pub async fn start(answers: impl IntoIterator<Item = Say>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let mut answers = answers.into_iter().collect::<Vec<_>>().into_iter().peekable();
        let kept = seen.clone();
        tokio::spawn(async move {
            let mut last = None;
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                last = answers.next().or(last);
                tokio::spawn(serve(socket, last.clone().expect("an answer"), kept.clone()));
            }
        });
        Self { address, seen }
    }

    /// The requests, each as the text that came.
    pub fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }

    pub fn builder(&self) -> S3Builder {
        let options = S3Options {
            bucket: "bucket".into(),
            endpoint: self.address.clone(),
            do_not_use_tls: true,
            access_key_id: "k".into(),
            secret_access_key: "s".into(),
            ..S3Options::default()
        };
        let soon = std::time::Duration::from_millis(300);
        S3Storage::builder(options)
            .environment(|_| None)
            .addressing(Addressing::Path)
            .timeouts(Timeouts { stall: soon, first_byte: soon, ..Timeouts::default() })
    }

    pub fn storage(&self) -> S3Storage {
        self.builder().open().unwrap()
    }
}

async fn serve(mut socket: TcpStream, say: Say, seen: Arc<Mutex<Vec<String>>>) {
    let mut bytes = Vec::new();
    loop {
        let mut part = [0; 4096];
        let count = socket.read(&mut part).await.unwrap_or(0);
        if count == 0 {
            return;
        }
        bytes.extend_from_slice(&part[..count]);
        let text = String::from_utf8_lossy(&bytes);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        if body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
            break;
        }
    }
    seen.lock().unwrap().push(String::from_utf8_lossy(&bytes).into_owned());
    let here = socket.local_addr().unwrap().to_string();
    let placed = |bytes: Vec<u8>| match String::from_utf8(bytes) {
        Ok(text) => text.replace("ADDRESS", &here).into_bytes(),
        Err(error) => error.into_bytes(),
    };
    match say {
        Say::Bytes(bytes) => {
            let _ = socket.write_all(&placed(bytes)).await;
            let _ = socket.shutdown().await;
        }
        Say::Hang(bytes) => {
            let _ = socket.write_all(&bytes).await;
            tokio::time::sleep(std::time::Duration::from_secs(60)).await;
        }
    }
}
