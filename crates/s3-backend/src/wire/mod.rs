//! Between rusoto's requests and the network: addressing, signing, redirects, and a look at each
//! answer.
//!
//! rusoto hands over a request that is complete but unsigned ([`Dispatcher`]); [`Wire::exchange`]
//! addresses and signs it at the moment of sending and, where the answer says that this was wrong,
//! once more. It never repeats a request for another reason: that is the business of the one retry
//! layer above, which then counts what the server saw. What happened is kept beside the answer in
//! an [`Exchange`], because rusoto's errors keep little of it.

mod answer;
mod dispatch;
mod exchange;
mod guard;
mod place;
mod redirect;
mod sign;
mod xml;

use std::sync::{Arc, RwLock};

use http::Response;
use hyper::body::Incoming;
use rusoto_core::{Client, Region};
use rusoto_s3::S3Client;

use answer::Reply;
pub(crate) use answer::{Answer, net_error};
use dispatch::Dispatcher;
pub(crate) use exchange::{Exchange, Expect, Failure};
pub(crate) use place::{BucketRegion, Place};
use redirect::Redirect;
use sign::Template;
pub(crate) use xml::{Node, Nodes, error_fields, text_fields};

use crate::{credentials::Sources, net::Net};

/// Redirects followed for one request; AWS needs one, for a bucket whose region is unknown.
const REDIRECTS_MAX: usize = 3;

/// All that a request needs on its way to one bucket.
#[derive(Debug)]
pub(crate) struct Wire {
    net: Net,
    sources: Sources,
    place: Place,
    region: RwLock<BucketRegion>,
}

impl Wire {
    pub fn new(net: Net, sources: Sources, place: Place, region: BucketRegion) -> Self {
        Self { net, sources, place, region: RwLock::new(region) }
    }

    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Rusoto's client for one request. Cheap: two handles.
    pub fn client(self: &Arc<Self>, exchange: &Arc<Exchange>) -> S3Client {
        S3Client::new_with_client(self.raw(exchange), self.rusoto_region())
    }

    /// The same for a request that rusoto has no type for.
    pub fn raw(self: &Arc<Self>, exchange: &Arc<Exchange>) -> Client {
        Client::new_not_signing(Dispatcher::new(self.clone(), exchange.clone()))
    }

    /// A region that names the bucket's endpoint; which one is decided again when it is signed.
    pub fn rusoto_region(&self) -> Region {
        Region::Custom { name: self.region().name, endpoint: self.place.endpoint_url() }
    }

    /// The bucket's region as far as it is known.
    pub fn region(&self) -> BucketRegion {
        self.region.read().expect("no holder of this lock panics").clone()
    }

    fn remember_region(&self, name: String) {
        tracing::debug!(
            region = name,
            bucket = self.place.bucket(),
            "the bucket is in this region"
        );
        *self.region.write().expect("no holder of this lock panics") =
            BucketRegion { name, known: true };
    }

    /// Sends a request, and again where it was addressed or signed wrongly.
    async fn exchange(&self, template: &Template, expect: Expect) -> Result<Reply, Failure> {
        let mut credentials = self.sources.credentials().await.map_err(Failure::Credentials)?;
        let (mut redirects, mut renewed, mut detour) = (0, false, None);
        loop {
            let region = self.region();
            let target = match &template.control {
                Some(account) => self.place.control(&region.name, account),
                None => self.place.target(&region, detour.as_deref()),
            };
            let request = template.sign(&target, &region.name, credentials.as_ref())?;
            let answer = self.net.send(request).await?;
            if answer.status().is_success() {
                return self.accept(answer, expect).await;
            }
            let refusal = answer::refusal(answer, self.net.timeouts().stall).await?;
            if template.control.is_none()
                && redirects < REDIRECTS_MAX
                && let Some(way) = redirect::of(refusal.answer(), &self.place, &region.name)
            {
                redirects += 1;
                match way {
                    Redirect::Region(name) => self.remember_region(name),
                    Redirect::Host(host) => detour = Some(host),
                }
                continue;
            }
            if !renewed
                && refusal.answer().is_expired_token()
                && let Some(stale) = &credentials
                && let Some(fresh) =
                    self.sources.renew(stale).await.map_err(Failure::Credentials)?
            {
                tracing::debug!("the session token has expired; trying a new one");
                (credentials, renewed) = (Some(fresh), true);
                continue;
            }
            return Ok(refusal);
        }
    }

    async fn accept(&self, answer: Response<Incoming>, expect: Expect) -> Result<Reply, Failure> {
        let stall = self.net.timeouts().stall;
        match expect {
            Expect::Object if guard::is_no_object(answer.headers()) => {
                guard::check(answer::buffered(answer, stall).await?)
            }
            Expect::Object => Ok(Reply::streamed(answer, stall)),
            Expect::Listing => answer::buffered(answer, stall).await,
            Expect::Nothing => guard::check(answer::buffered(answer, stall).await?),
        }
    }
}
