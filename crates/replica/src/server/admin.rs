//! What operators and their tools ask, on the inner listener.

use super::account;
use super::change;
use super::shared::{Shared, Stage};
use super::verify;
use crate::embed::Status as Standing;
use crate::protocol::Alarm;
use bytes::Bytes;
use orset::Member;
use pannier_proto::convert;
use pannier_proto::errors::{Failure, Reason};
use pannier_proto::v1::{self, admin_server};
use std::sync::Arc;
use tonic::{Request, Response, Status};

/// The service.
#[derive(Clone)]
pub(super) struct Admin(pub Arc<Shared>);

#[tonic::async_trait]
impl admin_server::Admin for Admin {
    async fn get_status(
        &self,
        _: Request<v1::GetStatusRequest>,
    ) -> Result<Response<v1::ReplicaStatus>, Status> {
        let shared = &self.0;
        let standing = self.standing().await?;
        let not_ready = not_ready_because(shared);
        let refusals = shared.counts.refusals().map(|(_, count)| count).sum();
        let replica = &shared.replica;
        Ok(Response::new(v1::ReplicaStatus {
            cluster: replica.cluster().unwrap_or_default().to_owned(),
            member: bytes(replica.member()),
            origin: shared.origin.clone(),
            version: env!("CARGO_PKG_VERSION").into(),
            engine: replica.engine().into(),
            ready: not_ready.is_none(),
            not_ready_because: not_ready.unwrap_or_default(),
            uptime_ms: replica.now_us().saturating_sub(shared.began_us) / 1_000,
            ops: standing.stats.ops,
            duplicates: standing.stats.duplicates,
            rounds: standing.stats.rounds,
            deltas_applied: standing.stats.deltas_applied,
            refusals,
            commands_waiting: (replica.mailbox().waiting().0 + standing.waiting) as u64,
            deltas_buffered: standing.buffered as u64,
            disk_bytes: replica.disk_bytes_soon().await.unwrap_or_default(),
            alarms: standing.alarms.count,
            last_alarms: standing.alarms.last.iter().map(in_words).collect(),
            place: change::place(standing.place).into(),
            lacks_to_join: standing.lacks_to_join,
            membership: standing.membership.number,
            format: standing.membership.format,
            reads: standing.reads,
        }))
    }

    async fn list_members(
        &self,
        _: Request<v1::ListMembersRequest>,
    ) -> Result<Response<v1::MemberList>, Status> {
        let shared = &self.0;
        let standing = self.standing().await?;
        let peers = shared.links.as_ref().map(|links| links.peers()).unwrap_or_default();
        let record = &standing.membership;
        let info = |member: &Member| {
            let peer = peers.iter().find(|peer| peer.member == *member);
            let known = record.address_of(*member).filter(|_| record.number > 0);
            let dialled = peer.map(|peer| peer.address.as_str());
            v1::MemberInfo {
                member: bytes(*member),
                address: dialled.or(known).unwrap_or_default().to_owned(),
                connected: peer.is_some_and(|peer| peer.connected),
                heard_ms_ago: peer.and_then(|peer| peer.heard_ms_ago),
                unacknowledged: standing.unacknowledged.get(member).copied().unwrap_or_default(),
                membership: standing.heard_numbers.get(member).copied().flatten(),
            }
        };
        let members = record.members.iter().map(info).collect();
        Ok(Response::new(v1::MemberList { number: record.number, members }))
    }

    async fn get_frontier(
        &self,
        _: Request<v1::GetFrontierRequest>,
    ) -> Result<Response<v1::Frontier>, Status> {
        let standing = self.standing().await?;
        Ok(Response::new(v1::Frontier { vector: convert::vector(&standing.vector) }))
    }

    async fn get_state_hash(
        &self,
        asked: Request<v1::GetStateHashRequest>,
    ) -> Result<Response<v1::StateHash>, Status> {
        let cut = self.0.replica.cut_soon(asked.get_ref().buckets).await;
        let cut = cut.map_err(|_| self.closed())?;
        Ok(Response::new(v1::StateHash {
            vector: convert::vector(&cut.vector),
            total: Bytes::copy_from_slice(&cut.total.to_be_bytes()),
            buckets: cut.buckets.iter().flat_map(|sum| sum.to_be_bytes()).collect(),
            number: cut.number,
        }))
    }

    async fn start_verify(
        &self,
        asked: Request<v1::StartVerifyRequest>,
    ) -> Result<Response<v1::VerifyReport>, Status> {
        let asked = verify::asked(asked.get_ref()).map_err(|failure| self.0.told(failure))?;
        let begun = self.0.replica.verify_soon(asked).await;
        Ok(Response::new(verify::report(&begun.map_err(|_| self.closed())?)))
    }

