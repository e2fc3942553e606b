//! The S3 server of `s3-testkit`, as a program of its own.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::Path,
    process::{Child, Command, Stdio},
};

use anyhow::{Context, bail};
use serde::Deserialize;

/// The credentials that the server takes.
pub const ACCESS_KEY: &str = "test";
/// The secret that belongs to them.
pub const SECRET_KEY: &str = "test-secret-key";

/// A running server; ends with this value.
#[derive(Debug)]
pub struct Server {
    child: Child,
    /// `HOST:PORT`.
    pub endpoint: String,
    /// The bucket that it has.
    pub bucket: String,
}

/// An object as the server stores it.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Object {
    pub key: String,
    pub size: u64,
    pub storage_class: String,
    /// When the copy can be read that a thaw makes, if one was asked for.
    #[serde(default)]
    pub restore_ready: Option<String>,
}

/// What was asked of the server, by kind of request, in bytes of payload.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Traffic {
    pub requests: BTreeMap<String, u64>,
    /// By the server: what clients sent.
    pub received: BTreeMap<String, u64>,
    /// By the server: what clients got.
    pub sent: BTreeMap<String, u64>,
    /// Reads of objects, by the first letter of the name of the blob.
    pub gets_by_letter: BTreeMap<char, u64>,
}

/// The page of counters; the inner keys are first letters.
#[derive(Debug, Deserialize)]
struct RequestsPage {
    kinds: BTreeMap<String, BTreeMap<String, u64>>,
    received: BTreeMap<String, u64>,
    sent: BTreeMap<String, u64>,
}

impl Traffic {
    fn read(page: &[u8]) -> anyhow::Result<Self> {
        let page: RequestsPage = serde_json::from_slice(page).context("not a page of counters")?;
        let letters = page.kinds.get("get").into_iter().flatten();
        let first = |name: &str| name.chars().next().unwrap_or('-');
        let gets_by_letter = letters.map(|(letter, n)| (first(letter), *n)).collect();
        let kinds = page.kinds.into_iter();
        let requests = kinds.map(|(kind, letters)| (kind, letters.values().sum())).collect();
        Ok(Self { requests, received: page.received, sent: page.sent, gets_by_letter })
    }

    /// Requests that delete, of one object or many.
    pub fn deletes(&self) -> u64 {
        let deleting = self.requests.iter().filter(|(kind, _)| kind.contains("delete"));
        deleting.map(|(_, count)| count).sum()
    }
}

impl Server {
    /// Starts the server and waits for its address.
    pub fn start(program: &Path, bucket: &str) -> anyhow::Result<Self> {
        Self::start_with(program, bucket, &[])
    }

    /// Starts the server with more flags.
    pub fn start_with(program: &Path, bucket: &str, flags: &[&str]) -> anyhow::Result<Self> {
        let mut child = Command::new(program)
            .args(["--bucket", bucket, "--until-stdin-closes"])
            .args(flags)
            // Held open as long as the child is: if we are killed, the server ends, too.
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("can't run {}", program.display()))?;
        let mut output = BufReader::new(child.stdout.take().context("it has no output")?);
        let mut first = String::new();
        output.read_line(&mut first)?;
        let Some(endpoint) = first.trim().strip_prefix("listening on http://") else {
            let _ = child.kill();
            let _ = child.wait();
            bail!("{} did not say where it listens: {first:?}", program.display());
        };
        // Whatever it says later must not fill the pipe and stop it.
        std::thread::spawn(move || std::io::copy(&mut output, &mut std::io::sink()));
        Ok(Self {
            endpoint: endpoint.trim_end_matches('/').to_owned(),
            child,
            bucket: bucket.to_owned(),
        })
    }

    /// The flags by which a client finds a repository under `prefix`.
    pub fn flags(&self, prefix: &str) -> Vec<String> {
        vec![
            format!("--bucket={}", self.bucket),
            format!("--prefix={prefix}"),
            format!("--endpoint={}", self.endpoint),
            "--disable-tls".to_owned(),
            format!("--access-key={ACCESS_KEY}"),
            format!("--secret-access-key={SECRET_KEY}"),
        ]
    }

    /// Every object under `prefix`, without it, as the server stores them.
    pub fn objects(&self, prefix: &str) -> anyhow::Result<Vec<Object>> {
        self.under(prefix, "objects")
    }

    /// Every object that was ever written under `prefix`, without it, deleted ones too.
    pub fn written(&self, prefix: &str) -> anyhow::Result<Vec<Object>> {
        self.under(prefix, "puts")
    }

    /// What was asked of it since it started, or since it was told to forget.
    pub fn traffic(&self) -> anyhow::Result<Traffic> {
        Traffic::read(&self.call("GET", "/_testkit/requests")?)
    }

    /// Moves every object under `prefix` to a class, as a lifecycle rule does.
    pub fn move_to_class(&self, prefix: &str, class: &str) -> anyhow::Result<()> {
        let path = format!("/_testkit/class?class={class}&prefix={prefix}");
        self.call("POST", &path).map(|_| ())
    }

    /// Moves its clock on.
    pub fn advance_clock(&self, seconds: u64) -> anyhow::Result<()> {
        self.call("POST", &format!("/_testkit/clock?advance={seconds}")).map(|_| ())
    }

    /// Moves its clock back.
    pub fn turn_clock_back(&self, seconds: u64) -> anyhow::Result<()> {
        self.call("POST", &format!("/_testkit/clock?back={seconds}")).map(|_| ())
    }

    /// Counts from nought again.
    pub fn forget_traffic(&self) -> anyhow::Result<()> {
        self.call("DELETE", "/_testkit/requests").map(|_| ())
    }

    fn under(&self, prefix: &str, page: &str) -> anyhow::Result<Vec<Object>> {
        let body = self.call("GET", &format!("/_testkit/{page}"))?;
        let all: Vec<Object> = serde_json::from_slice(&body).context("not a list of objects")?;
        let under = all.into_iter().filter_map(|object| {
            let key = object.key.strip_prefix(prefix)?.to_owned();
            Some(Object { key, ..object })
        });
        Ok(under.collect())
    }

    /// One request by HTTP/1.0, whose answer ends with the connection.
    fn call(&self, method: &str, path: &str) -> anyhow::Result<Vec<u8>> {
        let mut stream = TcpStream::connect(&self.endpoint)?;
        write!(stream, "{method} {path} HTTP/1.0\r\nHost: {}\r\n\r\n", self.endpoint)?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        let end = answer.windows(4).position(|it| it == b"\r\n\r\n").context("no HTTP answer")?;
        let head = String::from_utf8_lossy(&answer[..end]).into_owned();
        anyhow::ensure!(
            head.contains(" 200"),
            "{method} {path}: {}",
            head.lines().next().unwrap_or("")
        );
        Ok(answer.split_off(end + 4))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_by_kind_whatever_their_letters() {
        let page = br#"{"total": 6, "kinds": {"put": {"p": 2, "q": 1}, "list": {"-": 3}},
            "received": {"put": 700, "list": 0}, "sent": {"put": 0, "list": 900}}"#;
        let traffic = Traffic::read(page).expect("it is a page of counters");
        let counts = |pairs: [(&str, u64); 2]| -> BTreeMap<String, u64> {
            pairs.map(|(kind, n)| (kind.to_owned(), n)).into()
        };
        assert_eq!(traffic.requests, counts([("put", 3), ("list", 3)]));
        assert_eq!(traffic.received, counts([("put", 700), ("list", 0)]));
        assert_eq!(traffic.sent, counts([("put", 0), ("list", 900)]));
        assert!(Traffic::read(b"{}").is_err());
    }
}
