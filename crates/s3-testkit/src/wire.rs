//! Between the socket and the S3 service: log, faults, and answers that s3s cannot write itself.
//!
//! The one idea: a fault is played on the HTTP exchange, around the service. The service stays a
//! faithful S3, and a lost answer is really a done request whose answer got lost.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use s3s::service::S3Service;
use s3s::{Body, HttpError, StdError};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Sleep;

use crate::access::ERROR_FIELD;
use crate::faults::Effect;
use crate::log::RequestRecord;
use crate::request::Target;
use crate::server::Shared;
use crate::service::Service;
use crate::text::xml_escape;

type Answer = Response<Body>;

/// The status that an operation wants where s3s has a fixed one, as an extension of its answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Status(pub StatusCode);

/// Serves one connection until it ends.
pub(crate) async fn serve_connection<I>(io: I, shared: Arc<Shared>, s3: S3Service)
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request| answer(shared.clone(), s3.clone(), request));
    // A broken connection is the client's affair, or a fault that was ordered.
    let _ = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(io), service)
        .await;
}

async fn answer(
    shared: Arc<Shared>,
    s3: S3Service,
    mut request: Request<Incoming>,
) -> Result<Answer, HttpError> {
    if let Some(page) = crate::admin::answer(&shared, request.method(), request.uri()) {
        return Ok(page);
    }
    let domains = &shared.options.domains;
    let target = Target::of(request.method(), request.uri(), request.headers(), domains);
    let last = shared.cut.take(&target);
    let is_last = last == Some(Effect::LoseAnswer);
    let effect = last.or_else(|| shared.faults.take(&target));
    let entry = Entry::new(&shared, record(&request, &target, effect.is_some()));
    if !shared.options.latency.is_zero() {
        tokio::time::sleep(shared.options.latency).await;
    }
    Service(shared.clone()).settle_jobs();
    let about = About { method: request.method().clone(), path: request.uri().path().to_owned() };
    request.extensions_mut().insert(target);
    let played = play(effect, s3, request, &about).await;
    if is_last {
        shared.cut.played();
    }
    let mut answer = played?;
    set_header(&mut answer, "x-amz-request-id", &format!("{:016X}", entry.number));
    entry.complete(&answer);
    Ok(answer)
}

fn record(request: &Request<Incoming>, target: &Target, disturbed: bool) -> RequestRecord {
    let length = |name| {
        let value: Option<&HeaderValue> = request.headers().get(name);
        value.and_then(|value| value.to_str().ok()).and_then(|text| text.parse().ok())
    };
    let received = length("x-amz-decoded-content-length").or_else(|| length("content-length"));
    RequestRecord {
        at: SystemTime::now(),
        method: request.method().clone(),
        kind: target.kind,
        bucket: target.bucket.clone(),
        key: target.key.clone(),
        query: request.uri().query().unwrap_or("").to_owned(),
        headers: request.headers().clone(),
        status: None,
        received: received.unwrap_or(0),
        sent: 0,
        disturbed,
    }
}

/// A request's place in the log; it is completed even if the client goes away.
struct Entry<'a> {
    shared: &'a Shared,
    number: u64,
    is_open: bool,
}

impl<'a> Entry<'a> {
    fn new(shared: &'a Shared, record: RequestRecord) -> Self {
        Self { shared, number: shared.log.enter(record), is_open: true }
    }

    fn complete(mut self, answer: &Answer) {
        self.is_open = false;
        let (status, sent) = (answer.status().as_u16(), announced_length(answer));
        self.shared.log.complete(self.number, |record| {
            (record.status, record.sent) = (Some(status), sent);
        });
    }
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        if self.is_open {
            self.shared.log.complete(self.number, |_| {});
        }
    }
}

fn announced_length(answer: &Answer) -> u64 {
    answer.body().size_hint().exact().unwrap_or_else(|| {
        let length = answer.headers().get(http::header::CONTENT_LENGTH);
        length.and_then(|value| value.to_str().ok()?.parse().ok()).unwrap_or(0)
    })
}