    async fn get_verify(
        &self,
        _: Request<v1::GetVerifyRequest>,
    ) -> Result<Response<v1::VerifyReport>, Status> {
        let stands = self.0.replica.verified_soon().await;
        Ok(Response::new(verify::report(&stands.map_err(|_| self.closed())?)))
    }

    async fn account_for(
        &self,
        request: Request<v1::AccountForRequest>,
    ) -> Result<Response<v1::AccountForResponse>, Status> {
        let done = account::account_for(&self.0, request.into_inner()).await;
        done.map(Response::new).map_err(|failure| self.0.told(failure))
    }

    async fn change_members(
        &self,
        request: Request<v1::ChangeMembersRequest>,
    ) -> Result<Response<v1::ChangeMembersResponse>, Status> {
        let shared = &self.0;
        let request = request.into_inner();
        let wish = change::wish(&request).map_err(|failure| shared.told(failure))?;
        if !wish.add.is_empty() && shared.links.is_none() {
            let what = "this replica was started without a cluster and member to have links by: \
                        start it with both";
            return Err(shared.told(Failure::new(Reason::WrongCluster, what)));
        }
        let closed = || shared.told(Failure::new(Reason::Closed, "the replica is closed"));
        if !request.only_ask {
            shared.replica.wish(wish.clone()).map_err(|_| closed())?;
        }
        let standing = shared.replica.standing_soon(wish).await.map_err(|_| closed())?;
        Ok(Response::new(change::answer(standing)))
    }
}

impl Admin {
    async fn standing(&self) -> Result<Standing, Status> {
        let standing = self.0.replica.status_soon().await;
        standing.map_err(|_| self.closed())
    }

    fn closed(&self) -> Status {
        self.0.told(Failure::new(Reason::Closed, "the replica is closed"))
    }
}

fn bytes(member: Member) -> Bytes {
    Bytes::copy_from_slice(member.as_bytes())
}

/// Why requests are not taken, for people.
pub(super) fn not_ready_because(shared: &Shared) -> Option<String> {
    match shared.stage() {
        Stage::Serving if shared.replica.is_catching_up() => {
            Some("its disk went back, and it has not caught up with a peer yet".into())
        }
        Stage::Serving => None,
        Stage::Apart(place) => Some(format!("this replica {place}")),
        Stage::Draining => Some("draining".into()),
        Stage::Failed(why) => Some(format!("storage failed: {why}")),
    }
}

fn in_words(alarm: &Alarm) -> String {
    match alarm {
        Alarm::Diverged { peer, totals: (ours, theirs) } => {
            format!("state differs from member {peer}'s at one vector: {ours:032x}, {theirs:032x}")
        }
        Alarm::Quarantined { origin, reason } => {
            format!("deltas of origin {origin} are no longer applied: {reason}")
        }
        Alarm::OpIdReused { op, origin } => {
            format!("op id {op} names two requests; the second came with origin {origin}")
        }
        Alarm::Damaged { peer } => format!("a message of member {peer} was damaged on its way"),
        Alarm::Unreadable { format } => {
            format!(
                "the others write format {format}, which this replica does not read: start a newer build"
            )
        }
        Alarm::Closed { number, heir, unseen } => {
            let heir = heir.map_or_else(String::new, |heir| format!(" with heir {heir}"));
            let commits: u64 = unseen.iter().map(|(end, last)| last - end.seq).sum();
            format!(
                "this member was closed by membership {number}{heir}: it serves no more, and \
                 {commits} of its commits nobody else has"
            )
        }
        Alarm::BeyondFinal { last } => format!(
            "others have closed origin {} at {}, and this replica has more: it answers nothing",
            last.origin, last.seq
        ),
        Alarm::NeedsSnapshot { origin, have, first } => format!(
            "of origin {origin} this replica has {have}, and the other members have dropped what \
             is before {first}"
        ),
        Alarm::Oversold { stock, op, is_short } => {
            let what = if *is_short { "took more than its member had" } else { "was left out" };
            format!("{stock}: a step of op {op} {what}; this is a bug")
        }
        Alarm::ClockSkew { ahead_ms } => format!("stamps run {ahead_ms} ms ahead of this clock"),
        Alarm::Differs(difference) => verify::in_words(difference),
        Alarm::Rotten { buckets, strays, memories, records } => format!(
            "what is stored is not what was written: {} buckets, first {:?}; rows that are \
             nobody's: {strays}; op memory: {memories}; log: {records}",
            buckets.len(),
            &buckets[..buckets.len().min(8)],
        ),
        Alarm::WentBack { peer, dot, have } => format!(
            "member {peer} has {dot} of this member, and this directory only {have}: it went back \
             to an earlier state without a mark, or a copy of it runs elsewhere"
        ),
    }
}
