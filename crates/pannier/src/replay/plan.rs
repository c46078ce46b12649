//! What goes wrong during a run, decided by a seed and nothing else.
//!
//! A run that draws its troubles while it runs cannot be repeated: the draws come in the order in
//! which threads happen to ask. So every decision here is a pure function of the seed and of the
//! thing it is about: a user's home and move depend on that user, a retry on its line, the cut on
//! the seed alone. Thread timing may still move an answer by a millisecond; it cannot move a plan.
//!
//! Laws:
//! - a user's plan does not depend on other users, nor an op's on other ops;
//! - a user's home is where a gateway would send a session that has none yet;
//! - a probability of 0 never happens, of 1 always, and raising it only adds: whoever moved at 0.2
//!   makes the same move at 0.3;
//! - a move goes to another region, and so does a retry: sent again where it was sent first, it
//!   would only meet that replica's own memory, which is the easy half of the promise.

use super::splitmix::SplitMix64;
use orset::Member;
use pannier_gateway::{Candidate, route};
use std::ops::Range;

/// How many regions there are.
pub const REGIONS: u8 = 3;

/// How many rows lie between an op and its much later retry, as powers of two: 32 to 8,191.
const LATER_SCALES: Range<u64> = 5..13;

/// One of the [`REGIONS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Region(u8);

impl Region {
    /// How many there are.
    pub const COUNT: usize = REGIONS as usize;

    /// All of them.
    pub fn all() -> impl ExactSizeIterator<Item = Self> {
        (0..REGIONS).map(Self)
    }

    /// Its place among all, from 0.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }

    /// Its name, for people.
    pub fn name(self) -> &'static str {
        ["eu", "us", "ap"][self.index()]
    }

    /// The one replica that stands there.
    pub fn member(self) -> Member {
        Member::from_bytes([self.0 + 1; 16])
    }

    /// Where a gateway sends a request of this session: its `home`, unless that one was just found
    /// to be `behind` the session.
    pub fn route(session: &[u8], home: Option<Self>, behind: Option<Self>) -> Self {
        // All regions are as far: whoever replays a log stands in none of them.
        let candidates: [Candidate; REGIONS as usize] = std::array::from_fn(|at| {
            let region = Self(at as u8);
            let healthy = behind != Some(region);
            Candidate { member: region.member(), distance: 0, healthy }
        });
        let to = route(session, home.map(Self::member), &candidates);
        Self::all().find(|region| Some(region.member()) == to).unwrap_or(Self(0))
    }

    fn draw(chance: &mut SplitMix64) -> Self {
        Self(chance.below(u64::from(REGIONS)) as u8)
    }

    /// Any region but this, each as likely.
    fn other(self, chance: &mut SplitMix64) -> Self {
        let step = 1 + chance.below(u64::from(REGIONS) - 1) as u8;
        Self((self.0 + step) % REGIONS)
    }
}

/// How much trouble a run is to have. All but the seed lie between 0 and 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// The same seed makes the same plan.
    pub seed: u64,
    /// The probability that a user who can move in mid-session does so, once.
    pub moves: f64,
    /// The probability that an op is sent again, at another region.
    pub retries: f64,
    /// For how much of the run one region is cut off from its peers; 0 is no cut.
    pub cut: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { seed: 1, moves: 0.1, retries: 0.05, cut: 0.3 }
    }
}

/// A setting that is no share of anything.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error("{flag} takes a number from 0 to 1, not {value}")]
pub struct SettingsError {
    /// The flag that sets it, as typed.
    pub flag: &'static str,
    /// What was given.
    pub value: f64,
}

/// When one region is cut off, in shares of the run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cut {
    /// Which region its peers cannot reach.
    pub region: Region,
    /// From when.
    pub from: f64,
    /// Until when.
    pub until: f64,
}

/// Where a user's session runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UserPlan {
    /// Where it begins.
    pub home: Region,
    /// Where it goes, if it does.
    pub moves: Option<Move>,
}

/// A user's one change of region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Move {
    /// After this many of the user's events; at least 1, and at least one more follows.
    pub after: u64,
    /// Never the home.
    pub to: Region,
}

impl UserPlan {
    /// Where the user's event goes that has `before` others of the same user before it.
    pub fn region(&self, before: u64) -> Region {
        match self.moves {
            Some(moved) if before >= moved.after => moved.to,
            _ => self.home,
        }
    }
}

/// An op that is sent a second time, under the same op id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// Never where it was sent first.
    pub to: Region,
    /// When.
    pub when: When,
}

/// When a retry is sent. Each meets another state of the replicas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// While the first is under way: two replicas take it in at once, neither knowing.
    BeforeAnswer,
    /// As soon as the first is answered: the other replica may not have heard of it yet.
    AfterAnswer,
    /// When this many more rows have been sent, or at the end of the run if that comes first: the
    /// other replica has long applied it, and the cart has moved on.
    Later {
        /// How many.
        rows: u64,
    },
}

