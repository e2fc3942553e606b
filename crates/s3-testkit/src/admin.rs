//! Pages outside S3, below `/_testkit/`, for tests that run the server as another process.
//!
//! `_testkit` is no legal bucket name, so nothing of S3 is hidden. The pages need no signature and
//! are not entered into the request log.
//!
//! - `GET /_testkit/objects[?prefix=P]`: the objects with size, class, headers and thaw;
//! - `GET /_testkit/requests`: counters by HTTP method, and by kind, of the first letters of keys;
//!   bytes of payload by kind, as the server received and sent them;
//! - `GET /_testkit/puts[?prefix=P]`: every PUT that was taken, with its class, also of objects that
//!   are gone since;
//! - `DELETE /_testkit/requests`: forgets the requests;
//! - `GET|POST /_testkit/clock[?advance=SECONDS][&back=SECONDS]`: tells the clock's offset, moves it;
//! - `POST /_testkit/class?class=C[&prefix=P]`: moves objects to a class, as a lifecycle rule does;
//! - `POST /_testkit/faults?error=CODE&status=503[&on=put][&keys=P][&times=N][&skip=N]`: orders an
//!   error; `effect=drop`, `lost-answer`, `cut-body&after=N`, `stall&ms=N` instead of `error`;
//! - `DELETE /_testkit/faults`: forgets the faults.

use std::collections::BTreeMap;
use std::time::Duration;

use http::{Method, Response, StatusCode, Uri};
use s3s::Body;
use serde_json::{Map, Value, json};

use crate::faults::Fault;
use crate::objects::StoredObject;
use crate::request::{Kind, Query, Target};
use crate::server::Shared;
use crate::text::iso_date;

const ROOT: &str = "/_testkit/";

/// Answers a request to an admin page; none if it is a request of S3.
pub(crate) fn answer(shared: &Shared, method: &Method, uri: &Uri) -> Option<Response<Body>> {
    let page = uri.path().strip_prefix(ROOT)?;
    let query = Query::new(uri.query().unwrap_or(""));
    let answered = match (page, method) {
        ("objects", &Method::GET) => Ok(objects(shared, &query.get("prefix").unwrap_or_default())),
        ("puts", &Method::GET) => Ok(puts(shared, &query.get("prefix").unwrap_or_default())),
        ("requests", &Method::GET) => Ok(requests(shared)),
        ("requests", &Method::DELETE) => {
            shared.log.clear();
            Ok(json!({}))
        }
        ("clock", &Method::GET) => Ok(clock(shared)),
        ("clock", &Method::POST) => advance(shared, &query),
        ("class", &Method::POST) => move_to_class(shared, &query),
        ("faults", &Method::POST) => order_fault(shared, &query),
        ("faults", &Method::DELETE) => {
            shared.faults.clear();
            Ok(json!({}))
        }
        _ => Err((StatusCode::NOT_FOUND, format!("there is no {method} {}", uri.path()))),
    };
    let (status, value) = match answered {
        Ok(value) => (StatusCode::OK, value),
        Err((status, message)) => (status, json!({ "error": message })),
    };
    let mut response = Response::new(Body::from(format!("{value}\n")));
    *response.status_mut() = status;
    let json = http::HeaderValue::from_static("application/json");
    response.headers_mut().insert(http::header::CONTENT_TYPE, json);
    Some(response)
}

type Answered = Result<Value, (StatusCode, String)>;

fn objects(shared: &Shared, prefix: &str) -> Value {
    let keys = shared.objects.keys(prefix).into_iter();
    keys.filter_map(|key| Some(object(&key, &shared.objects.get(&key)?))).collect()
}

fn object(key: &str, object: &StoredObject) -> Value {
    let headers: Map<String, Value> =
        object.headers.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
    let mut told = json!({
        "key": key,
        "size": object.bytes.len(),
        "storageClass": object.storage_class,
        "etag": object.etag,
        "lastModified": iso_date(object.last_modified),
        "headers": headers,
    });
    if let Some(thaw) = object.restore {
        told["restoreReady"] = json!(iso_date(thaw.ready));
        told["restoreExpiry"] = json!(thaw.expiry.map(iso_date));
    }
    if let Some(tier) = object.archive_access {
        told["archiveAccess"] = json!(tier.as_str());
    }
    told
}

