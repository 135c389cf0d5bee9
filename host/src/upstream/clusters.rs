//! The clusters of an account in a region: a question of the host's own.

use bytes::Bytes;
use http::Method;
use serde::Deserialize;

use super::error::UpstreamError;
use super::exchange::Outgoing;
use super::operation::{View, encode};
use super::{Told, Upstreams};

/// The largest page that EKS gives.
const PAGE: usize = 100;
/// More pages are no answer any more: an account has 100 clusters a region
/// unless AWS raised that.
const PAGES: usize = 200;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    #[serde(default)]
    clusters: Vec<String>,
    next_token: Option<String>,
}

fn request(token: Option<&str>) -> Outgoing {
    let token = token.map_or_else(String::new, |token| format!("&nextToken={}", encode(token)));
    Outgoing {
        label: "eks:ListClusters".to_owned(),
        method: Method::GET,
        path_and_query: format!("/clusters?maxResults={PAGE}{token}"),
        accept: "application/json",
        content_type: None,
        body: Bytes::new(),
        view: View::Full,
        once: false,
    }
}

impl Upstreams {
    /// The names of all clusters of the session's account in its region.
    ///
    /// # Errors
    /// Why EKS does not list them.
    pub async fn list_clusters(&self) -> Result<Vec<String>, UpstreamError> {
        let wrong = |reason: String| UpstreamError::Answer {
            what: "EKS".to_owned(),
            reason,
        };
        let mut names = Vec::new();
        let mut token: Option<String> = None;
        for _ in 0..PAGES {
            let out = request(token.as_deref());
            let answer = self.0.eks.call(&self.0.shared, &out).await?;
            if !answer.status().is_success() {
                return Err(Told::of(&answer).refusal(answer.status(), "eks:ListClusters"));
            }
            let page: Listed = serde_json::from_slice(answer.body()).map_err(|error| {
                wrong(format!("a list of clusters that cannot be read: {error}"))
            })?;
            names.extend(page.clusters);
            token = page.next_token.filter(|token| !token.is_empty());
            if token.is_none() {
                return Ok(names);
            }
        }
        Err(wrong(format!("more than {PAGES} pages of clusters")))
    }
}
