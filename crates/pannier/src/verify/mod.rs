//! `pannier admin verify`: is everything still as it was written, and do all replicas agree?
//!
//! Quick: every member says vector, total and the sums of its buckets, until all stand at one
//! vector; those that differ look into it together and name the objects. Deep: each member reads
//! all that it has stored, one after the other, so that not all of a cluster is busy with it; with
//! `--repair` it mends what has rotted. Nothing is decided here: members find and mend by
//! themselves, and this tells them to and prints what they say.

mod told;

use crate::admin::{self, Inner, Sums};
use crate::fail::Fail;
use crate::out::{self, Form};
use pannier_proto::v1;
use std::collections::BTreeMap;
use std::time::Duration;
use told::{Checked, Outcome};

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(250);

/// Looks for a moment at which all members stand at one vector.
const LOOKS: u32 = 40;

/// What to verify.
#[derive(Clone, Debug, clap::Args)]
pub struct VerifyArgs {
    /// The inner address of a replica, which names the others
    #[arg(value_name = "HOST:PORT")]
    address: String,
    /// Let every replica read everything that it has stored; it serves meanwhile
    #[arg(long)]
    deep: bool,
    /// Mend what has rotted, from peers; with --deep, also what no sum has noticed
    #[arg(long)]
    repair: bool,
    /// At the replica asked, and nowhere else: where it differs from this member although neither
    /// has rotted, take this member's side. What the other side had is gone
    #[arg(long, value_name = "MEMBER", requires = "repair")]
    from: Option<String>,
}

/// A member, and where to ask it.
struct Asked {
    name: String,
    inner: Inner,
}

impl VerifyArgs {
    /// Asks, and prints; whether all is well.
    pub async fn run(&self, form: Form) -> Result<bool, Fail> {
        let members = self.members().await?;
        let mut outcome = Outcome::new(members.iter().map(|it| (&*it.name, it.inner.address())));
        if self.deep || self.repair {
            let from = match &self.from {
                None => Vec::new(),
                Some(text) => {
                    let member = crate::config::member(text);
                    let member = member.map_err(|what| Fail::of("--from", what))?;
                    member.as_bytes().to_vec()
                }
            };
            let only = if self.from.is_some() { 1 } else { members.len() };
            for (at, member) in members.iter().enumerate().take(only) {
                let ask = v1::StartVerifyRequest {
                    deep: self.deep,
                    repair: self.repair,
                    from: from.clone().into(),
                };
                out::progress(&format!("member {} is verified", member.name));
                match verified(member, ask).await {
                    Ok(report) => outcome.members[at].tell(&report)?,
                    Err(fail) => outcome.members[at].why_not = Some(fail.to_string()),
                }
            }
        }
        compare(&members, &mut outcome).await?;
        form.print(&outcome)?;
        if outcome.is_wrong() {
            return Ok(false);
        }
        match outcome.is_unknown() {
            None => Ok(true),
            Some(what) => Err(Fail::Away(what)),
        }
    }

    /// All members, the one asked first.
    async fn members(&self) -> Result<Vec<Asked>, Fail> {
        let inner = Inner::at("HOST:PORT", &self.address)?;
        let name = admin::member(&inner.status().await?.member)?.to_string();
        let mut all = Vec::new();
        for info in inner.members().await? {
            if !info.address.is_empty() {
                let name = admin::member(&info.member)?.to_string();
                all.push(Asked { name, inner: Inner::at("HOST:PORT", &info.address)? });
            }
        }
        all.insert(0, Asked { name, inner });
        Ok(all)
    }
}

/// Begins a verification at a member, and waits for its end.
async fn verified(member: &Asked, ask: v1::StartVerifyRequest) -> Result<v1::VerifyReport, Fail> {
    let mut report = member.inner.start_verify(ask.clone()).await?;
    // Somebody else's goes first; one that an alarm began does not.
    while report.running && report.asked.as_ref() != Some(&ask) {
        tokio::time::sleep(PAUSE).await;
        report = member.inner.start_verify(ask.clone()).await?;
    }
    let (number, mut told) = (report.number, 0);
    while report.running {
        tokio::time::sleep(PAUSE).await;
        report = member.inner.verify().await?;
        if report.number != number {
            let what = "it was started anew, or somebody asked it for something else";
            return Err(Fail::Away(format!("{}: {what}", member.inner.address())));
        }
        if report.rows_read >= told + 1_000_000 {
            told = report.rows_read;
            out::progress(&format!("  {told} rows, {} records", report.records_read));
        }
    }
    Ok(report)
}

/// Compares all members at one vector, if they come to one, and has differences looked into.
async fn compare(members: &[Asked], outcome: &mut Outcome) -> Result<(), Fail> {
    let mut sums: BTreeMap<usize, Sums> = BTreeMap::new();
    for look in 0..LOOKS {
        if look > 0 {
            tokio::time::sleep(PAUSE).await;
        }
        sums.clear();
        for (at, member) in members.iter().enumerate() {
            match member.inner.sums().await {
                Ok(found) => {
                    sums.insert(at, found);
                    outcome.members[at].away = None;
                }
                Err(fail) => outcome.members[at].away = Some(fail.to_string()),
            }
        }
        let first = sums.values().next();
        let is_one = |it: &Sums| {
            let first = first.map(|first| (first.number, &first.vector));
            Some((it.number, &it.vector)) == first && !it.buckets.is_empty()
        };
        if sums.values().all(is_one) {
            outcome.compared = sums.len();
            break;
        }
    }
    for (at, found) in &sums {
        outcome.members[*at].total = Some(crate::hex::encode(&found.total));
    }
    if outcome.compared == 0 {
        return Ok(());
    }
    let Some((first, ours)) = sums.iter().next() else { return Ok(()) };
    for (other, theirs) in sums.iter().filter(|(other, _)| *other != first) {
        let differ = ours.buckets.iter().zip(&theirs.buckets).enumerate();
        let differ = differ.filter(|(_, (ours, theirs))| ours != theirs);
        let buckets: Vec<u32> = differ.map(|(bucket, _)| bucket as u32).collect();
        if buckets.is_empty() && ours.total == theirs.total {
            continue;
        }
        outcome.members[*other].differs_in = buckets;
        outcome.is_unequal = true;
        let from = crate::config::member(&members[*first].name);
        let from = from.map_err(|what| Fail::Away(what.to_string()))?.as_bytes().to_vec();
        let ask = v1::StartVerifyRequest { deep: false, repair: false, from: from.into() };
        match verified(&members[*other], ask).await {
            Ok(report) => outcome.members[*other].tell(&report)?,
            Err(fail) => outcome.members[*other].problems.push(fail.to_string()),
        }
    }
    Ok(())
}

impl Checked {
    fn tell(&mut self, report: &v1::VerifyReport) -> Result<(), Fail> {
        self.rows_mended += report.rows_mended;
        self.problems.extend(report.problems.iter().cloned());
        if let Some(survey) = &report.survey {
            self.survey = Some(told::survey(survey)?);
        }
        for difference in &report.differences {
            self.differences.push(told::difference(difference)?);
        }
        Ok(())
    }
}
