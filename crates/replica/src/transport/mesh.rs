//! Replicas in one process: a table of mailboxes, and rules that may lose what passes.

use super::Transport;
use crate::driver::Mailbox;
use crate::protocol::Message;
use orset::Member;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

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
    mailboxes: BTreeMap<Member, Weak<Mailbox>>,
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
        let others: Vec<Member> = table.mailboxes.keys().copied().collect();
        for other in others.into_iter().filter(|other| *other != member) {
            table.cut.insert((member, other));
            table.cut.insert((other, member));
        }
    }

    /// Ends every cut.
    pub fn heal(&self) {
        self.table().cut.clear();
    }

    pub(crate) fn join(&self, member: Member, mailbox: &Arc<Mailbox>) {
        self.table().mailboxes.insert(member, Arc::downgrade(mailbox));
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // The table is whole between any two statements, so a panic elsewhere spoils nothing.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Transport for Mesh {
    fn send(&self, from: Member, to: Member, message: Message) {
        let mailbox = {
            let table = self.table();
            let dropped =
                table.rule.as_ref().is_some_and(|rule| rule(from, to, &message) == Verdict::Drop);
            if dropped || table.cut.contains(&(from, to)) {
                return;
            }
            table.mailboxes.get(&to).and_then(Weak::upgrade)
        };
        if let Some(mailbox) = mailbox {
            mailbox.message(from, message);
        }
    }
}
