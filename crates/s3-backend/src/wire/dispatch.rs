//! Where rusoto's requests leave rusoto.

use std::{sync::Arc, time::Duration};

use rusoto_core::{
    DispatchSignedRequest, HttpDispatchError,
    request::{DispatchSignedRequestFuture, HttpResponse},
    signature::SignedRequest,
};

use super::{Exchange, Failure, Template, Wire, answer::Reply};

/// Sends one request. (Despite its name rusoto's `SignedRequest` is unsigned when it comes here.)
pub(super) struct Dispatcher {
    wire: Arc<Wire>,
    exchange: Arc<Exchange>,
}

impl Dispatcher {
    pub fn new(wire: Arc<Wire>, exchange: Arc<Exchange>) -> Self {
        Self { wire, exchange }
    }
}

impl DispatchSignedRequest for Dispatcher {
    fn dispatch(&self, request: SignedRequest, _: Option<Duration>) -> DispatchSignedRequestFuture {
        let (wire, exchange) = (self.wire.clone(), self.exchange.clone());
        // Taken apart before the future begins: the request can't be held across an await.
        let template = Template::new(request, wire.place(), &exchange);
        Box::pin(async move {
            let reply = match template {
                Ok(template) => wire.exchange(&template, exchange.expect).await,
                Err(failure) => Err(failure),
            };
            finish(&exchange, reply)
        })
    }
}

fn finish(
    exchange: &Exchange,
    reply: Result<Reply, Failure>,
) -> Result<HttpResponse, HttpDispatchError> {
    match reply {
        Ok(reply) => {
            exchange.note(Ok(reply.answer().clone()));
            Ok(reply.into_rusoto())
        }
        Err(failure) => {
            let text = failure.to_string();
            exchange.note(Err(failure));
            Err(HttpDispatchError::new(text))
        }
    }
}
