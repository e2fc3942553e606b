//! A signing client without any cleverness: no retries, no redirects, answers as they came.

use std::time::SystemTime;

use bytes::Bytes;
use http::{HeaderMap, Method, Request};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use s3_testkit::{Credentials, TestServer, TestServerOptions};

use crate::signer::{Signed, amz_date, sha256};

pub struct Reply {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Reply {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.body.to_vec()).unwrap()
    }

    /// Status and `<Code>`, which most tests assert on.
    pub fn error(&self) -> (u16, String) {
        (self.status, self.element("Code").unwrap_or_default())
    }

    /// The text of the first element of this name.
    pub fn element(&self, name: &str) -> Option<String> {
        self.elements(name).into_iter().next()
    }

    /// The texts of all elements of this name that hold text alone.
    pub fn elements(&self, name: &str) -> Vec<String> {
        let text = self.text();
        let tag = format!("<{name}>");
        let parts = text.split(&tag).skip(1);
        parts.filter_map(|part| Some(part.split_once("</")?.0.to_owned())).collect()
    }
}

/// Why there was no complete answer.
#[derive(Debug)]
pub struct Broken;

pub struct Client {
    pub server: TestServer,
    pub keys: Option<Credentials>,
    pub region: String,
    pub virtual_host: bool,
    http: HttpClient<HttpConnector, Full<Bytes>>,
}

pub async fn start(options: TestServerOptions) -> Client {
    let server = TestServer::start(options).await.unwrap();
    Client {
        keys: server.credentials().cloned(),
        region: "us-east-1".into(),
        virtual_host: false,
        http: HttpClient::builder(TokioExecutor::new()).build_http(),
        server,
    }
}

pub async fn start_default() -> Client {
    start(TestServerOptions::default()).await
}

/// A request to be: the target is the key (encoded) and the query.
pub struct Call<'a> {
    pub method: &'a str,
    pub target: &'a str,
    pub headers: Vec<(String, String)>,
    pub body: Bytes,
    /// Headers that are sent but not signed.
    pub unsigned: Vec<(String, String)>,
}

impl<'a> Call<'a> {
    pub fn new(method: &'a str, target: &'a str) -> Self {
        Self { method, target, headers: vec![], body: Bytes::new(), unsigned: vec![] }
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    pub fn unsigned(mut self, name: &str, value: &str) -> Self {
        self.unsigned.push((name.into(), value.into()));
        self
    }

    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }
}

impl Client {
    pub async fn send(&self, call: Call<'_>) -> Result<Reply, Broken> {
        let bucket = self.server.bucket();
        let address = self.server.addr();
        let (host, path) = match self.virtual_host {
            true => (format!("{bucket}.localhost:{}", address.port()), format!("/{}", call.target)),
            false => (address.to_string(), format!("/{bucket}/{}", call.target)),
        };
        let (path, query) = path.split_once('?').unwrap_or((&path, ""));
        let mut headers = call.headers;
        headers.push(("host".into(), host));
        if let Some(keys) = &self.keys {
            let date = amz_date(SystemTime::now());
            let hash = match headers.iter().find(|(name, _)| name == "x-amz-content-sha256") {
                Some((_, hash)) => hash.clone(),
                None => {
                    let hash = sha256(&call.body);
                    headers.push(("x-amz-content-sha256".into(), hash.clone()));
                    hash
                }
            };
            headers.push(("x-amz-date".into(), date.clone()));
            if let Some(token) = &keys.session_token {
                headers.push(("x-amz-security-token".into(), token.clone()));
            }
            let signed = Signed {
                method: call.method,
                path,
                query,
                headers: &headers,
                payload_hash: &hash,
                date: &date,
                region: &self.region,
            };
            let authorization = signed.authorization(keys);
            headers.push(("authorization".into(), authorization));
        }
        headers.extend(call.unsigned);
        let query = if query.is_empty() { String::new() } else { format!("?{query}") };
        let mut request = Request::builder()
            .method(Method::from_bytes(call.method.as_bytes()).unwrap())
            .uri(format!("http://{address}{path}{query}"));
        for (name, value) in &headers {
            request = request.header(name, value);
        }
        self.exchange(request.body(Full::new(call.body)).unwrap()).await
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<Reply, Broken> {
        let reply = self.http.request(request).await.map_err(|_| Broken)?;
        let (parts, body) = reply.into_parts();
        let body = body.collect().await.map_err(|_| Broken)?.to_bytes();
        Ok(Reply { status: parts.status.as_u16(), headers: parts.headers, body })
    }

    pub async fn call(&self, call: Call<'_>) -> Reply {
        self.send(call).await.unwrap()
    }

    pub async fn get(&self, target: &str) -> Reply {
        self.call(Call::new("GET", target)).await
    }

    pub async fn head(&self, target: &str) -> Reply {
        self.call(Call::new("HEAD", target)).await
    }

    pub async fn delete(&self, target: &str) -> Reply {
        self.call(Call::new("DELETE", target)).await
    }

    pub async fn put(&self, target: &str, body: &'static str) -> Reply {
        self.call(Call::new("PUT", target).body(body)).await
    }

    /// Asks for a thaw with this inner XML.
    pub async fn restore(&self, key: &str, inner: &str) -> Reply {
        let body = format!(
            "<RestoreRequest xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">{inner}\
             </RestoreRequest>"
        );
        self.call(Call::new("POST", &format!("{key}?restore")).body(body)).await
    }

    /// A request without bucket and signature, for the admin pages.
    pub async fn plain(&self, method: &str, path: &str) -> Reply {
        let uri = format!("http://{}{path}", self.server.addr());
        let request = Request::builder().method(method).uri(uri);
        self.exchange(request.body(Full::default()).unwrap()).await.unwrap()
    }
}
