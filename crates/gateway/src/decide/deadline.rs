//! Deadlines: how long a client waits, how long the gateway lets it, how long a replica has.
//!
//! gRPC carries a deadline as what is left of it, `grpc-timeout: 1500m`, so that no two clocks are
//! compared. What is passed on is less than what came in: the time that has gone by, and, while
//! somebody else could still be tried, what that other one will need. A replica that waits for its
//! session's causes until the client's own deadline would leave no time to ask anyone else.

/// A replica that gives up in the time it was told needs this long to say so.
pub const GRACE_US: u64 = 20_000;

/// Digits that a timeout may have.
const DIGITS_MAX: usize = 8;

/// Microseconds of a `grpc-timeout`; `None` when it is not one.
pub fn parse(value: &[u8]) -> Option<u64> {
    let (unit, digits) = value.split_last()?;
    if digits.is_empty() || digits.len() > DIGITS_MAX || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = digits.iter().fold(0_u64, |sum, digit| sum * 10 + u64::from(digit - b'0'));
    // Eight digits of hours are below 2^59 microseconds.
    Some(match unit {
        b'H' => number * 3_600_000_000,
        b'M' => number * 60_000_000,
        b'S' => number * 1_000_000,
        b'm' => number * 1_000,
        b'u' => number,
        b'n' => number / 1_000,
        _ => return None,
    })
}

/// As a `grpc-timeout`, never longer than `us`, in the finest unit that holds it.
pub fn format(us: u64) -> String {
    const BOUND: u64 = 100_000_000;
    match us {
        0..BOUND => format!("{us}u"),
        _ if us / 1_000 < BOUND => format!("{}m", us / 1_000),
        _ if us / 1_000_000 < BOUND => format!("{}S", us / 1_000_000),
        _ => format!("{}H", (us / 3_600_000_000).min(BOUND - 1)),
    }
}

/// How the time of a request is shared between tries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shares {
    /// The longest that one try takes while another replica is left. Smaller moves on sooner from a
    /// replica that hangs, and sends more requests twice when all are slow.
    pub try_us: u64,
    /// The shortest try worth making: with less than twice this left, the first try gets it all.
    pub least_us: u64,
}

impl Default for Shares {
    fn default() -> Self {
        Self { try_us: 750_000, least_us: 20_000 }
    }
}

impl Shares {
    /// What this try may take of `left_us`. `another`: somebody else could be tried after it.
    pub fn share(&self, left_us: u64, another: bool) -> u64 {
        let half = left_us / 2;
        if !another || half < self.least_us { left_us } else { half.min(self.try_us) }
    }

    /// Whether there is time for one more try.
    pub const fn worth(&self, left_us: u64) -> bool {
        left_us >= self.least_us
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn timeouts_as_grpc_writes_them() {
        let table: [(&str, Option<u64>); 16] = [
            ("1H", Some(3_600_000_000)),
            ("2M", Some(120_000_000)),
            ("3S", Some(3_000_000)),
            ("1500m", Some(1_500_000)),
            ("7u", Some(7)),
            ("1999n", Some(1)),
            ("0m", Some(0)),
            ("99999999H", Some(99_999_999 * 3_600_000_000)),
            ("", None),
            ("S", None),
            ("5", None),
            ("5s", None),
            ("-5S", None),
            ("+5S", None),
            ("1.5S", None),
            ("100000000m", None),
        ];
        for (text, want) in table {
            assert_eq!(parse(text.as_bytes()), want, "{text:?}");
        }
        assert_eq!(parse(b"\xff\xfe"), None);
    }

    #[test]
    fn what_is_passed_on() {
        let table = [
            (0, "0u"),
            (99_999_999, "99999999u"),
            (100_000_000, "100000m"),
            (99_999_999_999, "99999999m"),
            (100_000_000_000, "100000S"),
            (u64::MAX, "99999999H"),
        ];
        for (us, want) in table {
            assert_eq!(format(us), want);
        }
    }

    proptest! {
        #[test]
        fn it_never_grows_and_loses_little(us in 0..u64::MAX / 2_000) {
            let got = parse(format(us).as_bytes()).unwrap();
            prop_assert!(got <= us);
            prop_assert!(us > 99_999_999_000_000 || us - got <= us / 10_000);
        }

        #[test]
        fn any_bytes_as_a_timeout(bytes: Vec<u8>) {
            if let Some(us) = parse(&bytes) {
                prop_assert!(us <= 99_999_999 * 3_600_000_000);
            }
        }

        /// What a first try leaves is enough for a second that is as long, or it leaves nothing.
        #[test]
        fn shares(left: u64, another: bool, try_us in 1..u64::MAX, least_us: u64) {
            let shares = Shares { try_us, least_us };
            let share = shares.share(left, another);
            prop_assert!(share <= left);
            if share < left {
                prop_assert!(another && share <= try_us && left - share >= share);
            }
        }
    }

    #[test]
    fn a_short_deadline_is_not_cut_in_two() {
        let shares = Shares { try_us: 750, least_us: 20 };
        let table =
            [(10_000, true, 750), (10_000, false, 10_000), (400, true, 200), (39, true, 39)];
        for (left, another, want) in table {
            assert_eq!(shares.share(left, another), want);
        }
    }
}