fn requests(shared: &Shared) -> Value {
    type Counts = BTreeMap<String, BTreeMap<char, u64>>;
    let (mut methods, mut kinds) = (Counts::new(), Counts::new());
    let (mut received, mut sent) = (BTreeMap::new(), BTreeMap::new());
    for record in shared.log.all() {
        let method = record.method.to_string();
        let (kind, bucket, key) = (record.kind, record.bucket, record.key);
        let letter = Target { kind, bucket, key }.letter();
        *received.entry(kind.as_str()).or_insert(0) += record.received;
        *sent.entry(kind.as_str()).or_insert(0) += record.sent;
        *methods.entry(method).or_default().entry(letter).or_default() += 1;
        *kinds.entry(kind.as_str().to_owned()).or_default().entry(letter).or_default() += 1;
    }
    let told = |counts: Counts| -> Map<String, Value> {
        let letters = |letters: BTreeMap<char, u64>| -> Map<String, Value> {
            letters.into_iter().map(|(letter, n)| (letter.to_string(), json!(n))).collect()
        };
        counts.into_iter().map(|(name, by)| (name, Value::Object(letters(by)))).collect()
    };
    json!({
        "total": shared.log.total(),
        "concurrencyMax": shared.log.concurrency_max(),
        "methods": told(methods),
        "kinds": told(kinds),
        "received": received,
        "sent": sent,
    })
}

fn puts(shared: &Shared, prefix: &str) -> Value {
    let taken = shared.log.of(Kind::Put, prefix).into_iter().filter(|put| put.status == Some(200));
    let told = taken.map(|put| {
        let class = put.header("x-amz-storage-class").unwrap_or("STANDARD");
        json!({ "key": put.key, "size": put.received, "storageClass": class })
    });
    told.collect()
}

fn clock(shared: &Shared) -> Value {
    let now = iso_date(shared.clock.now());
    json!({ "offsetSeconds": shared.clock.offset_secs(), "now": now })
}

fn advance(shared: &Shared, query: &Query<'_>) -> Answered {
    let secs = number(query, "advance", 0)?;
    shared.clock.advance(Duration::from_secs(secs));
    shared.clock.turn_back(Duration::from_secs(number(query, "back", 0)?));
    Ok(clock(shared))
}

fn move_to_class(shared: &Shared, query: &Query<'_>) -> Answered {
    let class = query.get("class").ok_or_else(|| bad("class= is missing"))?;
    let keys = shared.objects.keys(&query.get("prefix").unwrap_or_default());
    let moved = keys.iter().filter(|key| shared.objects.set_class(key, &class)).count();
    Ok(json!({ "moved": moved }))
}

fn order_fault(shared: &Shared, query: &Query<'_>) -> Answered {
    let mut fault = match (query.get("error"), query.get("effect").as_deref()) {
        (Some(code), None) => {
            let status = u16::try_from(number(query, "status", 503)?).ok();
            let status = status.filter(|status| (100..600).contains(status));
            Fault::error(status.ok_or_else(|| bad("status is no HTTP status"))?, &code)
        }
        (None, Some("drop")) => Fault::drop_connection(),
        (None, Some("lost-answer")) => Fault::lost_answer(),
        (None, Some("cut-body")) => Fault::cut_body(number(query, "after", 0)?),
        (None, Some("stall")) => Fault::stall(Duration::from_millis(number(query, "ms", 1000)?)),
        _ => return Err(bad("a fault needs error=CODE or effect=drop|lost-answer|cut-body|stall")),
    };
    if let Some(kind) = query.get("on") {
        fault = fault.on(Kind::parse(&kind).ok_or_else(|| bad("on= is no kind of request"))?);
    }
    let count = |name, default| -> Result<usize, (StatusCode, String)> {
        usize::try_from(number(query, name, default)?).map_err(|_| bad("too large"))
    };
    let fault = fault.keys(query.get("keys").unwrap_or_default());
    shared.faults.push(fault.skip(count("skip", 0)?).times(count("times", 1)?));
    Ok(json!({ "waiting": shared.faults.waiting() }))
}

fn number(query: &Query<'_>, name: &str, default: u64) -> Result<u64, (StatusCode, String)> {
    match query.get(name) {
        None => Ok(default),
        Some(text) => text.parse().map_err(|_| bad(&format!("{name}= is no number"))),
    }
}

fn bad(message: &str) -> (StatusCode, String) {
    (StatusCode::BAD_REQUEST, message.to_owned())
}