/// What an error document says about its request.
struct About {
    method: Method,
    path: String,
}

async fn play(
    effect: Option<Effect>,
    s3: S3Service,
    request: Request<Incoming>,
    about: &About,
) -> Result<Answer, HttpError> {
    match effect {
        Some(Effect::Answer { status, headers, body }) => {
            drain(request).await;
            Ok(ordered_answer(status, &headers, body))
        }
        Some(Effect::Drop) => Err(dropped()),
        Some(Effect::Stall(time)) => {
            tokio::time::sleep(time).await;
            serve(s3, request, about).await
        }
        Some(Effect::LoseAnswer) => {
            serve(s3, request, about).await?;
            Err(dropped())
        }
        other => {
            let answer = serve(s3, request, about).await?;
            match other {
                Some(effect) => disturb(answer, effect).await,
                None => Ok(answer),
            }
        }
    }
}

async fn serve(
    s3: S3Service,
    request: Request<Incoming>,
    about: &About,
) -> Result<Answer, HttpError> {
    let mut answer = s3.call(request.map(Body::from)).await?;
    if let Some(Status(status)) = answer.extensions().get() {
        *answer.status_mut() = *status;
    }
    if answer.status().is_client_error() || answer.status().is_server_error() {
        complete_error(&mut answer, about);
    }
    Ok(answer)
}

/// Reads what the client sends, so that it is ready to hear the answer.
async fn drain(request: Request<Incoming>) {
    let mut body = request.into_body();
    while let Some(Ok(_)) = body.frame().await {}
}

fn dropped() -> HttpError {
    HttpError::new("the test ordered to drop this connection".into())
}

fn ordered_answer(status: u16, headers: &[(String, String)], body: Bytes) -> Answer {
    let mut answer = Response::new(Body::from(body));
    if let Ok(status) = StatusCode::from_u16(status) {
        *answer.status_mut() = status;
    }
    for (name, value) in headers {
        set_header(&mut answer, name, value);
    }
    answer
}

fn set_header(answer: &mut Answer, name: &str, value: &str) {
    let (name, value) = (name.parse::<HeaderName>(), value.parse::<HeaderValue>());
    if let (Ok(name), Ok(value)) = (name, value) {
        answer.headers_mut().insert(name, value);
    }
}

/// Adds the elements of an error document that s3s leaves out; a HEAD has no document at all.
fn complete_error(answer: &mut Answer, about: &About) {
    let removed = match answer.headers_mut().entry(ERROR_FIELD) {
        http::header::Entry::Occupied(entry) => entry.remove_entry_mult().1.collect(),
        http::header::Entry::Vacant(_) => Vec::new(),
    };
    answer.headers_mut().remove(http::header::CONTENT_LENGTH);
    if about.method == Method::HEAD {
        *answer.body_mut() = Body::empty();
        return;
    }
    let Some(document) = answer.body().bytes() else { return };
    let mut document = String::from_utf8_lossy(&document).into_owned();
    let Some(end) = document.rfind("</Error>") else { return };
    let mut fields = String::new();
    for field in removed.iter().filter_map(|value| value.to_str().ok()) {
        if let Some((name, value)) = field.split_once('=') {
            fields.push_str(&format!("<{name}>{}</{name}>", xml_escape(value)));
        }
    }
    fields.push_str(&format!("<Resource>{}</Resource>", xml_escape(&about.path)));
    document.insert_str(end, &fields);
    *answer.body_mut() = Body::from(document);
    set_header(answer, "content-type", "application/xml");
}

