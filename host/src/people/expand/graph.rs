//! Which entitlements carry which: a graph of entitlements, and the order in
//! which it is walked.
//!
//! Entitlements are numbers here. Circles are common (roles that trust each
//! other), so the order is one of components: in each component everybody can
//! be reached from everybody, and every other edge leads from an earlier
//! component to a later one. Tarjan's algorithm, without recursion; 40 bytes
//! an edge.

use std::ops::Range;

/// Who holds `source` holds `target`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Edge {
    pub(super) source: u32,
    pub(super) target: u32,
    /// How sure it is; see [`super::certainty`].
    pub(super) rank: u8,
    /// Only who holds `source` directly.
    pub(super) shallow: bool,
    /// The number of a list of principals and resource types that may pass; 0
    /// is all.
    pub(super) filter: u32,
}

/// A graph whose edges are sorted by target.
#[derive(Debug)]
pub(super) struct Graph {
    edges: Vec<Edge>,
    /// Where the edges into each node begin; one more at the end.
    begins: Vec<u32>,
}

impl Graph {
    /// An edge from a node to itself says nothing and is dropped.
    pub(super) fn new(nodes: usize, mut edges: Vec<Edge>) -> Self {
        edges.retain(|edge| edge.source != edge.target);
        edges.sort_unstable_by_key(|edge| (edge.target, edge.source));
        let mut begins = Vec::with_capacity(nodes + 1);
        let mut position = 0;
        for node in 0..nodes {
            begins.push(narrow(position));
            while edges
                .get(position)
                .is_some_and(|edge| edge.target as usize == node)
            {
                position += 1;
            }
        }
        begins.push(narrow(position));
        Self { edges, begins }
    }

    pub(super) fn nodes(&self) -> usize {
        self.begins.len() - 1
    }

    /// The edges into a node.
    pub(super) fn incoming(&self, node: u32) -> &[Edge] {
        self.edges.get(self.range(node)).unwrap_or_default()
    }

    fn range(&self, node: u32) -> Range<usize> {
        let begin = |node: usize| self.begins.get(node).copied().unwrap_or_default() as usize;
        begin(node as usize)..begin(node as usize + 1)
    }

    /// The components, sources before targets.
    pub(super) fn components(&self) -> Components {
        let nodes = self.nodes();
        let mut search = Search {
            graph: self,
            order: vec![0; nodes],
            low: vec![0; nodes],
            found: Components {
                nodes: Vec::with_capacity(nodes),
                ends: Vec::new(),
                of: vec![u32::MAX; nodes],
            },
            open: Vec::new(),
            next: 0,
        };
        for node in 0..narrow(nodes) {
            search.from(node);
        }
        search.found
    }
}

/// Components one after the other.
#[derive(Debug)]
pub(super) struct Components {
    nodes: Vec<u32>,
    ends: Vec<u32>,
    of: Vec<u32>,
}

impl Components {
    pub(super) fn iter(&self) -> impl Iterator<Item = &[u32]> {
        let mut begin = 0;
        self.ends.iter().map(move |end| {
            let range = begin..*end as usize;
            begin = range.end;
            self.nodes.get(range).unwrap_or_default()
        })
    }

    /// Whether an edge stays within one component.
    pub(super) fn within(&self, edge: &Edge) -> bool {
        self.of.get(edge.source as usize) == self.of.get(edge.target as usize)
    }
}

/// Tarjan's search against the direction of the edges: a component is found
/// after all that lead to it.
struct Search<'g> {
    graph: &'g Graph,
    /// When a node was met, from 1; 0 is not yet.
    order: Vec<u32>,
    /// The earliest open node that can be reached.
    low: Vec<u32>,
    found: Components,
    open: Vec<u32>,
    next: u32,
}

