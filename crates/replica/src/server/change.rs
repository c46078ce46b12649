//! A change of members as operators ask for it: from the wire, and how it stands, back to it.

use crate::protocol::membership::wish::Report;
use crate::protocol::membership::{Place, Standing, Wish};
use bytes::Bytes;
use orset::Member;
use pannier_proto::errors::{Failure, Reason};
use pannier_proto::v1;
use pannier_proto::v1::change_members_response::State;

/// What is asked for, checked.
pub(super) fn wish(request: &v1::ChangeMembersRequest) -> Result<Wish, Failure> {
    let mut wish = Wish::default();
    for new in &request.add {
        let known = wish.add.insert(member(&new.member)?, new.address.as_str().into());
        if known.is_some() {
            return Err(bounds("add", "a member is named twice"));
        }
    }
    for bytes in &request.remove {
        let member = member(bytes)?;
        if wish.add.contains_key(&member) || !wish.remove.insert(member) {
            return Err(bounds("remove", "a member is named twice"));
        }
    }
    for dead in &request.dead {
        let (member, heir) = (member(&dead.member)?, member(&dead.heir)?);
        if wish.dead.insert(member, heir).is_some() {
            return Err(bounds("dead", "a member is named twice"));
        }
    }
    wish.format = request.format;
    Ok(wish)
}

fn member(bytes: &[u8]) -> Result<Member, Failure> {
    let bytes = bytes.try_into();
    bytes.map(Member::from_bytes).map_err(|_| bounds("member", "a member has 16 bytes"))
}

fn bounds(field: &str, what: &str) -> Failure {
    Failure::new(Reason::Bounds, what).with("field", field)
}

/// How it stands.
pub(super) fn answer(report: Report) -> v1::ChangeMembersResponse {
    let Report { standing, number, estate } = report;
    let try_again = matches!(&standing, Standing::Refused(unfit) if unfit.may_pass());
    let (state, members, why) = match standing {
        Standing::Unasked => (State::Unasked, Vec::new(), String::new()),
        Standing::Waits(members) => (State::Waits, members, String::new()),
        Standing::Asks(members) => (State::Asks, members, String::new()),
        Standing::Settles(members) => (State::Settles, members, String::new()),
        Standing::Decided => (State::Decided, Vec::new(), String::new()),
        Standing::Done => (State::Done, Vec::new(), String::new()),
        Standing::Refused(unfit) => (State::Refused, Vec::new(), unfit.to_string()),
    };
    let members = members.iter().map(|member| Bytes::copy_from_slice(member.as_bytes()));
    v1::ChangeMembersResponse {
        state: state.into(),
        members: members.collect(),
        number,
        why,
        try_again,
        estate: estate.map(|estate| v1::Estate {
            stocks: estate.stocks,
            units: estate.units,
            held: estate.held,
            partial: estate.is_partial,
        }),
    }
}

/// As tools read it.
pub(super) const fn place(place: Place) -> &'static str {
    match place {
        Place::Member => "member",
        Place::Outside => "outside",
        Place::Joining => "joining",
        Place::Leaving => "leaving",
        Place::Left => "left",
    }
}
