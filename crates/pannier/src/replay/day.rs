//! The day to be played: all events, by user, with what is planned for each.
//!
//! A replay needs a user's whole day before it begins (a move is chosen among all of the user's
//! rows), so the events are held in memory; what a day costs is what its ids cost.

use super::events::{Event, EventReader, RowError};
use super::plan::{Plan, UserPlan};
use super::report::MalformedRows;
use super::synthetic::Synthetic;
use crate::fail::Fail;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

/// Everything that will be sent.
pub struct Day {
    /// The file, or how the day was made.
    pub source: String,
    /// Ascending by line.
    pub events: Vec<Event>,
    /// Each user once.
    pub users: Vec<User>,
    /// Of each event, its user's place in `users`.
    pub user_of: Vec<u32>,
    /// What could not be read.
    pub malformed: MalformedRows,
}

/// One user's day.
pub struct User {
    /// The user's events, in order: places in `Day::events`.
    pub rows: Vec<u32>,
    /// Where they go.
    pub plan: UserPlan,
}

impl Day {
    /// Reads a log. With `strict`, the first malformed row is an error.
    pub fn read(path: &Path, strict: bool, plan: &Plan) -> Result<Self, Fail> {
        let name = path.display().to_string();
        let file = File::open(path).map_err(|error| Fail::of(&name, error))?;
        Self::from_log(&name, BufReader::with_capacity(1 << 16, file), strict, plan)
    }

    fn from_log(name: &str, log: impl BufRead, strict: bool, plan: &Plan) -> Result<Self, Fail> {
        let reader = EventReader::new(log).map_err(|error| Fail::of(name, error))?;
        let (mut events, mut malformed) = (Vec::new(), MalformedRows::default());
        for item in reader {
            match item {
                Ok(event) => events.push(event),
                Err(RowError::Malformed(row)) if strict => {
                    return Err(Fail::of(name, format!("{row} (fatal because of --strict)")));
                }
                Err(RowError::Malformed(row)) => malformed.add(&row),
                Err(error @ RowError::Io { .. }) => return Err(Fail::of(name, error)),
            }
        }
        Self::of(name.to_owned(), events, malformed, plan)
    }

    /// Makes a day of `count` events.
    pub fn synthetic(count: u64, seed: u64, plan: &Plan) -> Result<Self, Fail> {
        let events = Synthetic::day(count, seed).collect();
        Self::of(format!("a synthetic day of {count}"), events, MalformedRows::default(), plan)
    }

    fn of(
        source: String,
        events: Vec<Event>,
        malformed: MalformedRows,
        plan: &Plan,
    ) -> Result<Self, Fail> {
        if events.is_empty() {
            // "No difference found" over nothing would read like a success.
            return Err(Fail::of(&source, "there is not one well-formed event in it"));
        }
        if u32::try_from(events.len()).is_err() {
            return Err(Fail::of(&source, "more than 2^32 events; replay it in parts"));
        }
        let mut places: BTreeMap<&str, u32> = BTreeMap::new();
        let (mut rows_of, mut user_of) = (Vec::<Vec<u32>>::new(), Vec::with_capacity(events.len()));
        for (row, event) in (0..).zip(&events) {
            let place = *places.entry(&event.user).or_insert_with(|| {
                rows_of.push(Vec::new());
                rows_of.len() as u32 - 1
            });
            rows_of[place as usize].push(row);
            user_of.push(place);
        }
        let user = |rows: Vec<u32>| {
            let mine = || rows.iter().map(|row| &events[*row as usize]);
            let name = mine().next().map_or("", |event| &event.user);
            let plan = plan.user(name, mine().map(|event| &*event.session));
            User { rows, plan }
        };
        let users = rows_of.into_iter().map(user).collect();
        Ok(Self { source, events, users, user_of, malformed })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replay::plan::Settings;

    const LOG: &str = "event_time,event_type,product_id,price,user_id,user_session\n\
        2022-10-01 00:00:00 UTC,cart,p1,1,ada,s\n\
        2022-10-01 00:00:01 UTC,view,p1,1,bob,s\n\
        nonsense\n\
        2022-10-01 00:00:02 UTC,purchase,p1,1,ada,s\n";

    fn read(log: &str, strict: bool) -> Result<Day, Fail> {
        let plan = Plan::new(Settings::default()).unwrap();
        Day::from_log("day.csv", log.as_bytes(), strict, &plan)
    }

    #[test]
    fn rows_go_to_their_users_in_order() {
        let day = read(LOG, false).unwrap();
        let rows: Vec<&[u32]> = day.users.iter().map(|user| &*user.rows).collect();
        assert_eq!(rows, [&[0, 2][..], &[1]]);
        assert_eq!((day.user_of, day.malformed.count), (vec![0, 1, 0], 1));
    }

    #[test]
    fn strict_and_empty_logs_are_errors_that_name_the_place() {
        let why = |log, strict| read(log, strict).map(drop).unwrap_err().to_string();
        let fatal = "day.csv: line 4: 1 fields where the header has 6 (fatal because of --strict)";
        assert_eq!(why(LOG, true), fatal);
        let header = LOG.lines().next().unwrap();
        assert_eq!(why(header, false), "day.csv: there is not one well-formed event in it");
    }
}
