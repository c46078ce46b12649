//! Members come and go: what an operator asks of a running cluster.
//!
//! A replica is asked for the change, by its inner listener, and then how it goes, until it is
//! done or refused. What is asked is known by what it says, so the same call again goes on after
//! anything that cut it short, and says so when it is done. Nothing here decides whether a change
//! is safe: the members do, all of them.

use crate::admin::{Inner, member};
use crate::config;
use crate::fail::Fail;
use crate::out::{Form, progress};
use orset::Member;
use pannier_proto::v1;
use pannier_proto::v1::change_members_response::State;
use serde::Serialize;
use std::fmt;
use std::time::Duration;

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(200);

/// Looks that may fail in a row before whoever is asked counts as away.
const FAILURES: u32 = 25;

/// What to ask.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum MembersVerb {
    /// Show who belongs to the cluster, as one of its replicas sees it
    Members {
        /// The inner address of any member
        inner: String,
    },
    /// Take in a replica that was started with --join, and wait until it serves
    Join {
        /// The inner address of any member
        inner: String,
        /// The inner address of the new one, as this machine reaches it
        new: String,
        #[command(flatten)]
        how: How,
    },
    /// Let a member go that is up: it stops taking writes, and all that it has goes to the others
    Leave {
        /// The inner address of any member
        inner: String,
        /// Which is to go
        #[arg(value_name = "UUID")]
        member: String,
        /// Only say what would be done, and what speaks against it
        #[arg(long)]
        dry_run: bool,
    },
    /// Close members that are gone for good, though they cannot be asked
    Decommission(crate::decommission::Decommission),
    /// Account for what a closed member left of a stock, so that its heir sells it
    Account(crate::decommission::Account),
    /// Have all members write the newest format that they read. From then on no member can go back
    /// to a build that does not read it
    RaiseFormat {
        /// The inner address of any member
        inner: String,
        /// Only say what would be done, and what speaks against it
        #[arg(long)]
        dry_run: bool,
    },
    /// Take in a new replica, wait until it serves, then let a member go
    Replace {
        /// The inner address of a member that stays
        inner: String,
        /// Which is to go
        #[arg(value_name = "UUID")]
        member: String,
        /// The inner address of the new one, as this machine reaches it
        new: String,
        #[command(flatten)]
        how: How,
    },
}

/// How a replica is taken in.
#[derive(Clone, Debug, clap::Args)]
pub struct How {
    /// The inner address of the new one as the other members reach it, when that is another
    #[arg(long, value_name = "HOST:PORT")]
    address: Option<String>,
    /// Only say what would be done, and what speaks against it
    #[arg(long)]
    dry_run: bool,
}

/// Who belongs.
#[derive(Serialize)]
struct Listed {
    number: u64,
    format: u32,
    members: Vec<Line>,
}

#[derive(Serialize)]
struct Line {
    member: String,
    address: String,
    connected: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    place: Option<String>,
    lacks_to_join: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    membership: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reads: Option<u32>,
}

impl fmt::Display for Listed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (number, count, format) = (self.number, self.members.len(), self.format);
        writeln!(f, "membership {number}, {count} members, format {format}")?;
        for it in &self.members {
            let place = it.place.as_deref().unwrap_or("not reached");
            let lacks = match it.lacks_to_join {
                0 => String::new(),
                lacks => format!(", lacks {lacks} commits"),
            };
            let reads = match it.reads {
                Some(reads) if reads != self.format => format!(", reads format {reads}"),
                _ => String::new(),
            };
            writeln!(f, "  {}  {}  {place}{lacks}{reads}", it.member, it.address)?;
        }
        Ok(())
    }
}

/// How a change ended.
#[derive(Serialize)]
pub struct Changed {
    what: String,
    done: bool,
    number: u64,
    #[serde(skip_serializing_if = "String::is_empty")]
    why: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    estate: Option<Estate>,
}

/// What would be frozen of stocks.
#[derive(Serialize)]
struct Estate {
    stocks: u64,
    units: u64,
    held: u64,
    partial: bool,
}

impl fmt::Display for Estate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { stocks, units, held, partial } = self;
        let more = if *partial { ", and more that were not looked at" } else { "" };
        write!(f, "frozen: {units} units of {stocks} stocks, {held} more are held{more}")
    }
}

impl Changed {
    fn done(what: String, number: u64) -> Self {
        Self { what, done: true, number, why: String::new(), estate: None }
    }
}

impl fmt::Display for Changed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, done, number, why, estate } = self;
        if let Some(estate) = estate {
            writeln!(f, "{estate}")?;
        }
        match (done, why.is_empty()) {
            (true, _) => write!(f, "done: {what} (membership {number})"),
            (false, true) => write!(f, "would {what}; nothing speaks against it"),
            (false, false) => write!(f, "would not {what}: {why}"),
        }
    }
}

/// A change that is asked of a member.
pub struct Change {
    pub asked: Inner,
    pub request: v1::ChangeMembersRequest,
    pub what: String,
}

