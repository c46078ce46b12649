//! What can be done to a cluster, and what this machine lets us do.
//!
//! | fault | what happens |
//! | --- | --- |
//! | `kill` | SIGKILL to replicas or the gateway, and a start on the same directory |
//! | `pause` | SIGSTOP: alive to the system, dead to everybody else, and back as if nothing was |
//! | `cut` | links refuse, freeze, freeze one way only, or are reset |
//! | `throttle` | links pass some kilobytes a second |
//! | `delay` | links pass everything late, and unevenly late |
//! | `clock` | a replica starts again with a clock that is minutes or a day off |
//! | `full` | a replica's disk has no room left |
//! | `power` | a replica's machine loses its power |
//! | `restore` | a replica's directory is put back from a backup, with the mark that says so or without |
//! | `backup` | `pannier backup` of a replica that serves; later its disk is lost, and `pannier restore` fills it |
//! | `empty` | a replica starts on an empty disk |
//! | `swap` | two replicas start on each other's disk |
//! | `members` | a newcomer joins, another takes its place, and leaves |
//! | `decommission` | a newcomer sells, is gone for good and is closed; sometimes it comes back |
//! | `upgrade` | a replica ends in good order, and starts with another build (`--old-binary`) |
//!
//! **Clocks.** A process sees the machine's clock by calls that a library preload could bend
//! (libfaketime), a time namespace cannot (it shifts monotonic clocks only), and setting the
//! machine's own would bend it for everybody. A preload is a tool that may not be there and that
//! sits between the binary and its libc, so it is not quite the release that is tested. Our time
//! enters by one door, so the door has a knob: `pannier replica --clock-offset-ms N`, hidden, a
//! flag only (no file and no variable can leave it lying about), logged at every start. It is an
//! operator's test knob and no planted bug: it gives a replica what a broken time server would.

use std::fmt;
use std::str::FromStr;

/// See the file's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// SIGKILL.
    Kill,
    /// SIGSTOP.
    Pause,
    /// No network.
    Cut,
    /// A narrow network.
    Throttle,
    /// A slow and uneven network.
    Delay,
    /// A wrong clock.
    Clock,
    /// No room on the disk.
    Full,
    /// No power.
    Power,
    /// An old disk.
    Restore,
    /// A disk out of a backup.
    Backup,
    /// No disk.
    Empty,
    /// Another's disk.
    Swap,
    /// Others.
    Members,
    /// One less, for good.
    Decommission,
    /// Another build.
    Upgrade,
}

impl Fault {
    /// Each, once.
    pub const ALL: [Self; 15] = [
        Self::Kill,
        Self::Pause,
        Self::Cut,
        Self::Throttle,
        Self::Delay,
        Self::Clock,
        Self::Full,
        Self::Power,
        Self::Restore,
        Self::Backup,
        Self::Empty,
        Self::Swap,
        Self::Members,
        Self::Decommission,
        Self::Upgrade,
    ];

    /// Its word on the command line.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Pause => "pause",
            Self::Cut => "cut",
            Self::Throttle => "throttle",
            Self::Delay => "delay",
            Self::Clock => "clock",
            Self::Full => "full",
            Self::Power => "power",
            Self::Restore => "restore",
            Self::Backup => "backup",
            Self::Empty => "empty",
            Self::Swap => "swap",
            Self::Members => "members",
            Self::Decommission => "decommission",
            Self::Upgrade => "upgrade",
        }
    }

    /// Whether it is done to the network, and not to a process or its machine.
    pub const fn is_of_network(self) -> bool {
        matches!(self, Self::Cut | Self::Throttle | Self::Delay)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for Fault {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|fault| fault.word() == word.trim());
        found.ok_or_else(|| {
            let words = Self::ALL.map(Self::word).join(", ");
            format!("there is no fault {word:?}; it is one of {words}")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_names_its_fault_and_a_wrong_one_is_told_all() {
        for fault in Fault::ALL {
            assert_eq!(fault.word().parse(), Ok(fault));
        }
        let told = "fire".parse::<Fault>().unwrap_err();
        assert!(told.contains("\"fire\"") && told.contains("throttle"), "{told}");
    }
}
