//! Every binding of the cluster in a compact index.
//!
//! Grants are asked for by (role, scope), so bindings are kept sorted by that;
//! names lie in one arena and rows hold offsets into it. A million subjects cost
//! about 40 MB, and no grant exists before its page is asked for.

use std::collections::BTreeMap;

use super::Binding;

/// The namespace index of a ClusterRoleBinding's scope.
const CLUSTER: u32 = u32::MAX;

#[derive(Clone, Copy, Debug)]
struct Span {
    at: u32,
    len: u32,
}

/// What kind of subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SubjectKind {
    /// A user name.
    User,
    /// A group name.
    Group,
    /// A service account.
    ServiceAccount,
}

#[derive(Clone, Copy, Debug)]
struct SubjectRow {
    kind: SubjectKind,
    namespace: u32,
    name: Span,
}

#[derive(Clone, Copy, Debug)]
struct Row {
    /// A ClusterRole (else a Role in the binding's namespace).
    cluster_role: bool,
    role: u32,
    namespace: u32,
    name: Span,
    first: u32,
    count: u32,
}

/// A subject of a binding.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// What kind.
    pub kind: SubjectKind,
    /// Service accounts only.
    pub namespace: &'a str,
    /// Its name.
    pub name: &'a str,
}

#[derive(Debug, Default)]
struct Names {
    by_name: BTreeMap<String, u32>,
    names: Vec<String>,
}

impl Names {
    fn put(&mut self, name: &str) -> u32 {
        if let Some(at) = self.by_name.get(name) {
            return *at;
        }
        let at = self.names.len() as u32;
        self.names.push(name.to_string());
        self.by_name.insert(name.to_string(), at);
        at
    }
    fn get(&self, at: u32) -> &str {
        self.names.get(at as usize).map_or("", String::as_str)
    }
}

/// All bindings.
#[derive(Debug, Default)]
pub struct Bindings {
    arena: String,
    namespaces: Names,
    roles: Names,
    rows: Vec<Row>,
    subjects: Vec<SubjectRow>,
    /// Rows by role kind, role, namespace, name.
    order: Vec<u32>,
}

impl Bindings {
    fn span(&mut self, text: &str) -> Span {
        let at = self.arena.len() as u32;
        self.arena.push_str(text);
        Span {
            at,
            len: text.len() as u32,
        }
    }

    fn text(&self, span: Span) -> &str {
        let at = span.at as usize;
        self.arena.get(at..at + span.len as usize).unwrap_or("")
    }

    fn namespace(&self, at: u32) -> &str {
        if at == CLUSTER {
            ""
        } else {
            self.namespaces.get(at)
        }
    }

    /// Adds a binding; `cluster` for a ClusterRoleBinding. A service account
    /// without a namespace is one of the binding's own.
    pub fn add(&mut self, binding: &Binding, cluster: bool) {
        let namespace = if cluster {
            CLUSTER
        } else {
            self.namespaces.put(&binding.metadata.namespace)
        };
        let name = self.span(&binding.metadata.name);
        let first = self.subjects.len() as u32;
        for subject in &binding.subjects {
            let kind = match subject.kind.as_str() {
                "User" => SubjectKind::User,
                "Group" => SubjectKind::Group,
                "ServiceAccount" => SubjectKind::ServiceAccount,
                _ => continue,
            };
            let home = match (kind, subject.namespace.as_str()) {
                (SubjectKind::ServiceAccount, "") if cluster => continue,
                (SubjectKind::ServiceAccount, "") => namespace,
                (SubjectKind::ServiceAccount, other) => self.namespaces.put(other),
                _ => CLUSTER,
            };
            if subject.name.is_empty() {
                continue;
            }
            let name = self.span(&subject.name);
            self.subjects.push(SubjectRow {
                kind,
                namespace: home,
                name,
            });
        }
        let role = self.roles.put(&binding.role_ref.name);
        let count = self.subjects.len() as u32 - first;
        self.rows.push(Row {
            cluster_role: binding.role_ref.kind == "ClusterRole",
            role,
            namespace,
            name,
            first,
            count,
        });
    }

    /// Drops the bindings of cluster scope (`true`) or of namespaces (`false`),
    /// because their list begins again. They are always the last that were added.
    pub fn forget(&mut self, cluster: bool) {
        let keep = self
            .rows
            .iter()
            .position(|r| (r.namespace == CLUSTER) == cluster)
            .unwrap_or(self.rows.len());
        if let Some(row) = self.rows.get(keep) {
            self.subjects.truncate(row.first as usize);
            self.arena.truncate(row.name.at as usize);
        }
        self.rows.truncate(keep);
    }

    /// Sorts; called once, after the last `add`.
    pub fn finish(&mut self) {
        let mut order: Vec<u32> = (0..self.rows.len() as u32).collect();
        order.sort_by(
            |a, b| match (self.rows.get(*a as usize), self.rows.get(*b as usize)) {
                (Some(a), Some(b)) => self.rank(a).cmp(&self.rank(b)),
                _ => std::cmp::Ordering::Equal,
            },
        );
        self.order = order;
        self.subjects.shrink_to_fit();
    }

