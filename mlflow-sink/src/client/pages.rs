//! Searches for runs, page by page.
//!
//! A page the server does not manage in time, or whose answer is too long, is asked for again in smaller ones: how large a
//! run is nobody knows before. That is no outage, and stops nobody else.

use reqwest::Method;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::error::{Call, ClientError};
use super::{Client, READ_PATIENCE};

/// Runs of a page, at first.
const PAGE_RUNS: u32 = 200;
/// How much smaller the next page is that is tried.
const SMALLER: u32 = 4;

/// Where a search goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    token: Option<String>,
    runs: u32,
}

impl Page {
    /// The first one.
    pub fn first() -> Self {
        Self { token: None, runs: PAGE_RUNS }
    }
}

#[derive(Deserialize)]
struct Answer<R> {
    #[serde(default = "Vec::new")]
    runs: Vec<R>,
    #[serde(default)]
    next_page_token: Option<String>,
}

impl Client {
    /// A page of what a search finds, and where it goes on.
    pub(super) async fn page<R: DeserializeOwned>(
        &self,
        mut search: Value,
        page: Page,
    ) -> Result<(Vec<R>, Option<Page>), ClientError> {
        let Page { token, mut runs } = page;
        search["page_token"] = token.into();
        loop {
            search["max_results"] = runs.into();
            let call = Call { is_divisible: runs > 1, ..Call::needed("runs/search") };
            let request = self.wire.request(Method::POST, call.path).json(&search);
            match self.wire.call::<Answer<R>>(call, request, READ_PATIENCE).await {
                Ok(answer) => {
                    let is_last = answer.runs.is_empty();
                    let next = answer.next_page_token.filter(|token| !token.is_empty() && !is_last);
                    return Ok((answer.runs, next.map(|token| Page { token: Some(token), runs })));
                }
                Err(ClientError::Unwieldy { reason, .. }) if runs > 1 => {
                    runs = (runs / SMALLER).max(1);
                    tracing::debug!(reason, runs, "a page of runs is asked for in smaller ones");
                }
                Err(error) => return Err(error),
            }
        }
    }
}
