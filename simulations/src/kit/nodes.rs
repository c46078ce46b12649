//! The replicas as a check sees them: who is up, and what it holds.

/// All replicas; one that is down is `None`.
#[derive(Debug)]
pub struct Nodes<Node>(pub(super) Vec<Option<Node>>);

impl<Node> Nodes<Node> {
    /// The replica at a place, if it is up.
    pub fn get(&self, replica: usize) -> Option<&Node> {
        self.0.get(replica).and_then(Option::as_ref)
    }

    /// Those that are up, with their places.
    pub fn up(&self) -> impl Iterator<Item = (usize, &Node)> {
        self.0.iter().enumerate().filter_map(|(at, node)| node.as_ref().map(|node| (at, node)))
    }

    /// How many there are, up or down.
    pub const fn count(&self) -> usize {
        self.0.len()
    }
}