    fn rank<'a>(&'a self, row: &Row) -> (bool, &'a str, &'a str, &'a str) {
        (
            row.cluster_role,
            self.roles.get(row.role),
            self.namespace(row.namespace),
            self.text(row.name),
        )
    }

    fn row(&self, at: usize) -> Option<&Row> {
        self.order.get(at).and_then(|i| self.rows.get(*i as usize))
    }

    /// The bindings of a role in a scope (`""` is the whole cluster), by name.
    pub fn of<'a>(
        &'a self,
        cluster_role: bool,
        role: &'a str,
        namespace: &'a str,
    ) -> impl Iterator<Item = Bound<'a>> {
        let scope = move |row: &Row| {
            let (kind, name, place, _) = self.rank(row);
            (kind, name, place)
        };
        let from = self.order.partition_point(|i| {
            self.rows
                .get(*i as usize)
                .is_some_and(|r| scope(r) < (cluster_role, role, namespace))
        });
        self.order
            .iter()
            .skip(from)
            .filter_map(|i| self.rows.get(*i as usize))
            .take_while(move |r| scope(r) == (cluster_role, role, namespace))
            .map(|row| Bound {
                all: self,
                row: *row,
            })
    }

    /// Every binding with its role: whether that is a ClusterRole, its name, and
    /// the scope (`""` is the whole cluster).
    pub fn all(&self) -> impl Iterator<Item = (bool, &str, &str, Bound<'_>)> {
        self.rows.iter().map(|row| {
            let (kind, name, place, _) = self.rank(row);
            let bound = Bound {
                all: self,
                row: *row,
            };
            (kind, name, place, bound)
        })
    }

    /// The scopes in which a role is bound to somebody, sorted, each once.
    pub fn scopes(&self, cluster_role: bool, role: &str) -> Vec<String> {
        let from = self.order.partition_point(|i| {
            self.rows.get(*i as usize).is_some_and(|r| {
                let (k, n, ..) = self.rank(r);
                (k, n) < (cluster_role, role)
            })
        });
        let mut out: Vec<String> = Vec::new();
        for at in from..self.order.len() {
            let Some(row) = self.row(at) else { break };
            let (kind, name, place, _) = self.rank(row);
            if (kind, name) != (cluster_role, role) {
                break;
            }
            if row.count > 0 && out.last().map(String::as_str) != Some(place) {
                out.push(place.to_string());
            }
        }
        out
    }

    /// Every role that is bound, with the namespace for a Role, each once, sorted.
    pub fn bound_roles(&self) -> Vec<(bool, String, String)> {
        let mut out: Vec<(bool, String, String)> = Vec::new();
        for row in (0..self.order.len()).filter_map(|at| self.row(at)) {
            let (kind, name, place, _) = self.rank(row);
            let place = if kind { "" } else { place };
            if out.last().map(|(k, n, p)| (*k, n.as_str(), p.as_str())) != Some((kind, name, place))
            {
                out.push((kind, name.to_string(), place.to_string()));
            }
        }
        out
    }

    /// The namespaces that hold bindings.
    pub fn namespaces(&self) -> impl Iterator<Item = &str> {
        let mut used = vec![false; self.namespaces.names.len()];
        for row in &self.rows {
            if let Some(slot) = used.get_mut(row.namespace as usize) {
                *slot = true;
            }
        }
        self.namespaces
            .names
            .iter()
            .zip(used)
            .filter(|(_, used)| *used)
            .map(|(name, _)| name.as_str())
    }

    /// Every subject of every binding, repeats included.
    pub fn subjects(&self) -> impl Iterator<Item = Subject<'_>> {
        self.subjects.iter().map(|s| self.subject(s))
    }

    fn subject(&self, row: &SubjectRow) -> Subject<'_> {
        Subject {
            kind: row.kind,
            namespace: self.namespace(row.namespace),
            name: self.text(row.name),
        }
    }
}

/// One binding of a role.
#[derive(Clone, Copy)]
pub struct Bound<'a> {
    all: &'a Bindings,
    row: Row,
}

impl<'a> Bound<'a> {
    /// `<namespace>/<name>`, or the name alone for a ClusterRoleBinding.
    pub fn path(&self) -> String {
        match self.all.namespace(self.row.namespace) {
            "" => self.all.text(self.row.name).to_string(),
            namespace => format!("{namespace}/{}", self.all.text(self.row.name)),
        }
    }

    /// Whom it binds.
    pub fn subjects(&self) -> impl Iterator<Item = Subject<'a>> {
        let all = self.all;
        let (first, count) = (self.row.first as usize, self.row.count as usize);
        all.subjects
            .iter()
            .skip(first)
            .take(count)
            .map(move |s| all.subject(s))
    }
}