impl MembersVerb {
    /// Does it; whether it is done.
    pub async fn run(&self, form: Form) -> Result<bool, Fail> {
        match self {
            Self::Members { inner } => list(form, &Inner::at("INNER", inner)?).await,
            Self::Join { inner, new, how } => {
                let (asked, new) = (Inner::at("INNER", inner)?, Inner::at("NEW", new)?);
                let (change, newcomer) = join(&asked, &new, how).await?;
                if how.dry_run {
                    return change.consider(form).await;
                }
                let number = change.make().await?;
                served(&new, &newcomer).await?;
                form.print(&change.made(number)).map(|()| true)
            }
            Self::Leave { inner, member, dry_run } => {
                let asked = Inner::at("INNER", inner)?;
                let change = leave(asked, parse(member)?).await?;
                if *dry_run {
                    return change.consider(form).await;
                }
                let number = change.make().await?;
                known(&change.asked, number).await?;
                form.print(&change.made(number)).map(|()| true)
            }
            Self::Decommission(gone) => gone.run(form).await,
            Self::Account(account) => account.run(form).await,
            Self::RaiseFormat { inner, dry_run } => {
                let asked = Inner::at("INNER", inner)?;
                let status = asked.status().await?;
                let (format, now) = (status.reads, status.format);
                if format == now {
                    let done = format!("write format {format}, the newest that is read there");
                    return form.print(&Changed::done(done, status.membership)).map(|()| true);
                }
                let request =
                    v1::ChangeMembersRequest { format, ..v1::ChangeMembersRequest::default() };
                let what = format!("write format {format} in place of {now}");
                let change = Change { asked, request, what };
                if *dry_run {
                    return change.consider(form).await;
                }
                let number = change.make().await?;
                known(&change.asked, number).await?;
                form.print(&change.made(number)).map(|()| true)
            }
            Self::Replace { inner, member, new, how } => {
                let (asked, new) = (Inner::at("INNER", inner)?, Inner::at("NEW", new)?);
                let gone = parse(member)?;
                let (first, newcomer) = join(&asked, &new, how).await?;
                let second = leave(asked, gone).await?;
                if how.dry_run {
                    let may = first.consider(form).await?;
                    return Ok(second.consider(form).await? && may);
                }
                let number = first.make().await?;
                served(&new, &newcomer).await?;
                form.event(&first.made(number))?;
                let number = second.make().await?;
                known(&second.asked, number).await?;
                form.event(&second.made(number)).map(|()| true)
            }
        }
    }
}

pub fn parse(text: &str) -> Result<Member, Fail> {
    config::member(text).map_err(|what| Fail::of("UUID", what))
}

async fn list(form: Form, inner: &Inner) -> Result<bool, Fail> {
    let (own, list) = (inner.status().await?, inner.member_list().await?);
    let mut members = Vec::new();
    for info in list.members {
        let is_own = info.member == own.member;
        let address = if is_own { inner.address().to_owned() } else { info.address };
        let status = match (is_own, address.is_empty()) {
            (true, _) => Some(own.clone()),
            (false, true) => None,
            (false, false) => Inner::at("INNER", &address)?.status().await.ok(),
        };
        members.push(Line {
            member: member(&info.member)?.to_string(),
            address,
            connected: is_own || info.connected,
            lacks_to_join: status.as_ref().map_or(0, |status| status.lacks_to_join),
            membership: status.as_ref().map(|status| status.membership),
            reads: status.as_ref().map(|status| status.reads),
            place: status.map(|status| status.place),
        });
    }
    form.print(&Listed { number: list.number, format: own.format, members }).map(|()| true)
}

/// The change that takes `new` in.
async fn join(asked: &Inner, new: &Inner, how: &How) -> Result<(Change, Member), Fail> {
    let (there, here) = (new.status().await?, asked.status().await?);
    if there.cluster != here.cluster {
        let what = format!("it is of cluster {:?}, not {:?}", there.cluster, here.cluster);
        return Err(Fail::of("NEW", what));
    }
    let newcomer = member(&there.member)?;
    if there.member == here.member {
        return Err(Fail::of("NEW", "it is the member that is asked"));
    }
    let belongs = asked.member_list().await?.members.iter().any(|it| it.member == there.member);
    if !belongs && there.place != "outside" {
        let what = format!("{newcomer} was not started with --join: it is {}", there.place);
        return Err(Fail::of("NEW", what));
    }
    let address = how.address.clone().unwrap_or_else(|| new.address().to_owned());
    let address = config::remote_address(&address).map_err(|what| Fail::of("--address", what))?;
    let what = format!("take in {newcomer} at {address}");
    let add = vec![v1::NewMember { member: there.member, address }];
    let request = v1::ChangeMembersRequest { add, ..v1::ChangeMembersRequest::default() };
    Ok((Change { asked: asked.clone(), request, what }, newcomer))
}

