//! The greeting: who may speak with whom. Decided without a socket.
//!
//! An address is only where somebody listens. After a restart, or two addresses exchanged in a
//! settings file, somebody else does; and a delta applied in a cluster it does not belong to cannot
//! be taken out again. So each side says version, cluster, itself and whom it means, and neither
//! says more before all four are right. This keeps mistakes out, not malice: that is for TLS.

use super::convert::{Hello, VERSION};
use orset::Member;
use pannier_proto::errors::{Failure, Reason};
use std::collections::BTreeSet;

/// Who speaks here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Name of the cluster.
    pub cluster: String,
    /// This replica's place in it.
    pub member: Member,
}

impl Identity {
    /// What to say to `to`.
    pub fn greet(&self, to: Member) -> Hello {
        Hello { version: VERSION, cluster: self.cluster.clone(), from: self.member, to }
    }

    /// Whether the answer of the one dialled as `dialled` is right.
    pub fn check_answer(&self, hello: &Hello, dialled: Member) -> Result<(), Failure> {
        self.check(hello)?;
        if hello.from == dialled {
            return Ok(());
        }
        let problem = format!("member {} answers where {dialled} was dialled", hello.from);
        Err(wrong(problem).with("from", hello.from))
    }

    /// Whether one of `others` dials, and which.
    pub fn check_call(&self, hello: &Hello, others: &BTreeSet<Member>) -> Result<Member, Failure> {
        self.check(hello)?;
        if others.contains(&hello.from) {
            return Ok(hello.from);
        }
        let problem = format!("{} is not another member of this cluster", hello.from);
        Err(wrong(problem).with("from", hello.from))
    }

    fn check(&self, hello: &Hello) -> Result<(), Failure> {
        if hello.version != VERSION {
            let problem = format!("links of version {} meet version {VERSION}", hello.version);
            return Err(wrong(problem).with("version", VERSION));
        }
        if hello.cluster != self.cluster {
            return Err(wrong(format!("cluster {:?} meets {:?}", hello.cluster, self.cluster))
                .with("cluster", &self.cluster));
        }
        if hello.to != self.member {
            let problem = format!("member {} was meant, this is {}", hello.to, self.member);
            return Err(wrong(problem).with("member", self.member));
        }
        Ok(())
    }
}

fn wrong(problem: String) -> Failure {
    Failure::new(Reason::WrongCluster, problem)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(at: u8) -> Member {
        Member::from_bytes([at; 16])
    }

    fn here() -> Identity {
        Identity { cluster: "eu".into(), member: member(1) }
    }

    fn hello(version: u32, cluster: &str, from: u8, to: u8) -> Hello {
        Hello { version, cluster: cluster.into(), from: member(from), to: member(to) }
    }

    #[test]
    fn only_a_member_that_means_this_one_is_heard() {
        let others = BTreeSet::from([member(2), member(3)]);
        let table = [
            (hello(1, "eu", 2, 1), Ok(member(2)), Ok(())),
            (hello(1, "eu", 3, 1), Ok(member(3)), Err("from")),
            (hello(2, "eu", 2, 1), Err("version"), Err("version")),
            (hello(1, "us", 2, 1), Err("cluster"), Err("cluster")),
            (hello(1, "", 2, 1), Err("cluster"), Err("cluster")),
            (hello(1, "eu", 2, 3), Err("member"), Err("member")),
            (hello(1, "eu", 4, 1), Err("from"), Err("from")),
            (hello(1, "eu", 1, 1), Err("from"), Err("from")),
        ];
        let why = |failure: Failure| {
            assert_eq!(failure.code(), tonic::Code::FailedPrecondition);
            failure.metadata.into_keys().next().unwrap_or_default()
        };
        for (hello, call, answer) in table {
            let named = |key: &str| key.to_owned();
            assert_eq!(here().check_call(&hello, &others).map_err(why), call.map_err(named));
            assert_eq!(here().check_answer(&hello, member(2)).map_err(why), answer.map_err(named));
        }
    }

    #[test]
    fn a_greeting_of_one_is_right_for_the_other() {
        let there = Identity { cluster: "eu".into(), member: member(2) };
        assert_eq!(there.check_answer(&here().greet(member(2)), member(1)), Ok(()));
    }
}