impl Search<'_> {
    fn from(&mut self, root: u32) {
        if get(&self.order, root) != 0 {
            return;
        }
        // The nodes on the way here, each with its next edge.
        let mut way: Vec<(u32, u32)> = vec![(root, 0)];
        self.meet(root);
        while let Some((node, edge)) = way.last_mut() {
            let node = *node;
            let Some(to) = self
                .graph
                .incoming(node)
                .get(*edge as usize)
                .map(|edge| edge.source)
            else {
                way.pop();
                self.leave(node);
                if let Some((before, _)) = way.last() {
                    self.lower(*before, get(&self.low, node));
                }
                continue;
            };
            *edge += 1;
            if get(&self.order, to) == 0 {
                self.meet(to);
                way.push((to, 0));
            } else if get(&self.found.of, to) == u32::MAX {
                self.lower(node, get(&self.order, to));
            }
        }
    }

    fn meet(&mut self, node: u32) {
        self.next += 1;
        set(&mut self.order, node, self.next);
        set(&mut self.low, node, self.next);
        self.open.push(node);
    }

    fn lower(&mut self, node: u32, to: u32) {
        let low = get(&self.low, node).min(to);
        set(&mut self.low, node, low);
    }

    /// All edges of a node are walked: it may be the first of a component.
    fn leave(&mut self, node: u32) {
        if get(&self.low, node) != get(&self.order, node) {
            return;
        }
        let number = narrow(self.found.ends.len());
        while let Some(member) = self.open.pop() {
            set(&mut self.found.of, member, number);
            self.found.nodes.push(member);
            if member == node {
                break;
            }
        }
        self.found.ends.push(narrow(self.found.nodes.len()));
    }
}

fn get(values: &[u32], node: u32) -> u32 {
    values.get(node as usize).copied().unwrap_or_default()
}

fn set(values: &mut [u32], node: u32, value: u32) {
    if let Some(place) = values.get_mut(node as usize) {
        *place = value;
    }
}

/// Nodes and edges are counted in 32 bits; [`super::EDGES`] is far below.
fn narrow(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn graph(nodes: usize, edges: &[(u32, u32)]) -> Graph {
        let edges = edges
            .iter()
            .map(|(source, target)| Edge {
                source: *source,
                target: *target,
                rank: 4,
                shallow: false,
                filter: 0,
            })
            .collect();
        Graph::new(nodes, edges)
    }

    fn sorted(components: &Components) -> Vec<Vec<u32>> {
        components
            .iter()
            .map(|nodes| {
                let mut nodes = nodes.to_vec();
                nodes.sort_unstable();
                nodes
            })
            .collect()
    }

    #[test]
    fn components_come_in_the_order_of_their_edges() {
        // 3 -> 2 -> 1 -> 0, and a circle of 4, 5, 6 that 0 leads into.
        let graph = graph(7, &[(3, 2), (2, 1), (1, 0), (0, 4), (4, 5), (5, 6), (6, 4)]);
        assert_eq!(
            sorted(&graph.components()),
            [vec![3], vec![2], vec![1], vec![0], vec![4, 5, 6]]
        );
    }

    #[test]
    fn an_edge_to_itself_is_no_circle() {
        let graph = graph(2, &[(0, 0), (0, 1)]);
        assert!(graph.incoming(0).is_empty());
        assert_eq!(graph.incoming(1).len(), 1);
        assert_eq!(sorted(&graph.components()), [vec![0], vec![1]]);
    }

    /// A chain as long as this would end a recursive search.
    #[test]
    fn a_long_chain_needs_no_stack() {
        let edges: Vec<(u32, u32)> = (0..1_000_000).map(|node| (node, node + 1)).collect();
        let components = graph(1_000_001, &edges).components();
        assert_eq!(components.iter().count(), 1_000_001);
        assert_eq!(components.iter().next().unwrap(), [0]);

        let mut circle = edges;
        circle.push((1_000_000, 0));
        assert_eq!(graph(1_000_001, &circle).components().iter().count(), 1);
    }
}