/// Plays an effect on an answer that the service gave.
async fn disturb(mut answer: Answer, effect: Effect) -> Result<Answer, HttpError> {
    let plan = match effect {
        Effect::CutBody(after) => Plan::Cut { after },
        Effect::StallBody(after, pause) => Plan::Pause { after, pause },
        Effect::ShortenBody(len) => {
            let (mut parts, body) = answer.into_parts();
            let bytes = body.collect().await.map_err(HttpError::new)?.to_bytes();
            parts.headers.remove(http::header::CONTENT_LENGTH);
            return Ok(Response::from_parts(
                parts,
                Body::from(bytes.slice(..len.min(bytes.len()))),
            ));
        }
        Effect::FlipBit(offset) => {
            let (parts, body) = answer.into_parts();
            let bytes = body.collect().await.map_err(HttpError::new)?.to_bytes();
            let mut bytes = BytesMut::from(&bytes[..]);
            if let Some(byte) = bytes.get_mut(offset) {
                *byte ^= 1;
            }
            return Ok(Response::from_parts(parts, Body::from(bytes.freeze())));
        }
        Effect::Header(name, Some(value)) => {
            set_header(&mut answer, &name, &value);
            return Ok(answer);
        }
        Effect::Header(name, None) => {
            answer.headers_mut().remove(name);
            return Ok(answer);
        }
        Effect::Answer { .. } | Effect::Drop | Effect::LoseAnswer | Effect::Stall(_) => {
            return Ok(answer);
        }
    };
    Ok(answer.map(|inner| Body::http_body(Disturbed { inner, passed: 0, plan, pause: None })))
}

#[derive(Debug, Clone, Copy)]
enum Plan {
    Cut { after: u64 },
    Pause { after: u64, pause: Duration },
    Pass,
}

/// A body that breaks off or pauses on its way.
struct Disturbed {
    inner: Body,
    passed: u64,
    plan: Plan,
    pause: Option<Pin<Box<Sleep>>>,
}

impl http_body::Body for Disturbed {
    type Data = Bytes;
    type Error = StdError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StdError>>> {
        let this = &mut *self;
        let (after, pause) = match this.plan {
            // Time for the bytes before the cut to leave the server's buffers.
            Plan::Cut { after } => (after, Duration::from_millis(10)),
            Plan::Pause { after, pause } => (after, pause),
            Plan::Pass => return Pin::new(&mut this.inner).poll_frame(cx),
        };
        if this.passed >= after {
            let sleep = this.pause.get_or_insert_with(|| Box::pin(tokio::time::sleep(pause)));
            ready!(sleep.as_mut().poll(cx));
            if matches!(this.plan, Plan::Cut { .. }) {
                return Poll::Ready(Some(Err("the test ordered to cut this body".into())));
            }
            this.plan = Plan::Pass;
            return Pin::new(&mut this.inner).poll_frame(cx);
        }
        this.poll_up_to(after - this.passed, cx)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl Disturbed {
    /// The next frame, of which only `room` bytes pass; the rest goes back in front.
    fn poll_up_to(
        &mut self,
        room: u64,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StdError>>> {
        let frame = match ready!(Pin::new(&mut self.inner).poll_frame(cx)) {
            Some(Ok(frame)) => frame,
            other => return Poll::Ready(other),
        };
        let mut bytes = match frame.into_data() {
            Ok(bytes) => bytes,
            Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
        };
        let room = usize::try_from(room).unwrap_or(usize::MAX);
        if bytes.len() > room {
            let rest = bytes.split_off(room);
            let behind = std::mem::take(&mut self.inner);
            self.inner = Body::http_body(Rejoined { first: Some(rest), behind });
        }
        self.passed += bytes.len() as u64;
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }
}

/// Bytes that were taken from a body, and the body.
struct Rejoined {
    first: Option<Bytes>,
    behind: Body,
}

impl http_body::Body for Rejoined {
    type Data = Bytes;
    type Error = StdError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StdError>>> {
        match self.first.take() {
            Some(bytes) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
            None => Pin::new(&mut self.behind).poll_frame(cx),
        }
    }
}
