//! What a replica says of itself on its inner listener: a few calls, with deadlines.

use crate::fail::Fail;
use orset::{Member, Origin, VersionVector};
use pannier_proto::v1;
use pannier_proto::v1::admin_client::AdminClient;
use std::time::Duration;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

/// How long a replica may take to answer; the network in between included.
const PATIENCE: Duration = Duration::from_secs(5);

/// One replica's inner listener.
#[derive(Clone)]
pub struct Inner {
    address: String,
    client: AdminClient<Channel>,
}

/// State as of one synced cut: equal vectors must have equal totals.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// What is applied and synced.
    pub vector: VersionVector,
    /// The hash of the rows.
    pub total: Vec<u8>,
}

/// State as of one synced cut, bucket by bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sums {
    /// Of the membership: two numbers, nothing to compare.
    pub number: u64,
    /// What is applied and synced.
    pub vector: VersionVector,
    /// The hash of the rows.
    pub total: Vec<u8>,
    /// Of each bucket; none, while something is not synced yet.
    pub buckets: Vec<[u8; 16]>,
}

impl Inner {
    /// At this `host:port`; nothing is dialled yet. `flag` is named when it is no address.
    pub fn at(flag: &str, address: &str) -> Result<Self, Fail> {
        let address =
            crate::config::remote_address(address).map_err(|what| Fail::of(flag, what))?;
        let endpoint = Endpoint::from_shared(format!("http://{address}"))
            .map_err(|error| Fail::of(flag, error))?;
        let endpoint = endpoint.connect_timeout(PATIENCE).timeout(PATIENCE).tcp_nodelay(true);
        Ok(Self { address, client: AdminClient::new(endpoint.connect_lazy()) })
    }

    /// Its address.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Where it stands.
    pub async fn status(&self) -> Result<v1::ReplicaStatus, Fail> {
        let asked = self.client.clone().get_status(Request::new(v1::GetStatusRequest {})).await;
        Ok(asked.map_err(|status| self.away(&status))?.into_inner())
    }

    /// Who is in the cluster, as it sees them.
    pub async fn members(&self) -> Result<Vec<v1::MemberInfo>, Fail> {
        let asked = self.client.clone().list_members(Request::new(v1::ListMembersRequest {})).await;
        Ok(asked.map_err(|status| self.away(&status))?.into_inner().members)
    }

    /// Who is in the cluster, and which membership that is.
    pub async fn member_list(&self) -> Result<v1::MemberList, Fail> {
        let asked = self.client.clone().list_members(Request::new(v1::ListMembersRequest {})).await;
        Ok(asked.map_err(|status| self.away(&status))?.into_inner())
    }

    /// Asks for a change of members, or how it stands.
    pub async fn change(
        &self,
        request: v1::ChangeMembersRequest,
    ) -> Result<v1::ChangeMembersResponse, Fail> {
        let asked = self.client.clone().change_members(Request::new(request)).await;
        Ok(asked.map_err(|status| self.away(&status))?.into_inner())
    }

    /// Accounts for what a closed member left of a stock.
    pub async fn account_for(
        &self,
        request: v1::AccountForRequest,
    ) -> Result<v1::AccountForResponse, Fail> {
        let asked = self.client.clone().account_for(Request::new(request)).await;
        Ok(asked.map_err(|status| self.away(&status))?.into_inner())
    }

    /// What it has applied and synced.
    pub async fn frontier(&self) -> Result<VersionVector, Fail> {
        let asked = self.client.clone().get_frontier(Request::new(v1::GetFrontierRequest {})).await;
        vector(&asked.map_err(|status| self.away(&status))?.into_inner().vector)
    }

    /// The same, with the hash of the rows at that point.
    pub async fn cut(&self) -> Result<Cut, Fail> {
        let hash = self.hash(false).await?;
        Ok(Cut { vector: vector(&hash.vector)?, total: hash.total.to_vec() })
    }

    /// The same, with the sums of the buckets.
    pub async fn sums(&self) -> Result<Sums, Fail> {
        let hash = self.hash(true).await?;
        let (buckets, _) = hash.buckets.as_chunks::<16>();
        let buckets = buckets.to_vec();
        let (number, total) = (hash.number, hash.total.to_vec());
        Ok(Sums { number, vector: vector(&hash.vector)?, total, buckets })
    }

    async fn hash(&self, buckets: bool) -> Result<v1::StateHash, Fail> {
        let ask = Request::new(v1::GetStateHashRequest { buckets });
        let asked = self.client.clone().get_state_hash(ask).await;
        Ok(asked.map_err(|status| self.away(&status))?.into_inner())
    }

    /// Begins to verify it.
    pub async fn start_verify(
        &self,
        ask: v1::StartVerifyRequest,
    ) -> Result<v1::VerifyReport, Fail> {
        let asked = self.client.clone().start_verify(Request::new(ask)).await;
        Ok(asked.map_err(|status| self.away(&status))?.into_inner())
    }

    /// What came of that so far.
    pub async fn verify(&self) -> Result<v1::VerifyReport, Fail> {
        let asked = self.client.clone().get_verify(Request::new(v1::GetVerifyRequest {})).await;
        Ok(asked.map_err(|status| self.away(&status))?.into_inner())
    }

    fn away(&self, status: &Status) -> Fail {
        Fail::Away(format!("{}: {}", self.address, said(status)))
    }
}

/// What a status says, with the cause that tonic keeps below it.
pub fn said(status: &Status) -> String {
    let mut words = status.message().to_owned();
    let mut cause = std::error::Error::source(status);
    while let Some(error) = cause {
        let text = error.to_string();
        if !words.contains(&text) {
            words = format!("{words}: {text}");
        }
        cause = error.source();
    }
    if words.is_empty() { status.code().description().to_owned() } else { words }
}

/// 16 bytes of a member.
pub fn member(bytes: &[u8]) -> Result<Member, Fail> {
    let bytes = bytes.try_into();
    bytes.map(Member::from_bytes).map_err(|_| Fail::Away("a member that has not 16 bytes".into()))
}

fn vector(entries: &[v1::VectorEntry]) -> Result<VersionVector, Fail> {
    let mut vector = VersionVector::new();
    for v1::VectorEntry { origin, seq } in entries {
        let origin = origin.as_ref().try_into();
        let origin = origin.map_err(|_| Fail::Away("an origin that has not 16 bytes".into()))?;
        vector.raise(Origin::from_bytes(origin), *seq);
    }
    Ok(vector)
}

/// How many commits `own` lacks of what is in `all`.
pub fn lacks(own: &VersionVector, all: &VersionVector) -> u64 {
    all.iter().map(|dot| dot.seq.saturating_sub(own.get(dot.origin))).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lacking_is_counted() {
        let of = |entries: &[(u8, u64)]| {
            let entry = |(origin, seq): &(u8, u64)| v1::VectorEntry {
                origin: vec![*origin; 16].into(),
                seq: *seq,
            };
            vector(&entries.iter().map(entry).collect::<Vec<_>>()).unwrap()
        };
        let all = of(&[(1, 5), (2, 7)]);
        assert_eq!(lacks(&all, &all), 0);
        assert_eq!(lacks(&of(&[(1, 9)]), &all), 7);
        assert_eq!(lacks(&of(&[(1, 3), (2, 6)]), &all), 3);
        let short = v1::VectorEntry { origin: vec![1; 15].into(), seq: 1 };
        assert_eq!(vector(&[short]).map_err(|fail| fail.exit_code()), Err(4));
    }
}
