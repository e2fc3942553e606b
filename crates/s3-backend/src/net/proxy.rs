//! The way to a host: straight, or by the proxy that the environment names.
//!
//! The variables are those of Go and so of Kopia: `HTTPS_PROXY` for addresses with TLS,
//! `HTTP_PROXY` for those without (not in a CGI program, where a request could set it), `NO_PROXY`
//! for exceptions; each also in lower case. A host of this machine is never asked by a proxy, nor
//! is a link-local one: the metadata services of instances and containers. Source: package
//! `golang.org/x/net/http/httpproxy`.
//!
//! TLS goes through the proxy in a tunnel (`CONNECT`), so it sees no more than the name; without
//! TLS it is sent the request as it is. A SOCKS 5 proxy makes a tunnel for both.

use std::{
    fmt, io,
    net::IpAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures::{FutureExt, future::BoxFuture};
use http::{HeaderValue, Uri, uri::Authority};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::{
    client::{
        legacy::connect::{
            Connected, Connection, HttpConnector,
            proxy::{SocksV5, Tunnel},
        },
        proxy::matcher::{Intercept, Matcher},
    },
    rt::TokioIo,
};
use tokio::net::TcpStream;
use tower_service::Service;

use super::resolve::Resolver;

/// Which proxy leads where.
#[derive(Debug, Clone)]
pub(crate) struct Proxies(Arc<Matcher>);

impl Proxies {
    /// Those that the environment names.
    ///
    /// # Errors
    /// The variable, and what is wrong with it.
    pub fn of(environment: impl Fn(&str) -> Option<String>) -> Result<Self, (String, String)> {
        let find = |names: [&str; 2]| {
            let set = |name: &&str| environment(name).filter(|text| !text.trim().is_empty());
            names.iter().find_map(|name| Some(((*name).to_owned(), set(name)?)))
        };
        let (mut http, https) =
            (find(["HTTP_PROXY", "http_proxy"]), find(["HTTPS_PROXY", "https_proxy"]));
        if environment("REQUEST_METHOD").is_some() {
            http = None;
        }
        for (name, text) in [&http, &https].into_iter().flatten() {
            check(text).map_err(|reason| (name.clone(), reason))?;
        }
        let text = |found: Option<(String, String)>| found.map_or(String::new(), |(_, text)| text);
        let matcher = Matcher::builder()
            .http(text(http))
            .https(text(https))
            .no(text(find(["NO_PROXY", "no_proxy"])))
            .build();
        Ok(Self(Arc::new(matcher)))
    }

    /// None at all.
    #[cfg(test)]
    pub fn none() -> Self {
        Self(Arc::new(Matcher::builder().build()))
    }

    fn on_the_way_to(&self, target: &Uri) -> Option<Intercept> {
        let host = target.host()?.trim_matches(['[', ']']);
        let is_here = host == "localhost" || host.ends_with(".localhost");
        let is_near = match host.parse() {
            Ok(IpAddr::V4(ip)) => ip.is_loopback() || ip.is_link_local(),
            // fd00:ec2::/32 is where EC2 keeps its services.
            Ok(IpAddr::V6(ip)) => {
                ip.is_loopback()
                    || ip.is_unicast_link_local()
                    || ip.segments()[..2] == [0xfd00, 0x0ec2]
            }
            Err(_) => false,
        };
        if is_here || is_near { None } else { self.0.intercept(target) }
    }

    /// What a request without TLS must carry for the proxy that it is sent to.
    pub fn authorization(&self, target: &Uri) -> Option<HeaderValue> {
        if target.scheme_str() != Some("http") {
            return None;
        }
        let proxy = self.on_the_way_to(target).filter(|proxy| !is_socks(proxy))?;
        proxy.basic_auth().cloned()
    }
}

fn is_socks(proxy: &Intercept) -> bool {
    proxy.uri().scheme_str().is_some_and(|scheme| scheme.starts_with("socks"))
}

/// The library below ignores what it does not understand, and would go straight.
fn check(text: &str) -> Result<(), String> {
    let shown = || text.rsplit_once('@').map_or(text, |(_, host)| host).to_owned();
    let uri: Uri = text.parse().map_err(|error| format!("{}: {error}", shown()))?;
    match uri.scheme_str() {
        None | Some("http" | "socks5" | "socks5h") if uri.host().is_some() => Ok(()),
        Some("http" | "socks5" | "socks5h") | None => Err(format!("{} names no host", shown())),
        Some(other) => Err(format!(
            "{} is a proxy of the kind {other}; there are http, socks5 and socks5h",
            shown()
        )),
    }
}

/// Connects straight or by a proxy.
#[derive(Clone)]
pub struct Route {
    direct: HttpConnector<Resolver>,
    proxies: Proxies,
}

impl fmt::Debug for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Route").finish_non_exhaustive()
    }
}

impl Route {
    pub(super) fn new(direct: HttpConnector<Resolver>, proxies: Proxies) -> Self {
        Self { direct, proxies }
    }
}

type Outcome = Result<Way, Box<dyn std::error::Error + Send + Sync>>;

impl Service<Uri> for Route {
    type Response = Way;
    type Error = Box<dyn std::error::Error + Send + Sync>;
    type Future = BoxFuture<'static, Outcome>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.direct.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, target: Uri) -> Self::Future {
        let Some(proxy) = self.proxies.on_the_way_to(&target) else {
            let connecting = self.direct.call(target);
            return async { Ok(Way { stream: connecting.await?, is_told: false }) }.boxed();
        };
        let at = proxy.uri().authority().map_or_else(String::new, ToString::to_string);
        let direct = self.direct.clone();
        async move {
            by(proxy, direct, target).await.map_err(|error| {
                let reason = super::error::chain_of(&*error);
                io::Error::other(format!("by the proxy {at}: {reason}")).into()
            })
        }
        .boxed()
    }
}

