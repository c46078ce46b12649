//! Replicas in one process: a table of mailboxes, and rules that may lose what passes.

use super::{AttachError, Recipient, Transport};
use crate::protocol::Message;
use orset::Member;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What a rule says of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Deliver it.
    Pass,
    /// Lose it.
    Drop,
}

type Rule = Box<dyn Fn(Member, Member, &Message) -> Verdict + Send + Sync>;

#[derive(Default)]
struct Table {
    /// Of every member that was ever attached: a cut also binds those that are closed just now.
    recipients: BTreeMap<Member, Recipient>,
    cut: BTreeSet<(Member, Member)>,
    rule: Option<Rule>,
}

/// A network within one process; clones are the same network.
#[derive(Clone, Default)]
pub struct Mesh {
    table: Arc<Mutex<Table>>,
}

impl Mesh {
    /// A network without anybody.
    pub fn new() -> Self {
        Self::default()
    }

    /// A network where `rule` sees every message first: for tests of what others promise.
    pub fn with_rule(
        rule: impl Fn(Member, Member, &Message) -> Verdict + Send + Sync + 'static,
    ) -> Self {
        let mesh = Self::default();
        mesh.table().rule = Some(Box::new(rule));
        mesh
    }

    /// Loses everything between `member` and all others, both ways, until `heal`.
    pub fn cut(&self, member: Member) {
        let mut table = self.table();
        let others: Vec<Member> = table.recipients.keys().copied().collect();
        for other in others.into_iter().filter(|other| *other != member) {
            table.cut.insert((member, other));
            table.cut.insert((other, member));
        }
    }

    /// Ends every cut.
    pub fn heal(&self) {
        self.table().cut.clear();
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // The table is whole between any two statements, so a panic elsewhere spoils nothing.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Transport for Mesh {
    fn attach(
        &self,
        member: Member,
        _members: &[Member],
        recipient: Recipient,
    ) -> Result<(), AttachError> {
        self.table().recipients.insert(member, recipient);
        Ok(())
    }

    fn detach(&self, _member: Member) {
        // Nothing runs here on its behalf, and its recipient knows that it is gone.
    }

    fn send(&self, from: Member, to: Member, message: Message) {
        let recipient = {
            let table = self.table();
            let dropped =
                table.rule.as_ref().is_some_and(|rule| rule(from, to, &message) == Verdict::Drop);
            if dropped || table.cut.contains(&(from, to)) {
                return;
            }
            table.recipients.get(&to).cloned()
        };
        if let Some(recipient) = recipient {
            recipient.deliver(from, message);
        }
    }
}
