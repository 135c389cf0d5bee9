//! One paged list, from the first page to the last.
//!
//! A page may be short or empty and still go on; only an empty `continue` ends
//! it. A token that is too old (410 Gone) starts the list again, twice at most;
//! after that the inconsistent token is taken if one is offered, and the
//! snapshot is marked as not of one point in time.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::aws::eks::or_default;
use crate::bindings::Error;
use crate::upstream::{Calls, fault, kubernetes, unreadable};

/// A list that the connector reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resource {
    /// The right.
    pub right: &'static str,
    /// The path.
    pub path: &'static str,
    /// The plural, for people.
    pub name: &'static str,
}

macro_rules! resource {
    ($name:ident, $right:literal, $path:literal, $plural:literal) => {
        #[allow(missing_docs)]
        pub const $name: Resource = Resource {
            right: $right,
            path: $path,
            name: $plural,
        };
    };
}
resource!(
    NAMESPACES,
    "list namespaces",
    "/api/v1/namespaces",
    "namespaces"
);
resource!(
    SERVICE_ACCOUNTS,
    "list serviceaccounts",
    "/api/v1/serviceaccounts",
    "serviceaccounts"
);
resource!(
    CONFIG_MAPS,
    "list configmaps",
    "/api/v1/configmaps",
    "configmaps"
);
resource!(
    CLUSTER_ROLES,
    "list rbac.authorization.k8s.io/clusterroles",
    "/apis/rbac.authorization.k8s.io/v1/clusterroles",
    "clusterroles"
);
resource!(
    ROLES,
    "list rbac.authorization.k8s.io/roles",
    "/apis/rbac.authorization.k8s.io/v1/roles",
    "roles"
);
resource!(
    ROLE_BINDINGS,
    "list rbac.authorization.k8s.io/rolebindings",
    "/apis/rbac.authorization.k8s.io/v1/rolebindings",
    "rolebindings"
);
resource!(
    CLUSTER_ROLE_BINDINGS,
    "list rbac.authorization.k8s.io/clusterrolebindings",
    "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
    "clusterrolebindings"
);

#[derive(Deserialize)]
struct Page<T> {
    #[serde(default, deserialize_with = "or_default")]
    metadata: ListMeta,
    #[serde(default = "Option::default")]
    items: Option<Vec<T>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ListMeta {
    #[serde(rename = "continue", deserialize_with = "or_default")]
    next: String,
    #[serde(deserialize_with = "or_default")]
    resource_version: String,
}

/// Where a list stands.
#[derive(Debug)]
pub struct Cursor {
    resource: Resource,
    next: Option<String>,
    restarts: u8,
    version: String,
    point_in_time: bool,
    items: u64,
    done: bool,
}

/// What one call brought.
pub enum Step<T> {
    /// Some objects, perhaps none.
    Items(Vec<T>),
    /// The list begins again: forget what it brought so far.
    Restarted,
}

impl Cursor {
    /// Before the first page.
    pub fn new(resource: Resource) -> Self {
        Cursor {
            resource,
            next: None,
            restarts: 0,
            version: String::new(),
            point_in_time: true,
            items: 0,
            done: false,
        }
    }

    /// Whether the last page was read.
    pub fn done(&self) -> bool {
        self.done
    }

    /// Says that objects of an abandoned attempt are already in the file.
    pub fn mixed(&mut self) {
        self.point_in_time = false;
    }

    /// Reads one page.
    pub fn step<T: DeserializeOwned>(&mut self, calls: &mut Calls) -> Result<Step<T>, Error> {
        let mut query = vec![("limit", "500")];
        if let Some(token) = &self.next {
            query.push(("continue", token));
        }
        let request = kubernetes(self.resource.right, self.resource.path, &query);
        let response = calls.send(&request)?;
        if response.status == 410 && self.next.is_some() {
            calls.host.log(
                "warn",
                &format!(
                    "the list of {} expired while it was read",
                    self.resource.name
                ),
            );
            return self.gone(&request, &response);
        }
        if !(200..300).contains(&response.status) {
            return Err(fault(&request, &response));
        }
        let page: Page<T> =
            serde_json::from_slice(&response.body).map_err(|e| unreadable(&request, e))?;
        if self.version.is_empty() {
            self.version = page.metadata.resource_version;
        } else if self.version != page.metadata.resource_version
            && !page.metadata.resource_version.is_empty()
        {
            self.point_in_time = false;
        }
        let items = page.items.unwrap_or_default();
        self.items += items.len() as u64;
        let more = Some(page.metadata.next).filter(|t| !t.is_empty());
        self.done = more.is_none();
        self.next = more;
        calls.host.progress(self.items, None, self.resource.name);
        Ok(Step::Items(items))
    }

    fn gone<T>(
        &mut self,
        request: &crate::upstream::Request,
        response: &crate::upstream::Response,
    ) -> Result<Step<T>, Error> {
        if self.restarts < 2 {
            self.restarts += 1;
            self.next = None;
            self.version.clear();
            self.items = 0;
            return Ok(Step::Restarted);
        }
        let body: Value = serde_json::from_slice(&response.body).unwrap_or(Value::Null);
        let offered = body
            .pointer("/metadata/continue")
            .and_then(Value::as_str)
            .filter(|t| !t.is_empty());
        match offered {
            Some(token) => {
                self.next = Some(token.to_string());
                self.point_in_time = false;
                Ok(Step::Items(Vec::new()))
            }
            None => {
                let mut error = fault(request, response);
                error.kind = "unavailable".into();
                error.message = format!(
                    "the list of {} expired three times before it could be read to its end: {}",
                    self.resource.name, error.message
                );
                Err(error)
            }
        }
    }

    /// What the file says about this list.
    pub fn evidence(&self) -> Value {
        json!({
            "type": "snapshot",
            "source": self.resource.name,
            "resource_version": self.version,
            "point_in_time": self.point_in_time,
            "restarts": self.restarts,
            "items": self.items,
        })
    }
}