/// The plan of one run.
#[derive(Clone, Debug)]
pub struct Plan {
    settings: Settings,
}

impl Plan {
    /// Checks the settings.
    pub fn new(settings: Settings) -> Result<Self, SettingsError> {
        let Settings { seed: _, moves, retries, cut } = settings;
        for (flag, value) in [("--moves", moves), ("--retries", retries), ("--cut", cut)] {
            if !(0.0..=1.0).contains(&value) {
                return Err(SettingsError { flag, value });
            }
        }
        Ok(Self { settings })
    }

    /// The plan of a user, given the sessions of that user's events, in order. A move is in
    /// mid-session, so between two neighbouring events of one session; a user without such a pair
    /// stays at home.
    pub fn user<'a>(&self, user: &str, sessions: impl IntoIterator<Item = &'a str>) -> UserPlan {
        let home = Region::route(&self.session_key(user), None, None);
        let mut chance = self.draw("move", user.as_bytes());
        let wanted = chance.chance(self.settings.moves);
        let to = home.other(&mut chance);
        let mut last = None;
        let mut pairs = 0;
        let mut after = None;
        for (before, session) in (0..).zip(sessions) {
            if last == Some(session) {
                // The k-th pair takes the place of the one chosen before it with probability 1/k,
                // which makes all equally likely without knowing how many there are.
                pairs += 1;
                if chance.below(pairs) == 0 {
                    after = Some(before);
                }
            }
            last = Some(session);
        }
        let moves = after.filter(|_| wanted).map(|after| Move { after, to });
        UserPlan { home, moves }
    }

    /// What the gateway knows the user's session by.
    pub fn session_key(&self, user: &str) -> Vec<u8> {
        [&self.settings.seed.to_be_bytes(), user.as_bytes()].concat()
    }

    /// Whether, where and when the op of a line is sent again, given where it is sent first.
    pub fn retry(&self, line: u64, first: Region) -> Option<Retry> {
        let mut chance = self.draw("retry", &line.to_be_bytes());
        if !chance.chance(self.settings.retries) {
            return None;
        }
        let to = first.other(&mut chance);
        let when = match chance.below(3) {
            0 => When::BeforeAnswer,
            1 => When::AfterAnswer,
            _ => {
                let scales = LATER_SCALES.end - LATER_SCALES.start;
                let scale = LATER_SCALES.start + chance.below(scales);
                When::Later { rows: (1 << scale) + chance.below(1 << scale) }
            }
        };
        Some(Retry { to, when })
    }

    /// Which region is cut off and when, if one is.
    pub fn cut(&self) -> Option<Cut> {
        let share = self.settings.cut;
        let mut chance = self.draw("cut", &[]);
        let region = Region::draw(&mut chance);
        let from = chance.unit() * (1.0 - share);
        (share > 0.0).then_some(Cut { region, from, until: (from + share).min(1.0) })
    }

    fn draw(&self, about: &str, key: &[u8]) -> SplitMix64 {
        SplitMix64::keyed(self.settings.seed, about, key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn plan(seed: u64, moves: f64, retries: f64) -> Plan {
        Plan::new(Settings { seed, moves, retries, cut: 0.0 }).unwrap()
    }

    /// Sessions of a user from small numbers: equal neighbours are one session going on.
    fn sessions(of: &[u8]) -> Vec<String> {
        of.iter().map(|session| format!("s{}", session % 3)).collect()
    }

    fn user_plan(plan: &Plan, user: &str, of: &[String]) -> UserPlan {
        plan.user(user, of.iter().map(String::as_str))
    }

    #[test]
    fn settings_are_shares_and_errors_name_the_flag() {
        assert!(Plan::new(Settings::default()).is_ok());
        let with = |change: fn(&mut Settings, f64), value| {
            let mut settings = Settings::default();
            change(&mut settings, value);
            Plan::new(settings).map(drop).map_err(|error| error.flag)
        };
        let flags: [(&str, fn(&mut Settings, f64)); 3] = [
            ("--moves", |settings, value| settings.moves = value),
            ("--retries", |settings, value| settings.retries = value),
            ("--cut", |settings, value| settings.cut = value),
        ];
        for (flag, change) in flags {
            for bad in [-0.1, 1.000_001, f64::NAN, f64::INFINITY] {
                assert_eq!(with(change, bad), Err(flag), "{bad}");
            }
            assert_eq!(with(change, 0.0), Ok(()));
            assert_eq!(with(change, 1.0), Ok(()));
        }
        let error = SettingsError { flag: "--retries", value: 1.5 };
        assert_eq!(error.to_string(), "--retries takes a number from 0 to 1, not 1.5");
    }

    /// One user's plan is the same alone, after others, and from another copy of the plan.
    #[test]
    fn a_user_does_not_depend_on_others() {
        bolero::check!().with_type::<(u64, Vec<(String, Vec<u8>)>)>().for_each(|(seed, users)| {
            let together = plan(*seed, 0.5, 0.5);
            let all: Vec<_> =
                users.iter().map(|(user, of)| user_plan(&together, user, &sessions(of))).collect();
            for ((user, of), among_others) in users.iter().zip(all).rev() {
                let alone = plan(*seed, 0.5, 0.5);
                assert_eq!(user_plan(&alone, user, &sessions(of)), among_others);
            }
        });
    }

    #[test]
    fn a_move_is_in_mid_session_and_goes_elsewhere() {
        bolero::check!().with_type::<(u64, String, Vec<u8>)>().for_each(|(seed, user, of)| {
            let of = sessions(of);
            let pairs = of.windows(2).filter(|pair| pair[0] == pair[1]).count();
            let sure = user_plan(&plan(*seed, 1.0, 0.0), user, &of);
            assert_eq!(sure.moves.is_some(), pairs > 0, "a probability of 1 is exact");
            if let Some(Move { after, to }) = sure.moves {
                assert_ne!(to, sure.home);
                assert_eq!(of[after as usize - 1], of[after as usize]);
                assert_eq!((sure.region(after - 1), sure.region(after)), (sure.home, to));
            }
            let never = user_plan(&plan(*seed, 0.0, 0.0), user, &of);
            assert_eq!(never, UserPlan { home: sure.home, moves: None });
            let perhaps = user_plan(&plan(*seed, 0.5, 0.0), user, &of);
            assert!(perhaps == sure || perhaps == never, "raising a probability only adds");
        });
    }

    #[test]
    fn a_retry_goes_elsewhere_and_probabilities_are_exact() {
        bolero::check!().with_type::<(u64, u64, u8)>().for_each(|(seed, line, first)| {
            let first = Region(first % REGIONS);
            let sure = plan(*seed, 0.0, 1.0).retry(*line, first);
            assert!(sure.is_some_and(|retry| retry.to != first && retry.to.0 < REGIONS));
            assert_eq!(plan(*seed, 0.0, 0.0).retry(*line, first), None);
            let perhaps = plan(*seed, 0.0, 0.5).retry(*line, first);
            assert!(perhaps.is_none() || perhaps == sure);
        });
    }

    #[test]
    fn the_cut_lies_within_the_run_and_has_its_length() {
        bolero::check!().with_type::<(u64, u16)>().for_each(|(seed, share)| {
            let share = f64::from(*share) / f64::from(u16::MAX);
            let settings = Settings { seed: *seed, cut: share, ..Settings::default() };
            match Plan::new(settings).unwrap().cut() {
                None => assert_eq!(share, 0.0),
                Some(cut) => {
                    assert!(share > 0.0);
                    assert!(0.0 <= cut.from && cut.from < cut.until && cut.until <= 1.0);
                    assert!((cut.until - cut.from - share).abs() < 1e-9);
                }
            }
        });
    }

    #[test]
    fn a_cut_of_one_is_the_whole_run() {
        let cut = Plan::new(Settings { cut: 1.0, ..Settings::default() }).unwrap().cut().unwrap();
        assert_eq!((cut.from, cut.until), (0.0, 1.0));
    }

    /// Over many users and ops every choice is made, about as often as it should be.
    #[test]
    fn nothing_is_left_out() {
        let plan = plan(9, 0.25, 0.25);
        let (mut homes, mut targets, mut whens) = ([0_u32; 3], BTreeSet::new(), [0_u32; 3]);
        let (mut moved, mut retried) = (0_u32, 0_u32);
        for n in 0..10_000_u64 {
            let user = plan.user(&n.to_string(), ["s"; 5]);
            homes[user.home.index()] += 1;
            moved += u32::from(user.moves.is_some());
            targets.extend(user.moves.map(|moved| (user.home, moved.to, moved.after)));
            if let Some(retry) = plan.retry(n, user.home) {
                retried += 1;
                match retry.when {
                    When::BeforeAnswer => whens[0] += 1,
                    When::AfterAnswer => whens[1] += 1,
                    When::Later { rows } => {
                        assert!((32..8_192).contains(&rows));
                        whens[2] += 1;
                    }
                }
            }
        }
        assert!(homes.iter().all(|n| (3_100..3_600).contains(n)), "{homes:?}");
        assert_eq!(targets.len(), 3 * 2 * 4, "from any home, to any other, after 1 to 4 events");
        assert!((2_300..2_700).contains(&moved), "{moved}");
        assert!((2_300..2_700).contains(&retried), "{retried}");
        assert!(whens.iter().all(|n| (700..1_000).contains(n)), "{whens:?}");
    }
}
