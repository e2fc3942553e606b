//! Faults, as a client meets them on the wire.

use std::time::{Duration, Instant};

use s3_testkit::{Effect, Fault, Kind};

use crate::client::{Call, start_default};

#[tokio::test]
async fn ordered_errors_have_no_effect_and_run_out() {
    let client = start_default().await;
    client.server.faults().push(Fault::slow_down().on(Kind::Put).keys("p").times(2));
    assert_eq!(client.put("p", "x").await.error(), (503, "SlowDown".into()));
    assert_eq!(client.put("q", "x").await.status, 200);
    assert_eq!(client.put("p", "x").await.error(), (503, "SlowDown".into()));
    assert!(client.server.objects().get("p").is_none());
    assert_eq!(client.put("p", "x").await.status, 200);
    let seen = client.server.requests().of(Kind::Put, "p");
    let seen: Vec<_> = seen.iter().map(|r| (r.status, r.disturbed)).collect();
    assert_eq!(seen, [(Some(503), true), (Some(503), true), (Some(200), false)]);
}

#[tokio::test]
async fn known_errors_have_their_status_and_code() {
    let client = start_default().await;
    let faults = [
        (Fault::internal_error(), 500, "InternalError"),
        (Fault::access_denied(), 403, "AccessDenied"),
        (Fault::expired_token(), 400, "ExpiredToken"),
        (Fault::clock_skewed(), 403, "RequestTimeTooSkewed"),
        (Fault::conditional_conflict(), 409, "ConditionalRequestConflict"),
        (Fault::no_expedited_capacity(), 503, "GlacierExpeditedRetrievalNotAvailable"),
        (Fault::error_in_ok("InternalError"), 200, "InternalError"),
        (Fault::error(429, "TooManyRequests"), 429, "TooManyRequests"),
    ];
    for (fault, status, code) in faults {
        client.server.faults().push(fault);
        assert_eq!(client.get("k").await.error(), (status, code.to_owned()));
    }
    client.server.faults().push(Fault::other_region("eu-west-1"));
    let reply = client.get("k").await;
    assert_eq!(reply.error(), (301, "PermanentRedirect".into()));
    assert_eq!(reply.header("x-amz-bucket-region"), Some("eu-west-1"));
    client.server.faults().push(Fault::html(502));
    let reply = client.get("k").await;
    assert_eq!((reply.status, reply.header("content-type")), (502, Some("text/html")));
    assert_eq!(client.server.faults().waiting(), 0);
}

#[tokio::test]
async fn a_lost_answer_was_done_and_a_drop_was_not() {
    let client = start_default().await;
    client.server.faults().push(Fault::lost_answer().on(Kind::Put));
    assert!(client.send(Call::new("PUT", "a").body("x")).await.is_err());
    assert!(client.server.objects().get("a").is_some());
    client.server.faults().push(Fault::drop_connection().on(Kind::Put));
    assert!(client.send(Call::new("PUT", "b").body("x")).await.is_err());
    assert!(client.server.objects().get("b").is_none());
    let seen = client.server.requests().of(Kind::Put, "");
    assert!(seen.iter().all(|record| record.status.is_none()));
}

#[tokio::test]
async fn bodies_break_off_pause_and_change() {
    let client = start_default().await;
    client.put("k", "0123456789").await;
    client.server.faults().push(Fault::cut_body(4).on(Kind::Get));
    assert!(client.send(Call::new("GET", "k")).await.is_err());

    client.server.faults().push(Fault::stall_body(4, Duration::from_millis(60)));
    let begin = Instant::now();
    assert_eq!(client.get("k").await.text(), "0123456789");
    assert!(begin.elapsed() >= Duration::from_millis(60));

    client.server.faults().push(Fault::stall(Duration::from_millis(60)));
    let begin = Instant::now();
    assert_eq!(client.get("k").await.text(), "0123456789");
    assert!(begin.elapsed() >= Duration::from_millis(60));

    client.server.faults().push(Fault::flip_bit(1));
    assert_eq!(client.get("k").await.text(), "0023456789");
    client.server.faults().push(Fault::header("x-amz-storage-class", "ODD"));
    assert_eq!(client.head("k").await.header("x-amz-storage-class"), Some("ODD"));
    client.server.faults().push(Fault::no_header("etag"));
    assert_eq!(client.head("k").await.header("etag"), None);
}

#[tokio::test]
async fn the_bytes_before_a_cut_arrive() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let options = s3_testkit::TestServerOptions { credentials: vec![], ..Default::default() };
    let client = crate::client::start(options).await;
    client.put("k", "0123456789").await;
    client.server.faults().push(Fault::cut_body(4).on(Kind::Get));
    let mut socket = tokio::net::TcpStream::connect(client.server.addr()).await.unwrap();
    socket.write_all(b"GET /test-bucket/k HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    assert!(answer.contains("content-length: 10\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\n0123"), "{answer}");
}

#[tokio::test]
async fn lists_can_be_cut_and_emptied() {
    let client = start_default().await;
    client.server.objects().put("k", "x");
    client.server.faults().push(Fault::short_body(150).on(Kind::List));
    let cut = client.get("?list-type=2").await;
    assert_eq!((cut.status, cut.body.len()), (200, 150));
    assert!(!cut.text().contains("</ListBucketResult>"));
    client.server.faults().push(Fault::empty_ok().on(Kind::List));
    let empty = client.get("?list-type=2").await;
    assert_eq!((empty.status, empty.body.len()), (200, 0));
    client.server.faults().push(Fault::empty_list().on(Kind::List));
    let hollow = client.get("?list-type=2").await;
    assert_eq!(hollow.element("KeyCount").unwrap(), "0");
    assert_eq!(client.get("?list-type=2").await.elements("Key"), ["k"]);
}

#[tokio::test]
async fn an_answer_of_ones_own_is_given_as_it_is() {
    let client = start_default().await;
    let headers = vec![("x-odd".into(), "1".into())];
    client.server.faults().push(
        Fault::new(Effect::Answer { status: 299, headers, body: "odd".into() }).on(Kind::Head),
    );
    let reply = client.head("k").await;
    assert_eq!((reply.status, reply.header("x-odd")), (299, Some("1")));
}
