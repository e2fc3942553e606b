//! May blobs of INTELLIGENT_TIERING sink into archive tiers here? The bucket's configuration says.
//!
//! A listing never shows the access tier of an object; without a configuration that names an archive
//! tier no object gets into one, and no HEAD is needed to know that it can be read. Source:
//! ListBucketIntelligentTieringConfigurations, S3 API reference.

use std::sync::Arc;

use rusoto_core::signature::SignedRequest;
use tokio::sync::OnceCell;

use crate::{
    errors::Op,
    storage::Inner,
    wire::{Exchange, Expect, Node, Nodes},
};

/// The answer, asked for once.
#[derive(Debug, Default)]
pub(crate) struct Sinking(OnceCell<bool>);

impl Sinking {
    /// May blobs sink, as far as is known? Without an answer they may.
    pub fn may_be(&self) -> bool {
        self.0.get().copied().unwrap_or(true)
    }
}

impl Inner {
    /// Asks the bucket whether blobs may sink, the first time. A bucket that doesn't say is one where
    /// they may.
    pub(super) async fn learn_sinking(&self) {
        self.list_learned.sinking.0.get_or_init(|| self.asks_sinking()).await;
    }

    async fn asks_sinking(&self) -> bool {
        let mut token: Option<String> = None;
        loop {
            let exchange = Arc::new(Exchange::new(Expect::Listing));
            let region = self.wire.rusoto_region();
            let path = format!("/{}", self.bucket());
            let mut request = SignedRequest::new("GET", "s3", &region, &path);
            request.add_param("intelligent-tiering", "");
            if let Some(token) = &token {
                request.add_param("continuation-token", token);
            }
            let Ok(body) = self.whole_body(&exchange, request, self.about(Op::List, None)).await
            else {
                return true;
            };
            match parse(&body) {
                None => return true,
                Some(Page { archives: true, .. }) => return true,
                Some(Page { next: None, .. }) => return false,
                Some(Page { next, .. }) if next == token => return true,
                Some(Page { next, .. }) => token = next,
            }
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Page {
    /// Does a configuration that is on name an archive tier?
    archives: bool,
    next: Option<String>,
}

/// A page of configurations; `None` if it is none.
fn parse(body: &[u8]) -> Option<Page> {
    let mut page = Page { archives: false, next: None };
    let mut open: Vec<String> = Vec::new();
    let (mut has_root, mut is_on, mut has_tier) = (false, true, false);
    for node in Nodes::new(body) {
        match node.ok()? {
            Node::Open(name) => {
                has_root |= open.is_empty()
                    && name == "ListBucketIntelligentTieringConfigurationsOutput"
                    || open.is_empty() && name.ends_with("ConfigurationsResult");
                if name == "IntelligentTieringConfiguration" {
                    (is_on, has_tier) = (true, false);
                }
                open.push(name);
            }
            Node::Text(text) => match open.last().map(String::as_str) {
                Some("Status") => is_on = text.trim() != "Disabled",
                Some("AccessTier") => has_tier = true,
                Some("NextContinuationToken") => page.next = Some(text),
                _ => {}
            },
            Node::Close => {
                if open.pop().as_deref() == Some("IntelligentTieringConfiguration") {
                    page.archives |= is_on && has_tier;
                }
            }
        }
    }
    has_root.then_some(page)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(inner: &str) -> Option<Page> {
        let name = "ListBucketIntelligentTieringConfigurationsOutput";
        parse(format!("<{name}>{inner}</{name}>").as_bytes())
    }

    #[test]
    fn only_a_configuration_that_is_on_lets_blobs_sink() {
        let with = |status: &str| {
            format!(
                "<IntelligentTieringConfiguration><Id>a</Id><Status>{status}</Status><Tiering>\
                 <AccessTier>ARCHIVE_ACCESS</AccessTier><Days>90</Days></Tiering>\
                 </IntelligentTieringConfiguration>"
            )
        };
        let sinks = |text: &str| page(text).map(|page| page.archives);
        assert_eq!(sinks(""), Some(false));
        assert_eq!(sinks(&with("Enabled")), Some(true));
        assert_eq!(sinks(&with("Disabled")), Some(false));
        assert_eq!(sinks(&(with("Disabled") + &with("Enabled"))), Some(true));
        let next = "<NextContinuationToken>t</NextContinuationToken>";
        assert_eq!(page(next), Some(Page { archives: false, next: Some("t".into()) }));
        assert_eq!(parse(b"<Error><Code>NotImplemented</Code></Error>"), None);
        assert_eq!(parse(b"<ListBucketIntel"), None);
    }
}
