//! The clusters of an account in a region: a question of the host's own.

use bytes::Bytes;
use http::Method;
use serde::Deserialize;

use super::error::UpstreamError;
use super::exchange::Outgoing;
use super::operation::{View, encode};
use super::{Clean, Upstreams};

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
                return Err(refused(&answer));
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

fn refused(answer: &Clean) -> UpstreamError {
    let error: serde_json::Value = serde_json::from_slice(answer.body()).unwrap_or_default();
    let field = |name: &str| {
        let text = error.get(name).and_then(serde_json::Value::as_str);
        text.unwrap_or_default().to_owned()
    };
    let (code, message, what) = (field("code"), field("message"), "EKS".to_owned());
    match (answer.status().as_u16(), code.as_str()) {
        (401 | 403, "AccessDeniedException" | "AccessDenied") => UpstreamError::NotPermitted {
            what,
            right: "eks:ListClusters".to_owned(),
            hint_line: message,
        },
        (401 | 403, _) => UpstreamError::Unauthenticated {
            what,
            hint_line: format!("{code}: {message}"),
        },
        (status, _) => UpstreamError::Answer {
            what,
            reason: format!("status {status}, {code}: {message}"),
        },
    }
}