/// The change that lets `gone` go, asked of somebody who stays.
async fn leave(asked: Inner, gone: Member) -> Result<Change, Fail> {
    let mut asked = asked;
    let bytes = gone.as_bytes().to_vec();
    if asked.status().await?.member == bytes {
        let members = asked.member_list().await?.members;
        let mut others = members.iter().filter(|it| it.member != bytes && !it.address.is_empty());
        if let Some(other) = others.find(|it| it.connected) {
            progress(&format!("asking {}, which stays", other.address));
            asked = Inner::at("INNER", &other.address)?;
        }
    }
    let remove = vec![bytes.into()];
    let request = v1::ChangeMembersRequest { remove, ..v1::ChangeMembersRequest::default() };
    Ok(Change { asked, request, what: format!("let {gone} go") })
}

impl Change {
    /// What would become of it.
    pub async fn consider(&self, form: Form) -> Result<bool, Fail> {
        let request = v1::ChangeMembersRequest { only_ask: true, ..self.request.clone() };
        let answer = self.asked.change(request).await?;
        if answer.state() == State::Done {
            form.event(&self.made(answer.number))?;
            return Ok(true);
        }
        let may = answer.state() != State::Refused;
        let (what, why) = (self.what.clone(), answer.why);
        let estate = answer.estate.map(|it| Estate {
            stocks: it.stocks,
            units: it.units,
            held: it.held,
            partial: it.partial,
        });
        form.event(&Changed { what, done: false, number: answer.number, why, estate })?;
        Ok(may)
    }

    /// Asks until it is done; the number of the membership.
    pub async fn make(&self) -> Result<u64, Fail> {
        let (mut failures, mut told, mut only_ask) = (0, String::new(), false);
        loop {
            let request = v1::ChangeMembersRequest { only_ask, ..self.request.clone() };
            let answer = match self.asked.change(request).await {
                Ok(answer) => answer,
                Err(fail) if failures >= FAILURES => return Err(fail),
                Err(_) => {
                    failures += 1;
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            };
            (failures, only_ask) = (0, true);
            match answer.state() {
                State::Done => return Ok(answer.number),
                State::Refused => {
                    let why = format!("not done: {}: {}", self.what, answer.why);
                    return Err(if answer.try_again { Fail::Away(why) } else { Fail::Usage(why) });
                }
                // Whoever was asked has started anew.
                State::Unasked => only_ask = false,
                _ => {}
            }
            let now = stands(&answer)?;
            if now != told {
                progress(&format!("{}: {now}", self.what));
                told = now;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    pub fn made(&self, number: u64) -> Changed {
        Changed::done(self.what.clone(), number)
    }
}

fn stands(answer: &v1::ChangeMembersResponse) -> Result<String, Fail> {
    let members = answer.members.iter().map(|bytes| Ok(member(bytes)?.to_string()));
    let members = members.collect::<Result<Vec<_>, Fail>>()?.join(", ");
    Ok(match answer.state() {
        State::Waits if members.is_empty() => "waits for its turn".into(),
        State::Waits => format!("waits until these are heard: {members}"),
        State::Asks if members.is_empty() => "all have accepted it".into(),
        State::Asks => format!("not accepted yet by {members}"),
        State::Settles if members.is_empty() => "all have all of it".into(),
        State::Settles => format!("these lack something still: {members}"),
        State::Decided => "decided".into(),
        _ => "asked".into(),
    })
}

/// Waits until a newcomer serves.
async fn served(new: &Inner, newcomer: &Member) -> Result<(), Fail> {
    let (mut failures, mut told) = (0, None);
    loop {
        match new.status().await {
            Ok(status) if status.place == "member" => return Ok(()),
            Ok(status) => {
                failures = 0;
                let now = (status.place, status.lacks_to_join);
                if told.as_ref() != Some(&now) {
                    progress(&format!("{newcomer} is {}, lacks {} commits", now.0, now.1));
                    told = Some(now);
                }
            }
            Err(fail) if failures >= FAILURES => {
                let what = "it belongs now, and serves when it is up and has caught up; the same \
                            call again waits for that";
                return Err(Fail::Away(format!("{fail}: {what}")));
            }
            Err(_) => failures += 1,
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Waits until all who stay know of it: until then, whoever has left should not be destroyed.
pub async fn known(asked: &Inner, number: u64) -> Result<(), Fail> {
    let own = asked.status().await?.member;
    let mut told = String::new();
    loop {
        let list = asked.member_list().await?;
        let behind = list.members.iter().filter(|it| it.member != own);
        let behind = behind.filter(|it| it.membership.is_none_or(|known| known < number));
        let behind = behind.map(|it| Ok(member(&it.member)?.to_string()));
        let behind = behind.collect::<Result<Vec<_>, Fail>>()?.join(", ");
        if behind.is_empty() {
            return Ok(());
        }
        if behind != told {
            progress(&format!("decided; not known yet to {behind}"));
            told = behind;
        }
        tokio::time::sleep(PAUSE).await;
    }
}