async fn by(proxy: Intercept, mut direct: HttpConnector<Resolver>, target: Uri) -> Outcome {
    if is_socks(&proxy) {
        let local = proxy.uri().scheme_str() == Some("socks5");
        let mut socks = SocksV5::new(with_port(proxy.uri(), 1080)?, direct).local_dns(local);
        if let Some((user, password)) = proxy.raw_auth() {
            socks = socks.with_auth(user.to_owned(), password.to_owned());
        }
        return Ok(Way { stream: socks.call(target).await?, is_told: false });
    }
    if target.scheme_str() == Some("https") {
        let mut tunnel = Tunnel::new(proxy.uri().clone(), direct);
        if let Some(value) = proxy.basic_auth() {
            tunnel = tunnel.with_auth(value.clone());
        }
        return Ok(Way { stream: tunnel.call(target).await?, is_told: false });
    }
    Ok(Way { stream: direct.call(proxy.uri().clone()).await?, is_told: true })
}

fn with_port(uri: &Uri, port: u16) -> Result<Uri, http::Error> {
    let Some(authority) = uri.authority().filter(|it| it.port().is_none()) else {
        return Ok(uri.clone());
    };
    let mut parts = uri.clone().into_parts();
    parts.authority = Some(format!("{authority}:{port}").parse::<Authority>()?);
    Ok(Uri::from_parts(parts)?)
}

/// A connection.
pub struct Way {
    stream: TokioIo<TcpStream>,
    /// The other end is a proxy that must be told the whole address with each request.
    is_told: bool,
}

impl Way {
    fn stream(self: Pin<&mut Self>) -> Pin<&mut TokioIo<TcpStream>> {
        Pin::new(&mut self.get_mut().stream)
    }
}

impl Connection for Way {
    fn connected(&self) -> Connected {
        self.stream.connected().proxy(self.is_told)
    }
}

impl Read for Way {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        self.stream().poll_read(context, buffer)
    }
}

impl Write for Way {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.stream().poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.stream().poll_write_vectored(context, slices)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(set: &[(&str, &str)]) -> Result<Proxies, (String, String)> {
        let find = |name: &str| set.iter().find(|(known, _)| *known == name);
        Proxies::of(|name| find(name).map(|(_, value)| (*value).to_owned()))
    }

    fn way(proxies: &Proxies, target: &str) -> Option<String> {
        let proxy = proxies.on_the_way_to(&target.parse().unwrap())?;
        Some(proxy.uri().to_string())
    }

    #[test]
    fn the_variables_are_gos() {
        let set = [
            ("HTTPS_PROXY", "http://one:1"),
            ("http_proxy", "two:2"),
            ("NO_PROXY", "x.y,10.0.0.0/8"),
        ];
        let all = proxies(&set).unwrap();
        assert_eq!(way(&all, "https://s3.example/"), Some("http://one:1/".into()));
        assert_eq!(way(&all, "http://s3.example/"), Some("http://two:2/".into()));
        for straight in ["https://x.y/", "https://bucket.x.y/", "http://10.1.2.3:9000/"] {
            assert_eq!(way(&all, straight), None, "{straight}");
        }
        let cgi = proxies(&[("HTTP_PROXY", "http://bad:1"), ("REQUEST_METHOD", "GET")]).unwrap();
        assert_eq!(way(&cgi, "http://s3.example/"), None);
        let other = proxies(&[("ALL_PROXY", "http://all:1"), ("HTTPS_PROXY", " ")]).unwrap();
        assert_eq!(way(&other, "https://s3.example/"), None, "as Kopia");
    }

    #[test]
    fn what_is_near_is_asked_itself() {
        let all = proxies(&[("HTTPS_PROXY", "p:1"), ("HTTP_PROXY", "p:1")]).unwrap();
        for near in [
            "http://127.0.0.1:9000/",
            "https://localhost/",
            "http://bucket.localhost:9000/",
            "http://[::1]:9000/",
            "http://169.254.169.254/latest/",
            "http://[fd00:ec2::254]/latest/",
        ] {
            assert_eq!(way(&all, near), None, "{near}");
        }
    }

    #[test]
    fn what_is_no_proxy_is_refused_without_its_password() {
        for (text, told) in [
            ("ftp://u:hunter2@p:1", "p:1 is a proxy of the kind ftp"),
            ("https://u:hunter2@p:1", "of the kind https"),
            ("http://u:hunter2@", "invalid authority"),
            ("http://u:hunter2@a b", "invalid uri"),
        ] {
            let (variable, reason) = proxies(&[("https_proxy", text)]).unwrap_err();
            assert_eq!(variable, "https_proxy");
            assert!(reason.contains(told) && !reason.contains("hunter2"), "{text}: {reason}");
        }
    }

    #[test]
    fn only_a_proxy_that_sees_the_request_is_told_who_asks() {
        let set = [("HTTPS_PROXY", "http://u:p@one:1"), ("HTTP_PROXY", "http://u:p@two:2")];
        let all = proxies(&set).unwrap();
        let told = |target: &str| all.authorization(&target.parse().unwrap());
        assert_eq!(told("http://s3.example/").unwrap(), "Basic dTpw");
        assert!(told("https://s3.example/").is_none() && told("http://localhost/").is_none());
        assert!(!format!("{all:?}").contains("dTpw"));
    }
}
