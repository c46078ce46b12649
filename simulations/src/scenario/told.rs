//! Acts in words, for whoever reads a failure.

use super::{Act, Deal, DiskCall, Doing, Links, Till, Trap, Verb};
use std::fmt::{Display, Formatter, Result};

impl Display for Act {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, "{:>12.6} s  {}", self.at_us as f64 / 1e6, self.what)
    }
}

fn seconds(us: u64) -> String {
    format!("{} s", us as f64 / 1e6)
}

fn links(links: Links) -> String {
    let names: Vec<String> = links.iter().map(|(from, to)| format!("r{from}>r{to}")).collect();
    names.join(" ")
}

impl Display for Doing {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match *self {
            Self::Shop { session, verb, object, product, quantity, blind } => {
                let letter = char::from(b'A' + (product % 26) as u8);
                write!(f, "s{session} ")?;
                match verb {
                    Verb::Add => write!(f, "adds {quantity} {letter} to cart {object}")?,
                    Verb::Remove => write!(f, "removes {letter} from cart {object}")?,
                    Verb::Set => write!(f, "sets {letter} to {} in cart {object}", quantity - 1)?,
                    Verb::Decrement => write!(f, "takes {quantity} {letter} from cart {object}")?,
                    Verb::Clear => write!(f, "clears cart {object}")?,
                    Verb::Merge => write!(f, "merges cart {object} into the next one")?,
                    Verb::Wish => write!(f, "wishes for {letter} on list {object}")?,
                    Verb::Unwish => write!(f, "no longer wishes for {letter} on list {object}")?,
                    Verb::Count => write!(f, "counts {quantity} at counter {object}")?,
                    Verb::Read => write!(f, "looks at {object}")?,
                    Verb::Move => write!(f, "moves to door {object}")?,
                    Verb::Reuse => write!(f, "sends an old op id with another request")?,
                    Verb::Strange => write!(f, "comes with a token that is none of ours")?,
                    Verb::Malformed => write!(f, "asks for what is out of bounds")?,
                }
                let looks = matches!(
                    verb,
                    Verb::Remove | Verb::Set | Verb::Decrement | Verb::Clear | Verb::Unwish
                );
                f.write_str(if blind && looks { ", without having looked" } else { "" })
            }
            Self::Trade { deal, purchase, at, units } => match deal {
                Deal::Hold => write!(f, "purchase {purchase} is held at r{at}"),
                Deal::Buy => write!(f, "purchase {purchase} is bought at r{at}"),
                Deal::Cancel => write!(f, "purchase {purchase} is let go at r{at}"),
                Deal::Extend => write!(f, "purchase {purchase} is held for longer at r{at}"),
                Deal::Return => write!(f, "purchase {purchase} is sent back at r{at}"),
                Deal::Restock => write!(f, "r{at} mints {units} of stock {purchase}"),
                Deal::WriteOff => write!(f, "{units} of stock {purchase} are gone at r{at}"),
                Deal::Look => write!(f, "somebody looks at stock {purchase} at r{at}"),
                Deal::Terms => write!(f, "the terms of stock {purchase} are set at r{at}"),
            },
            Self::Order { till, order, at, .. } => match till {
                Till::Checkout => write!(f, "order {order} is held at r{at}"),
                Till::Confirm => write!(f, "order {order} is confirmed at r{at}"),
                Till::Cancel => write!(f, "order {order} is let go at r{at}"),
                Till::Extend => write!(f, "order {order} is held for longer at r{at}"),
                Till::Return => write!(f, "order {order} is sent back at r{at}"),
                Till::Look => write!(f, "somebody looks at order {order} at r{at}"),
            },
            Self::Crash { replica, keep_log, keep_state, pause_us } => {
                write!(f, "r{replica} loses power, keeps {keep_log}/255 of its unsynced log and ")?;
                write!(f, "{keep_state}/255 of its unsynced state, and ")?;
                match pause_us {
                    Some(us) => write!(f, "starts after {}", seconds(us)),
                    None => f.write_str("does not come back"),
                }
            }
            Self::Cut { links: cut, for_us } => {
                write!(f, "cut for {}: {}", seconds(for_us), links(cut))
            }
            Self::Flap { links: cut, off_us, on_us, for_us } => {
                let (off, on, all) = (seconds(off_us), seconds(on_us), seconds(for_us));
                write!(f, "flapping for {all}, {off} cut and {on} whole: {}", links(cut))
            }
            Self::Jump { replica, by_ms } => write!(f, "r{replica}'s clock jumps by {by_ms} ms"),
            Self::Slow { replica, by_us, for_us } => {
                let (by, all) = (seconds(by_us), seconds(for_us));
                write!(f, "r{replica}'s disk takes {by} longer, for {all}")
            }
            Self::FailDisk { replica, call } => {
                let call = match call {
                    DiskCall::LogWrite => "append to its log",
                    DiskCall::LogSync => "sync of its log",
                    DiskCall::StateWrite => "checkpoint",
                    DiskCall::StateSync => "sync of its state",
                };
                write!(f, "r{replica}'s next {call} fails")
            }
            Self::Full { replica, for_us } => {
                write!(f, "r{replica}'s disk has no room for {}", seconds(for_us))
            }
            Self::Rot { replica, row, .. } => write!(f, "row {row} on r{replica}'s disk decays"),
            Self::Pause { replica, for_us } => {
                write!(f, "r{replica} stands still for {}", seconds(for_us))
            }
            Self::Drag { replica, by_us, for_us } => {
                let (by, all) = (seconds(by_us), seconds(for_us));
                write!(f, "r{replica} takes {by} for everything, for {all}")
            }
            Self::Drain { replica, for_us, pause_us } => {
                let (drain, pause) = (seconds(for_us), seconds(pause_us));
                write!(f, "r{replica} drains for {drain}, and starts {pause} later")
            }
            Self::Backup { replica } => write!(f, "r{replica}'s disk is copied"),
            Self::PutBack { replica, marked, pause_us } => {
                let mark = if marked { ", and is marked" } else { "" };
                write!(f, "r{replica}'s disk goes back to its copy{mark}; it starts after ")?;
                f.write_str(&seconds(pause_us))
            }
            Self::Join { joiner } => write!(f, "an operator has joiner {joiner} taken in"),
            Self::Build { replica, reads, .. } => {
                write!(f, "r{replica} is started as a build that reads format {reads}")
            }
            Self::Raise { place } => {
                write!(f, "an operator asks r{place} to have the newest format written")
            }
            Self::Bury { returns, .. } => {
                let then = if returns { ", and one comes back" } else { "" };
                write!(f, "an operator has those closed who are gone{then}")
            }
            Self::Leave { place } => write!(f, "an operator has r{place} leave"),
            Self::Ambush { trap, after_us, .. } => {
                let what = match trap {
                    Trap::JoinerCrashes => "it loses power",
                    Trap::GiverCrashes => "the giver loses power",
                    Trap::GiverLeaves => "an operator has the giver leave",
                };
                let after = seconds(after_us);
                write!(f, "once a joiner takes a snapshot in: {after} later {what}")
            }
            Self::Replace { place, joiner } => {
                write!(f, "an operator has joiner {joiner} taken in, and r{place} leave")
            }
            Self::GatewayCrash { gateway, pause_us } => {
                write!(
                    f,
                    "gateway {gateway} is lost, another stands there {} later",
                    seconds(pause_us)
                )
            }
        }
    }
}

impl Doing {
    /// To which replica it happens, if to one.
    pub const fn replica_mut(&mut self) -> Option<&mut usize> {
        match self {
            Self::Crash { replica, .. }
            | Self::Jump { replica, .. }
            | Self::Slow { replica, .. }
            | Self::FailDisk { replica, .. }
            | Self::Full { replica, .. }
            | Self::Rot { replica, .. }
            | Self::Pause { replica, .. }
            | Self::Drag { replica, .. }
            | Self::Backup { replica }
            | Self::PutBack { replica, .. }
            | Self::Build { replica, .. }
            | Self::Drain { replica, .. } => Some(replica),
            Self::Shop { .. }
            | Self::Trade { .. }
            | Self::Order { .. }
            | Self::Cut { .. }
            | Self::Flap { .. }
            | Self::GatewayCrash { .. }
            | Self::Join { .. }
            | Self::Raise { .. }
            | Self::Bury { .. }
            | Self::Leave { .. }
            | Self::Ambush { .. }
            | Self::Replace { .. } => None,
        }
    }
}
